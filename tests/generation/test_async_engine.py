"""Many askers share an engine: each gets what it would get alone, whoever comes and goes meanwhile."""

import threading
import time

import pytest
import torch

from helpers.tiny import model_dir
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding, Engine, async_engine, summarize
from rolesum.generation.async_engine import AsyncEngine, RequestCanceled
from rolesum.generation.decoding import prefix_shared
from rolesum.generation.decoding.prefix_shared import PrefixSharedDecoder
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.models.loading import load_model

ROLES = ("overall", "user", "agent")
HOW = (
    Decoding(max_new_tokens=24),
    Decoding(max_new_tokens=9, min_new_tokens=4),
    Decoding(max_new_tokens=12, temperature=0.9, top_k=20),
    Decoding(max_new_tokens=10, beams=3),
    Decoding(max_new_tokens=30, temperature=1.2, seed=5),
    Decoding(max_new_tokens=8, beams=2, length_penalty=1.5),
)


@pytest.fixture(scope="module", params=["llama", "bloom"])
def engine(request):
    """Of a model whose prompts may join at any time, and of one whose may not."""
    return TransformersEngine(load_model(model_dir(request.param), dtype="float32", device="cpu"))


class InThread(threading.Thread):
    """Runs a function and keeps what it came to."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.result, self.error = work, None, None
        self.start()

    def run(self):
        try:
            self.result = self.work()
        except BaseException as error:
            self.error = error

    def ended(self, seconds=60):
        self.join(seconds)
        assert not self.is_alive()
        return self


def texts(summaries):
    return [[(one.role, one.text, one.tokens, one.finish_reason) for one in row] for row in summaries]


def test_askers_with_different_decodings_get_what_they_get_alone(engine):
    dialogues = read_dialogues("sample:en-test")[:6]
    alone = [texts(summarize([one], engine, ROLES, how)) for one, how in zip(dialogues, HOW, strict=True)]
    shared = AsyncEngine(engine)
    threads = [
        InThread(lambda one=one, how=how: texts(summarize([one], shared.client(), ROLES, how)))
        for one, how in zip(dialogues, HOW, strict=True)
    ]
    assert [thread.ended().result for thread in threads] == alone
    shared.close()


def test_who_comes_late_joins_and_changes_nothing_for_the_others(engine):
    long, late = read_dialogues("sample:en-test")[:2]
    alone = [texts(summarize([one], engine, ROLES, Decoding(max_new_tokens=n))) for one, n in ((long, 120), (late, 5))]
    shared, growing, order = AsyncEngine(engine), threading.Event(), []

    def first():
        found = summarize(
            [long], shared.client(), ROLES, Decoding(max_new_tokens=120), on_text=lambda *_: growing.set()
        )
        order.append("first")
        return texts(found)

    def second():
        growing.wait(60)
        found = summarize([late], shared.client(), ROLES, Decoding(max_new_tokens=5))
        order.append("second")
        return texts(found)

    threads = [InThread(first), InThread(second)]
    assert [thread.ended().result for thread in threads] == alone
    if engine.loaded.shares_prefix:  # else a prompt waits until nothing runs
        assert order == ["second", "first"]
    shared.close()


def test_what_grows_is_the_text(engine):
    dialogue = read_dialogues("sample:en-test")[0]
    shared, told = AsyncEngine(engine), {}
    found = summarize(
        [dialogue],
        shared.client(),
        ROLES,
        Decoding(max_new_tokens=16),
        on_text=lambda _, role, added: told.__setitem__(role, told.get(role, "") + added),
    )[0]
    for number, one in enumerate(found):  # half of a character is not told
        assert told.get(number, "").rstrip("\ufffd") == one.text.rstrip("\ufffd")
    shared.close()


def test_a_seat_that_is_left_ends_and_frees_its_rows(engine):
    dialogues = read_dialogues("sample:en-test")[:2]
    shared, growing = AsyncEngine(engine), threading.Event()
    seat = shared.client()
    thread = InThread(
        lambda: summarize([dialogues[0]], seat, ROLES, Decoding(max_new_tokens=1500), on_text=lambda *_: growing.set())
    )
    assert growing.wait(60)
    seat.cancel()
    assert isinstance(thread.ended().error, RequestCanceled)
    assert texts(summarize([dialogues[1]], shared.client(), ROLES, Decoding(max_new_tokens=6))) == texts(
        summarize([dialogues[1]], engine, ROLES, Decoding(max_new_tokens=6))
    )
    assert shared.num_rows == 0 or not engine.loaded.shares_prefix
    with pytest.raises(RequestCanceled):
        summarize([dialogues[0]], seat, ROLES, Decoding(max_new_tokens=4))
    shared.close()


def test_a_prompt_that_does_not_fit_is_refused_and_the_others_go_on(engine):
    dialogue = read_dialogues("sample:en-test")[0]
    shared = AsyncEngine(engine)
    if engine.loaded.max_length < 100_000:
        with pytest.raises(DataError, match="new ones"):
            summarize([dialogue], shared.client(), ROLES, Decoding(max_new_tokens=100_000))
    assert summarize([dialogue], shared.client(), ROLES, Decoding(max_new_tokens=3))[0][0].tokens <= 3
    shared.close()


def test_an_engine_that_breaks_breaks_for_those_who_wait_and_works_again(engine, monkeypatch):
    dialogue = read_dialogues("sample:en-test")[0]
    faults = [ZeroDivisionError("the first time")]

    def check(*_):
        if faults:
            raise faults.pop()

    monkeypatch.setattr(type(engine.loaded), "check_finite", check)
    shared = AsyncEngine(engine)
    with pytest.raises(ZeroDivisionError):
        summarize([dialogue], shared.client(), ROLES, Decoding(max_new_tokens=3))
    assert shared.alive
    assert summarize([dialogue], shared.client(), ROLES, Decoding(max_new_tokens=3))
    shared.close()


def test_where_memory_runs_out_all_begins_anew_and_no_text_is_lost_or_told_twice(engine, monkeypatch):
    """Also not a text that ended with its first token, in the step in which the memory ran out for the others."""
    dialogues = read_dialogues("sample:en-test")[:3]
    how = Decoding(max_new_tokens=12), Decoding(max_new_tokens=1), Decoding(max_new_tokens=7)
    alone = [texts(summarize([one], engine, ROLES, each)) for one, each in zip(dialogues, how, strict=True)]
    batch = engine.new_scheduler()
    kind, steps, fail_at = type(batch._decoder), [], {2, 5}
    step = kind.step

    def out_of_memory(self, tokens):
        steps.append(len(tokens))
        if len(steps) in fail_at:
            raise torch.OutOfMemoryError("as a GPU says it")
        return step(self, tokens)

    monkeypatch.setattr(kind, "step", out_of_memory)
    prompts = [engine.layout.prompt(one, ROLES) for one in dialogues]
    wanted = [
        engine.make_request(index, prompt, each) for index, (prompt, each) in enumerate(zip(prompts, how, strict=True))
    ]
    keys = batch.config.max_cache_tokens
    batch.add(wanted[:1])
    ended = batch.step()
    batch.add(wanted[1:])
    while batch.busy:
        ended += batch.step()
    assert batch.config.max_cache_tokens == keys // 4 and len(steps) > 5
    found = {one.hypothesis.key: engine.to_generation(one) for one in ended}
    assert len(found) == len(ended) == 9
    for index, rows in enumerate(alone):
        for branch, (role, text, tokens, reason) in enumerate(rows[0]):
            one = found[index, branch]
            assert (ROLES[branch], one.text, one.tokens, one.finish_reason) == (role, text, tokens, reason)


@pytest.fixture
def reading(monkeypatch):
    """A model that reads whatever is longer than 100 tokens 10 at a time; two dialogues; and when it has begun."""
    monkeypatch.setattr(async_engine, "CHUNKED_PREFILL_THRESHOLD", 100)
    monkeypatch.setattr(prefix_shared, "PREFILL_CHUNK", 10)
    engine = TransformersEngine(load_model(model_dir("llama"), dtype="float32", device="cpu"))
    short = Dialogue("short", (Turn("Customer", "hello"),), {"Customer": "user"})
    long = Dialogue("long", tuple(Turn("Customer", f"line {n}") for n in range(120)), {"Customer": "user"})
    started = threading.Event()
    read = PrefixSharedDecoder._prefill_chunk

    def slowly(self, *arguments):
        started.set()
        time.sleep(0.01)
        return read(self, *arguments)

    monkeypatch.setattr(PrefixSharedDecoder, "_prefill_chunk", slowly)
    assert engine.encode(0, engine.layout.prompt(short, ["user"])).cached_tokens() <= 100
    return engine, short, long, started


def test_a_short_dialogue_does_not_wait_until_a_long_one_is_read(reading):
    engine, short, long, started = reading
    alone = [texts(summarize([one], engine, ["user"], Decoding(max_new_tokens=6))) for one in (long, short)]
    shared, order = AsyncEngine(engine), []

    def ask(dialogue):
        found = texts(summarize([dialogue], shared.client(), ["user"], Decoding(max_new_tokens=6)))
        order.append(dialogue.id)
        return found

    first = InThread(lambda: ask(long))
    assert started.wait(60)
    second = InThread(lambda: ask(short))
    assert [one.ended().result for one in (first, second)] == alone
    assert order == ["short", "long"]
    shared.close()


def test_memory_that_runs_out_while_a_long_dialogue_is_read_loses_nothing(reading, monkeypatch):
    engine, short, long, _ = reading
    alone = [texts(summarize([one], engine, ["user"], Decoding(max_new_tokens=6))) for one in (long, short)]
    faults, read = [torch.OutOfMemoryError("as a GPU says it")], PrefixSharedDecoder._prefill_chunk

    def out_of_memory(self, block, prompt, start, end):
        if start > 200 and faults:
            raise faults.pop()
        return read(self, block, prompt, start, end)

    monkeypatch.setattr(PrefixSharedDecoder, "_prefill_chunk", out_of_memory)
    shared = AsyncEngine(engine)
    threads = [
        InThread(lambda one=one: texts(summarize([one], shared.client(), ["user"], Decoding(max_new_tokens=6))))
        for one in (long, short)
    ]
    assert [thread.ended().result for thread in threads] == alone and not faults
    shared.close()


def test_a_client_that_goes_away_while_its_dialogue_is_read_ends_the_reading(reading):
    engine, short, long, started = reading
    shared = AsyncEngine(engine)
    seat = shared.client()
    thread = InThread(lambda: summarize([long], seat, ["user"], Decoding(max_new_tokens=6)))
    assert started.wait(60)
    seat.cancel()
    assert isinstance(thread.ended().error, RequestCanceled)
    summarize([short], shared.client(), ["user"], Decoding(max_new_tokens=3))
    started.clear()
    assert not started.wait(0.3)  # no piece is read any more
    shared.close()


class ByGroups(Engine):
    """An engine without live batches: it writes what it is asked, and notes how it was called."""

    name = "groups"

    def __init__(self, engine):
        self.engine, self.layout, self.calls = engine, engine.layout, []

    def generate(self, prompts, decoding, on_done=None, on_text=None):
        self.calls.append((len(prompts), decoding))
        return self.engine.generate(prompts, decoding, on_done, on_text)

    def fits(self, prompt, max_new_tokens):
        return self.engine.fits(prompt, max_new_tokens)


def test_an_engine_without_live_batches_is_given_groups(engine):
    dialogues = read_dialogues("sample:en-test")[:8]
    groups = ByGroups(engine)
    shared = AsyncEngine(groups)
    threads = [
        InThread(lambda one=one: texts(summarize([one], shared.client(), ROLES, Decoding(max_new_tokens=40))))
        for one in dialogues
    ]
    found = [thread.ended().result for thread in threads]
    assert found == [texts(summarize([one], engine, ROLES, Decoding(max_new_tokens=40))) for one in dialogues]
    assert sum(count for count, _ in groups.calls) == 8 and len(groups.calls) < 8
    shared.close()
