"""Statements that clients of one engine verify: with the support that they have alone, in the engine's thread."""

import threading
from dataclasses import replace

import pytest

from helpers.scripted_engine import CHAT, OTHER
from helpers.tiny import model_dir
from helpers.verify_runs import answer_set, verify_adapter
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding, async_engine
from rolesum.generation.async_engine import AsyncEngine, RequestCanceled
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.factory import EngineSpec
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.generation.summary_output import summary_record
from rolesum.generation.support import open_verifier
from rolesum.generation.verification import SharedVerifier, Verifier
from rolesum.instructions import load_instruction_set
from rolesum.models.loading import load_model

SAID = ["The lamp broke.", "It rained.", "Tom sends a new lamp on Monday, and he is sorry."]


@pytest.fixture(params=["llama", "bloom"])
def engine(request):
    """Of a model whose prefixes are held, and of one whose are not."""
    loaded = load_model(model_dir(request.param), dtype="float32", device="cpu")
    return TransformersEngine(loaded, loaded.layout(instructions=load_instruction_set(answer_set())))


@pytest.fixture
def shared(engine):
    running = AsyncEngine(engine)
    yield running
    running.close()


@pytest.fixture
def trained():
    """A shared engine whose adapter both summarizes and verifies."""
    running = AsyncEngine(EngineSpec(adapter=verify_adapter(), device="cpu", dtype="float32").open())
    yield running
    running.close()


def flat(numbers):
    return [one for of in numbers for one in of]


def test_statements_have_the_probability_that_they_have_alone(engine, shared):
    dialogues = [CHAT, OTHER, *read_dialogues("sample:en-test")[:3]]
    asked = [SAID, [], SAID[:1], SAID[1:], SAID]
    alone = Verifier(engine).verify_all(dialogues, asked)
    found = SharedVerifier(shared.client(), engine).verify_all(dialogues, asked)
    assert [len(of) for of in found] == [3, 0, 1, 2, 3]
    assert flat(found) == pytest.approx(flat(alone), abs=1e-5)


def test_a_dialogue_that_is_read_in_chunks_gives_its_statements_the_same(engine, monkeypatch):
    monkeypatch.setattr(async_engine, "CHUNKED_PREFILL_THRESHOLD", 64)
    shared, dialogues = AsyncEngine(engine), read_dialogues("sample:en-test")[:2]
    alone = Verifier(engine).verify_all(dialogues, [SAID, SAID])
    found = SharedVerifier(shared.client(), engine).verify_all(dialogues, [SAID, SAID])
    assert flat(found) == pytest.approx(flat(alone), abs=1e-5)
    shared.close()


def test_the_layout_of_the_client_words_the_question(engine, shared):
    other = load_instruction_set(answer_set(verify="Is this in it?\n{statement}"))
    client = shared.client()
    client.layout = replace(client.layout, instructions=other)
    expected = Verifier(TransformersEngine(engine.loaded, client.layout)).verify(CHAT, SAID)
    assert SharedVerifier(client, engine).verify(CHAT, SAID) == pytest.approx(expected, abs=1e-5)
    assert Verifier(engine).verify(CHAT, SAID) != pytest.approx(expected, abs=1e-3)


def test_all_dialogues_that_do_not_fit_are_named(engine, shared):
    engine.loaded.max_length = 256  # of bloom, which has no limit of its own
    long = [Dialogue(name, (Turn("A", "word " * 400),)) for name in ("first", "second")]
    with pytest.raises(DataError) as caught:
        SharedVerifier(shared.client(), engine).verify_all([*long, CHAT], [SAID] * 3)
    assert [problem.where for problem in caught.value.problems] == ["dialogue first", "dialogue second"]


def test_a_client_that_was_canceled_asks_nothing(engine, shared):
    client = shared.client()
    client.cancel()
    with pytest.raises(RequestCanceled):
        SharedVerifier(client, engine).verify(CHAT, SAID)


def config(**options):
    return SummarizerConfig(decoding=Decoding(max_new_tokens=24), long_dialogues="map-reduce", **options)


def records(summarizer, dialogue):
    """The texts of a dialogue's summaries, and their statements without and with their support."""
    record = summary_record(summarizer.summarize([dialogue])[0])
    said = [one for of in record["statements"].values() for one in of]
    return record["summaries"], [{**one, "support": None} for one in said], [one["support"] for one in said]


def test_summaries_of_many_threads_have_the_statements_that_each_has_alone(trained):
    long = Dialogue("long", CHAT.turns * 40, CHAT.roles)  # read in parts, and so are its statements
    trained.engine.loaded.max_length = 512
    dialogues = [CHAT, OTHER, long, *read_dialogues("sample:en-test")[:2]]
    alone = [records(Summarizer(config(), trained.engine), one) for one in dialogues]
    assert sum(len(said) for _, said, _ in alone) > 6
    found = [None] * len(dialogues)

    def summarize(place):
        found[place] = records(Summarizer(config(), trained.client()), dialogues[place])

    threads = [threading.Thread(target=summarize, args=(place,), daemon=True) for place in range(len(dialogues))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for (texts, said, support), expected in zip(found, alone, strict=True):
        assert (texts, said) == expected[:2]
        assert None not in support and support == pytest.approx(expected[2], abs=1.5e-4)


def test_only_a_client_whose_model_was_trained_to_verify_is_asked(trained, shared):
    client = trained.client()
    found = open_verifier(client)
    assert isinstance(found, SharedVerifier) and found.client is client and found.engine is trained.engine
    assert open_verifier(shared.client()) is None
