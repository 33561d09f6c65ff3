"""Statements that follow the texts just generated: their probabilities are those of each statement by itself."""

from functools import partial

import pytest

from helpers.tiny import model_dir
from helpers.verify_runs import alone, answer_set, pieces
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation import Decoding
from rolesum.generation.decoding import kv_cache, prefix_shared
from rolesum.generation.decoding.padded import PaddedDecoder
from rolesum.generation.decoding.prefix_shared import PrefixSharedDecoder
from rolesum.generation.decoding.separate import SeparateDecoder
from rolesum.generation.engines import transformers as transformers_engine
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.verification import Verifier
from rolesum.instructions import load_instruction_set
from rolesum.models.loading import load_model

ANSWER_SET = load_instruction_set(answer_set())
ROLES = ("overall", "user", "agent")
HOW = Decoding(max_new_tokens=24)


def an_engine(kind, token_budget=None):
    """Of a model with many stop ids, so that texts end at different steps."""
    loaded = load_model(model_dir(kind), dtype="float32", device="cpu")
    loaded.stop_ids = tuple(range(2, 600, 9))
    return TransformersEngine(loaded, loaded.layout(instructions=ANSWER_SET), token_budget)


def dialogues(limit=6):
    return read_dialogues("sample:dialogues-en-test", ReadOptions(limit=limit))


@pytest.fixture
def held(monkeypatch):
    """The numbers of prompts of each pass behind prefixes that are held."""
    passes, compute = [], PrefixSharedDecoder.prefill_held

    def prefill_held(decoder, prefixes, prompts):
        passes.append(len(prompts))
        return compute(decoder, prefixes, prompts)

    monkeypatch.setattr(PrefixSharedDecoder, "prefill_held", prefill_held)
    return passes


def assert_equal_alone(engine, shown, made, found):
    """Compare the probabilities found of each text's statements with those by the library's own forward."""
    seen = set()
    assert sorted(found) == list(range(len(shown)))
    for number, (dialogue, generations) in enumerate(zip(shown, made, strict=True)):
        expected = pieces(number, [one.text for one in generations])
        assert [len(of) for of in found[number]] == [len(of) for of in expected]
        for statements, probabilities in zip(expected, found[number], strict=True):
            for statement, probability in zip(statements, probabilities, strict=True):
                assert probability == pytest.approx(alone(engine, dialogue, statement)[1], abs=5e-6)
                seen.add(round(probability, 3))
    assert len(seen) > len(shown)  # they depend on the dialogue and on the statement


def assert_follow_up_equal(engine, shown, decoding=HOW, roles=ROLES):
    prompts = [engine.layout.prompt(dialogue, roles) for dialogue in shown]
    verified = Verifier(engine).follow_up(pieces)
    made = engine.generate(prompts, decoding, follow_up=verified)
    assert_equal_alone(engine, shown, made, verified.probabilities)
    return prompts, made, verified.probabilities


@pytest.mark.parametrize(
    "kind", ["llama", "qwen2", "mistral", "gemma3", "bloom", "baichuan2-7b", "baichuan2-13b", "chatglm3-6b"]
)
def test_probabilities_after_generation_equal_those_of_each_statement_alone(kind, held, monkeypatch):
    """While texts end at different steps, and others join."""
    monkeypatch.setattr(transformers_engine, "CPU_ROWS", 9)
    engine = an_engine(kind)
    prompts, made, found = assert_follow_up_equal(engine, dialogues())
    assert sum(held) >= 6 if kind != "bloom" else not held
    plain = engine.generate(prompts, HOW)  # the texts are what they are without the statements
    assert [[one.text for one in of] for of in made] == [[one.text for one in of] for of in plain]
    statements = [pieces(number, [one.text for one in of]) for number, of in enumerate(made)]
    apart = Verifier(engine).verify_all(dialogues(), [[one for of in each for one in of] for each in statements])
    for number, of in enumerate(apart):
        assert of == pytest.approx([one for each in found[number] for one in each], abs=5e-6)


@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma3"])
def test_rows_padded_as_on_a_gpu_give_the_same(kind, held, monkeypatch):
    monkeypatch.setattr(prefix_shared, "supports_segment_attention", lambda *_: False)
    assert_follow_up_equal(an_engine(kind), dialogues())
    assert max(held) > 1  # prompts of different lengths in one pass


@pytest.mark.parametrize("kind", ["llama", "baichuan2-13b", "bloom"])
@pytest.mark.parametrize("token_budget", [1, 1400, 3000])
def test_the_token_budget_changes_no_probability(kind, token_budget, monkeypatch):
    monkeypatch.setattr(kv_cache, "GROWTH_TOKENS", 1)
    assert_follow_up_equal(an_engine(kind, token_budget), dialogues(4))


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
@pytest.mark.parametrize(
    "decoding", [Decoding(max_new_tokens=12, temperature=1.0), Decoding(max_new_tokens=12, beams=3)], ids=str
)
def test_the_statements_of_all_samples_and_of_beams_are_verified(kind, decoding, held):
    roles = [role for role in ROLES for _ in range(3)] if decoding.temperature else ROLES
    assert_follow_up_equal(an_engine(kind), dialogues(4), decoding, roles)
    assert held


@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma3", "baichuan2-13b"])
def test_prompts_that_are_prefilled_in_chunks_give_the_same(kind, held, monkeypatch):
    monkeypatch.setattr(prefix_shared, "PREFILL_CHUNK", 23)
    engine, shown = an_engine(kind), dialogues(5)
    prompts = [engine.layout.prompt(dialogue, ROLES) for dialogue in shown]
    verified = Verifier(engine).follow_up(pieces)
    shortest = min(engine.encode(0, prompt).cached_tokens() for prompt in prompts)
    batch = engine.new_scheduler(chunked_prefill_threshold=shortest)  # all but that one are long
    requests = [engine.make_request(n, one, HOW, follow_up=verified(n, one)) for n, one in enumerate(prompts)]
    batch.add(requests[:3])
    ended = batch.step()
    batch.add(requests[3:])
    while batch.busy:
        ended += batch.step()
    texts = {one.hypothesis.key: engine.to_generation(one) for one in ended}
    assert len(texts) == len(ended) == 15 and held
    made = [[texts[number, branch] for branch in range(3)] for number in range(5)]
    assert_equal_alone(engine, shown, made, verified.probabilities)


@pytest.mark.parametrize("decoder", [PaddedDecoder, SeparateDecoder])
def test_decoders_that_hold_no_prefix_give_the_same(decoder, held):
    engine = an_engine("qwen2")
    engine.new_decoder = partial(decoder, engine.loaded)
    assert_follow_up_equal(engine, dialogues(4))
    assert not held
