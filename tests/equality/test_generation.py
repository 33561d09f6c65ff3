"""The engine's texts equal the library's `generate` run on one prompt at a time, token for token."""

import pytest
import torch

from helpers.tiny import model_dir
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding
from rolesum.generation.decoding import kv_cache, prefix_shared
from rolesum.generation.decoding.scheduler import GenerationRequest
from rolesum.generation.engines import transformers as transformers_engine
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.models.loading import load_model

KINDS = ("llama", "tied-llama", "qwen2", "mistral", "gemma3", "bloom")
ROLES = ("overall", "user", "agent")
NEW = 24


_library_texts = {}  # by model, prompt, stop ids and options: several tests ask for the same ones


def by_the_library(loaded, ids, **how):
    """The new ids of `generate`, on one prompt by itself."""
    key = (loaded.path, tuple(ids), loaded.stop_ids, tuple(sorted(how.items())))
    if key not in _library_texts:
        made = loaded.model.generate(
            torch.tensor([ids], device=loaded.device),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long, device=loaded.device),
            do_sample=False,
            eos_token_id=list(loaded.stop_ids),
            pad_token_id=0,
            **{"max_new_tokens": NEW, "num_beams": 1, **how},
        )
        _library_texts[key] = made[0, len(ids) :].tolist()
    return _library_texts[key]


def texts_of(engine, dialogues, decoding, roles=ROLES):
    """The prompts as ids, and the new ids of every branch."""
    prompts = [engine.layout.prompt(dialogue, roles) for dialogue in dialogues]
    encoded = [engine.encode(index, prompt) for index, prompt in enumerate(prompts)]
    pairs = zip(encoded, dialogues, strict=True)
    requests = [GenerationRequest(one, decoding, dialogue.id) for one, dialogue in pairs]
    ended = list(engine.new_scheduler().run(requests))
    assert len(ended) == sum(len(one.branches) for one in encoded)
    return encoded, {one.hypothesis.key: one.hypothesis.ids for one in ended}


def assert_equal(loaded, dialogues, token_budget=None, decoding=None, **how):
    engine = TransformersEngine(loaded, token_budget=token_budget)
    encoded, texts = texts_of(engine, dialogues, decoding or Decoding(max_new_tokens=NEW))
    lengths = set()
    for one in encoded:
        for number, branch in enumerate(one.branches):
            expected = by_the_library(loaded, [*one.prefix, *branch], **how)
            assert texts[one.index, number] == expected
            lengths.add(len(expected))
    return lengths


@pytest.mark.parametrize("kind", [*KINDS, "baichuan2-7b", "baichuan2-13b", "chatglm2-6b", "chatglm3-6b"])
def test_greedy_equals_generate_one_prompt_at_a_time(kind):
    loaded = load_model(model_dir(kind), dtype="float32", device="cpu")
    assert_equal(loaded, read_dialogues("sample:en-test")[:5])


@pytest.mark.parametrize("kind", ["llama", "bloom"])
@pytest.mark.parametrize("token_budget", [None, 1500])
def test_rows_that_end_leave_the_batch_and_others_enter_and_nothing_changes(kind, token_budget):
    loaded = load_model(model_dir(kind), dtype="float32", device="cpu")
    # Many stop ids, so that rows end at different steps.
    loaded.stop_ids = tuple(range(2, 600, 9))
    lengths = assert_equal(loaded, read_dialogues("sample:en-test")[:8], token_budget)
    assert len(lengths) > 3


@pytest.mark.parametrize("kind", ["llama", "gemma3", "baichuan2-13b"])
@pytest.mark.parametrize("rows", [12, 24])
@pytest.mark.parametrize("beams", [1, 2])
def test_many_blocks_that_grow_and_shrink_change_nothing(kind, rows, beams, monkeypatch):
    monkeypatch.setattr(transformers_engine, "CPU_ROWS", rows)
    monkeypatch.setattr(kv_cache, "GROWTH_TOKENS", 1)
    loaded = load_model(model_dir(kind), dtype="float32", device="cpu")
    loaded.stop_ids = tuple(range(2, 600, 9))
    running = []
    growing = kv_cache.KVBlock.grow
    monkeypatch.setattr(kv_cache.KVBlock, "grow", lambda block: running.append(block) or growing(block))
    decoding = Decoding(max_new_tokens=12, beams=beams)
    assert_equal(loaded, read_dialogues("sample:en-test")[:8], None, decoding, num_beams=beams, max_new_tokens=12)
    assert len(set(running)) > 3


