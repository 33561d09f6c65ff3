"""The llama.cpp engine, and llama.cpp's server as an endpoint, write what the model itself writes."""

import pytest
import torch

from helpers.children import CHILDREN
from helpers.tiny import folder, model_dir
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError, ModelError, UsageError
from rolesum.generation import Decoding, summarize
from rolesum.generation.extraction import extract_fields
from rolesum.generation.factory import EngineSpec
from rolesum.instructions import load_fields
from rolesum.models.export.gguf_writer import write_gguf
from rolesum.models.export.llamacpp import LlamaCpp
from rolesum.models.loading import load_model

xllamacpp = pytest.importorskip("xllamacpp", reason="the extra llamacpp is not installed")

DIALOGUES = [Dialogue(f"d{at}", (Turn("Ann", f"Where is parcel {at}?"), Turn("Bob", "On its way."))) for at in range(3)]
ROLES, SHORT = ("overall", "overall"), Decoding(max_new_tokens=6)


@pytest.fixture(scope="module")
def gguf():
    file = folder() / "engine.gguf"
    write_gguf(model_dir("llama"), file, "f32")
    return file


@pytest.fixture(autouse=True)
def _one_thread():
    """llama.cpp's threads wait for each other busily, and tests run side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def engine(gguf):
    opened = EngineSpec("llamacpp", model=str(model_dir("llama")), gguf=gguf, concurrency=2, device="cpu").open()
    opened.exact = True  # random weights have near ties, which a cache in float16 would turn
    return opened


@pytest.fixture(scope="module")
def expected():
    """Dialogue -> text, tokens, and the chosen tokens' log-probabilities, by the library on one prompt at a time."""
    loaded = load_model(model_dir("llama"), dtype="float32", device="cpu")
    found = {}
    for dialogue in DIALOGUES:
        prompt = loaded.layout().prompt(dialogue, ["overall"])
        ids = torch.tensor([loaded.encoder.encode([*prompt.prefix, *prompt.branches[0]])])
        asked = {"do_sample": False, "eos_token_id": list(loaded.stop_ids), "pad_token_id": 0}
        whole = loaded.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, **asked)
        new = whole[0, ids.shape[1] :]
        scores = loaded.model(whole).logits[0, ids.shape[1] - 1 : -1].log_softmax(-1)
        chosen = scores[torch.arange(len(new)), new]
        found[dialogue.id] = loaded.tokenizer.decode(new, skip_special_tokens=True).strip(), len(new), chosen
    return found


def assert_expected(found, expected, near=1e-3):
    for of_dialogue in found:
        for one in of_dialogue:
            text, tokens, logprobs = expected[one.dialogue_id]
            assert (one.text, one.tokens) == (text, tokens)
            if one.mean_logprob is not None:
                assert one.mean_logprob == pytest.approx(logprobs.mean().item(), abs=near)
                assert one.lowest_logprob == pytest.approx(logprobs.min().item(), abs=near)


def test_greedy_texts_are_those_of_the_model_for_every_role_of_every_dialogue(engine, expected):
    done = []
    found = summarize(DIALOGUES, engine, ROLES, SHORT, on_done=done.append)
    assert [len(one) for one in found] == [2, 2, 2] and done == [1, 1, 1]
    assert_expected(found, expected)


def test_a_text_that_grows_ends_as_the_text_that_is_given(engine):
    told = {}

    def on_text(dialogue, role, added):
        told[dialogue, role] = told.get((dialogue, role), "") + added

    found = summarize(DIALOGUES[:2], engine, ("overall",), SHORT, on_text=on_text)
    for number, (one,) in enumerate(found):
        assert one.text.startswith(told.get((number, 0), "")) and len(one.text) - len(told.get((number, 0), "")) < 4


