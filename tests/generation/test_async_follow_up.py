"""Clients of one engine whose statements are verified when their texts are finished."""

import threading

import pytest

from helpers.tiny import model_dir
from helpers.verify_runs import answer_set, pieces
from rolesum.errors import UsageError
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding, Engine
from rolesum.generation.async_engine import AsyncEngine, RequestCanceled
from rolesum.generation.decoding.prefix_shared import PrefixSharedDecoder
from rolesum.generation.engine import takes_follow_ups
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.verification import Verifier
from rolesum.instructions import load_instruction_set
from rolesum.models.loading import load_model

ROLES = ("overall", "user", "agent")
HOW = (
    Decoding(max_new_tokens=24),
    Decoding(max_new_tokens=9, min_new_tokens=4),
    Decoding(max_new_tokens=12, temperature=0.9, top_k=20),
    Decoding(max_new_tokens=10, beams=3),
)


@pytest.fixture(params=["llama", "bloom"])
def engine(request):
    """Of a model whose prefixes are held, and of one whose are not."""
    loaded = load_model(model_dir(request.param), dtype="float32", device="cpu")
    return TransformersEngine(loaded, loaded.layout(instructions=load_instruction_set(answer_set())))


def prompts_of(engine, count=4):
    return [engine.layout.prompt(dialogue, ROLES) for dialogue in read_dialogues("sample:en-test")[:count]]


def verified_texts(engine, client, prompts, decoding, statements_of=pieces):
    """The texts of prompts, and the probabilities of their statements."""
    verified = Verifier(engine).follow_up(statements_of)
    made = client.generate(prompts, decoding, follow_up=verified)
    return [[one.text for one in of] for of in made], verified.probabilities


def in_thread(work):
    """Start `work` in a thread; a function that waits for it, and returns its result or raises its error."""
    found = {}

    def run():
        try:
            found["result"] = work()
        except BaseException as error:
            found["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def wait():
        thread.join(60)
        assert not thread.is_alive()
        if "error" in found:
            raise found["error"]
        return found["result"]

    return wait


def assert_close(ours, theirs):
    assert ours[0] == theirs[0] and ours[1].keys() == theirs[1].keys()
    for number, of_prompt in theirs[1].items():
        assert [len(of) for of in ours[1][number]] == [len(of) for of in of_prompt]
        for one, other in zip(ours[1][number], of_prompt, strict=True):
            assert one == pytest.approx(other, abs=5e-6)


def test_clients_with_different_decodings_get_the_probabilities_they_get_alone(engine):
    prompts = prompts_of(engine, 6)
    groups = [prompts[:3], prompts[3:4], prompts[1:5], prompts[5:]]
    alone = [verified_texts(engine, engine, each, how) for each, how in zip(groups, HOW, strict=True)]
    shared = AsyncEngine(engine)
    assert takes_follow_ups(shared.client())
    waits = [
        in_thread(lambda each=each, how=how: verified_texts(engine, shared.client(), each, how))
        for each, how in zip(groups, HOW, strict=True)
    ]
    for wait, expected in zip(waits, alone, strict=True):
        assert_close(wait(), expected)
        assert any(of for of_prompt in expected[1].values() for of in of_prompt)
    shared.close()


def test_a_client_that_cancels_before_its_questions_are_answered_frees_the_place(monkeypatch):
    loaded = load_model(model_dir("llama"), dtype="float32", device="cpu")
    engine = TransformersEngine(loaded, loaded.layout(instructions=load_instruction_set(answer_set())))
    monkeypatch.setattr(PrefixSharedDecoder, "held_size", lambda *_: 10**9)  # while the other client's texts grow
    released, release = threading.Event(), PrefixSharedDecoder.release
    monkeypatch.setattr(PrefixSharedDecoder, "release", lambda *given: (release(*given), released.set()))
    prompts, shared = prompts_of(engine), AsyncEngine(engine)
    asked, growing = threading.Event(), threading.Event()
    client, other = shared.client(), shared.client()
    long, short = Decoding(max_new_tokens=800, min_new_tokens=800), Decoding(max_new_tokens=2)
    running = in_thread(lambda: other.generate(prompts[1:2], long, on_text=lambda *_: growing.set()))
    assert growing.wait(60)

    def statements_of(number, texts):
        asked.set()
        return [["It rained."] for _ in texts]

    canceled = in_thread(lambda: verified_texts(engine, client, prompts[:1], short, statements_of))
    assert asked.wait(60)
    client.cancel()
    with pytest.raises(RequestCanceled):
        canceled()
    assert released.wait(60)
    other.cancel()
    with pytest.raises(RequestCanceled):
        running()
    shared.close()


def test_an_error_about_the_statements_of_one_client_is_its_own(engine):
    prompts = prompts_of(engine, 2)
    alone = verified_texts(engine, engine, prompts[1:], HOW[0])
    shared = AsyncEngine(engine)

    def fails(number, texts):
        raise ZeroDivisionError("of this client")

    waits = [
        in_thread(lambda: verified_texts(engine, shared.client(), prompts[:1], HOW[0], fails)),
        in_thread(lambda: verified_texts(engine, shared.client(), prompts[1:], HOW[0])),
    ]
    with pytest.raises(ZeroDivisionError, match="of this client"):
        waits[0]()
    assert_close(waits[1](), alone)
    shared.close()


class ByGroups(Engine):
    """An engine without continuous batching."""

    name = "groups"

    def __init__(self, engine):
        self.layout = engine.layout


def test_an_engine_that_takes_no_follow_up_refuses_one(engine):
    shared = AsyncEngine(ByGroups(engine))
    assert not takes_follow_ups(shared.client())
    with pytest.raises(UsageError, match="groups takes no questions"):
        verified_texts(engine, shared.client(), prompts_of(engine, 1), HOW[0])
    shared.close()