@pytest.mark.parametrize("kind", [*KINDS, "baichuan2-7b", "baichuan2-13b", "chatglm2-6b"])
@pytest.mark.parametrize("beams", [1, 2])
def test_prompts_that_are_read_in_pieces_give_the_same(kind, beams, monkeypatch):
    """While others are written, which join and leave meanwhile."""
    monkeypatch.setattr(prefix_shared, "PREFILL_CHUNK", 23)
    loaded = load_model(model_dir(kind), dtype="float32", device="cpu")
    loaded.stop_ids = tuple(range(2, 600, 9))
    engine, dialogues = TransformersEngine(loaded), read_dialogues("sample:en-test")[:5]
    encoded = [engine.encode(index, engine.layout.prompt(one, ROLES)) for index, one in enumerate(dialogues)]
    shortest = min(one.cached_tokens() for one in encoded)
    batch = engine.new_scheduler(chunked_prefill_threshold=shortest)  # all but that one are long
    wanted = [GenerationRequest(one, Decoding(max_new_tokens=12, beams=beams), "") for one in encoded]
    batch.add(wanted[:3])
    ended, steps = batch.step(), 1
    batch.add(wanted[3:])
    while batch.busy:
        ended += batch.step()
        steps += 1
    found = {one.hypothesis.key: one.hypothesis.ids for one in ended}
    assert len(found) == len(ended) == 15
    assert not loaded.shares_prefix or steps > 30  # many pieces
    for one in encoded:
        for number, branch in enumerate(one.branches):
            how = {"num_beams": beams, "max_new_tokens": 12}
            assert found[one.index, number] == by_the_library(loaded, [*one.prefix, *branch], **how)


def test_the_token_budget_changes_nothing():
    loaded = load_model(model_dir("gemma3"), dtype="float32", device="cpu")
    assert_equal(loaded, read_dialogues("sample:zh-test")[:4], token_budget=1)


@pytest.mark.parametrize("kind", ["llama", "gemma3", "bloom", "baichuan2-13b"])
@pytest.mark.parametrize("length_penalty", [0.3, 1.0])
def test_beams_equal_generate_s_beams(kind, length_penalty):
    loaded = load_model(model_dir(kind), dtype="float32", device="cpu")
    loaded.stop_ids = tuple(range(2, 600, 17))
    how = {"num_beams": 4, "length_penalty": length_penalty}
    decoding = Decoding(max_new_tokens=12, beams=4, length_penalty=length_penalty)
    lengths = assert_equal(loaded, read_dialogues("sample:en-test")[:4], None, decoding, **how, max_new_tokens=12)
    assert len(lengths) > 1 or length_penalty == 1.0


def test_a_least_length_equals_generate_s():
    loaded = load_model(model_dir("llama"), dtype="float32", device="cpu")
    loaded.stop_ids = tuple(range(2, 600, 9))
    lengths = assert_equal(
        loaded,
        read_dialogues("sample:en-test")[:4],
        None,
        Decoding(max_new_tokens=NEW, min_new_tokens=9),
        min_new_tokens=9,
    )
    assert min(lengths) >= 9


@pytest.mark.parametrize("kind", ["llama", "bloom"])
def test_log_probabilities_are_those_of_the_whole_text_run_by_itself(kind):
    loaded = load_model(model_dir(kind), dtype="float32", device="cpu")
    engine = TransformersEngine(loaded)
    dialogues = read_dialogues("sample:en-test")[:3]
    decoding = Decoding(max_new_tokens=8, temperature=0.8, top_p=0.9, top_k=50)
    encoded, texts = texts_of(engine, dialogues, decoding)
    prompts = [engine.layout.prompt(dialogue, ROLES) for dialogue in dialogues]
    for one, generations in zip(encoded, engine.generate(prompts, decoding), strict=True):
        for number, (branch, generation) in enumerate(zip(one.branches, generations, strict=True)):
            new = texts[one.index, number]
            whole = torch.tensor([[*one.prefix, *branch, *new]])
            with torch.inference_mode():
                behind = loaded.model(whole).logits[0, -len(new) - 1 : -1].log_softmax(-1)
            expected = behind[torch.arange(len(new)), torch.tensor(new)]
            assert generation.mean_logprob == pytest.approx(float(expected.mean()), abs=1e-5)
            assert generation.lowest_logprob == pytest.approx(float(expected.min()), abs=1e-5)


def test_a_sampled_text_depends_on_its_own_dialogue_and_branch_only():
    loaded = load_model(model_dir("llama"), dtype="float32", device="cpu")
    dialogues = read_dialogues("sample:en-test")[:5]
    decoding = Decoding(max_new_tokens=8, temperature=1.0)
    _, together = texts_of(TransformersEngine(loaded), dialogues, decoding, ("user",) * 4)
    for index, dialogue in enumerate(dialogues):
        _, alone = texts_of(TransformersEngine(loaded, token_budget=1), [dialogue], decoding, ("user",) * 4)
        assert [alone[0, number] for number in range(4)] == [together[index, number] for number in range(4)]
        assert len({tuple(alone[0, number]) for number in range(4)}) == 4


@pytest.mark.embedded
@pytest.mark.slow
def test_the_embedded_model_gives_what_generate_gives():
    loaded = load_model("smollm2-135m", dtype="float32", device="cpu")
    assert_equal(loaded, sorted(read_dialogues("sample:en-test"), key=lambda one: len(one.turns))[:2])