def test_a_sampled_text_is_its_own_seeds_whatever_is_asked_beside_it(engine):
    hot = Decoding(max_new_tokens=6, temperature=1.5, seed=3)
    texts = [[one.text for one in each] for each in summarize(DIALOGUES, engine, ROLES, hot)]
    assert texts[0][0] != texts[0][1]
    assert [one.text for one in summarize(DIALOGUES[1:2], engine, ROLES, hot)[0]] == texts[1]


def test_room_is_made_for_a_longer_dialogue_and_what_the_model_cannot_hold_is_refused(engine):
    long = Dialogue("long", (Turn("Ann", "Where is my parcel? " * 40),))
    assert summarize([long], engine, ("overall",), SHORT)[0][0].tokens > 0
    with pytest.raises(DataError, match="dialogue endless"):
        summarize([Dialogue("endless", (Turn("Ann", "word " * 3000),))], engine, ("overall",), SHORT)


def test_a_file_of_another_tokenizer_and_what_llama_cpp_has_not_are_refused(gguf, engine, tmp_path):
    other = model_dir("baichuan2-7b")
    with pytest.raises(ModelError, match="its tokens are not those of"):
        summarize(DIALOGUES[:1], EngineSpec("llamacpp", model=str(other), gguf=gguf, device="cpu").open(), None, SHORT)
    with pytest.raises(ModelError, match="no such file"):
        EngineSpec("llamacpp", model=str(model_dir("llama")), gguf=tmp_path / "x.gguf").open()
    for decoding, what in ((Decoding(beams=2), "--beams"), (Decoding(min_new_tokens=2), "--min-new-tokens")):
        with pytest.raises(UsageError, match=what):
            summarize(DIALOGUES[:1], engine, None, decoding)


def open_and_free(file):
    for _ in range(20):
        LlamaCpp(file)


def test_a_server_that_is_freed_at_once_ends(gguf):
    child = CHILDREN.Process(target=open_and_free, args=(gguf,))
    child.start()
    child.join(120)
    ended = child.exitcode
    child.kill()
    assert ended == 0


def test_llama_cpps_server_is_an_endpoint_that_gets_the_same_prompts_and_writes_the_same(gguf, expected, monkeypatch):
    pytest.importorskip("openai", reason="the extra openai is not installed")
    monkeypatch.setenv("MY_KEY", "local-secret")
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.port = str(gguf), 1024, 2, 0
    params.warmup, params.verbosity, params.api_keys, params.n_gpu_layers = False, 0, ["local-secret"], 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    running = xllamacpp.Server(params)
    spec = {"engine": "openai", "url": f"{running.listening_address}/v1", "api_key_env": "MY_KEY"}
    by_ids = EngineSpec(**spec, model=str(model_dir("llama"))).open()
    assert_expected(summarize(DIALOGUES, by_ids, ("overall",), SHORT), expected)
    with pytest.raises(DataError, match=r"dialogue long: .* at most 512 are read"):  # in each of its slots
        summarize([Dialogue("long", (Turn("Ann", "Where is it? " * 120),))], by_ids, ("overall",), SHORT)
    with pytest.raises(ModelError, match="reads other tokens"):
        summarize(DIALOGUES[:1], EngineSpec(**spec, model=str(model_dir("baichuan2-7b"))).open(), None, SHORT)
    monkeypatch.setenv("MY_KEY", "wrong")
    with pytest.raises(ModelError, match="refuses the key"):
        summarize(DIALOGUES[:1], EngineSpec(**spec).open(), None, SHORT)


def test_an_answer_is_held_to_its_schema_but_for_spaces(engine):  # of which random weights write many
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": ["order", "question"]}, "pieces": {"enum": [1, 2]}},
        "required": ["kind", "pieces"],
    }
    found = extract_fields(DIALOGUES[:2], engine, load_fields(schema), Decoding(max_new_tokens=64))
    answers = [f'{{"kind":"{kind}","pieces":{pieces}}}' for kind in ("order", "question") for pieces in (1, 2)]
    for one in found:
        assert one.text and any(answer.startswith("".join(one.text.split())) for answer in answers)
