"""Follow-ups in the scheduler: when questions are asked, what is computed for them, and what they hold meanwhile."""

import pytest
import torch

from helpers.tiny import model_dir
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding
from rolesum.generation.decoding import follow_up
from rolesum.generation.decoding.prefix_shared import PrefixSharedDecoder
from rolesum.generation.engines import transformers as transformers_engine
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.models.loading import load_model

ROLES = ("overall", "user")
HOW = Decoding(max_new_tokens=16)
IDS = (7, 300)


class Asked:
    """A FollowUp that asks five questions of different lengths, made of the texts' ids, two of them equal."""

    answer_ids = IDS

    def __init__(self, events=None, number=0, count=5, reads=None):
        self.events, self.number, self.count = [] if events is None else events, number, count
        self.reads = reads
        self.texts = self.logits = self.hidden = None

    def questions(self, prompt, texts):
        assert self.texts is None, "asked twice"
        self.texts = [list(ids) for ids in texts]
        self.events.append(("asked", self.number))
        return [[*texts[0][:3], *range(20, 24 + place % 4)] for place in range(self.count)]

    def add_answers(self, logits):
        assert self.logits is None, "answered twice"
        self.logits = logits
        self.events.append(("answered", self.number))

    def reading(self):
        assert self.logits is not None
        return self.reads

    def add_hidden_states(self, hidden):
        assert self.hidden is None, "read twice"
        self.hidden = hidden
        self.events.append(("read", self.number))


@pytest.fixture(scope="module")
def loaded():
    """A model with many stop ids, so that texts end at different steps."""
    found = load_model(model_dir("llama"), dtype="float32", device="cpu")
    found.stop_ids = tuple(range(2, 600, 9))
    return found


def dialogues(count=6):
    return read_dialogues("sample:en-test")[:count]


def requests_for(engine, asked, *decodings):
    """Requests with these follow-ups, all with one decoding or each with its own."""
    each = decodings * len(asked) if len(decodings) == 1 else decodings or (HOW,) * len(asked)
    prompts = [engine.layout.prompt(one, ROLES) for one in dialogues(len(asked))]
    pairs = enumerate(zip(prompts, each, asked, strict=True))
    return [engine.make_request(n, prompt, decoding, follow_up=one) for n, (prompt, decoding, one) in pairs]


def run(batch, wanted, events=None):
    """All completions; the texts that ended are put among the events."""
    ended = []
    for one in batch.run(wanted):
        ended.append(one)
        if events is not None:
            events.append(("text", one.hypothesis.key[0]))
    keys = [one.hypothesis.key for one in ended]
    assert len(set(keys)) == len(keys) == len(ROLES) * len(wanted)
    assert isinstance(batch._decoder, PrefixSharedDecoder) and not batch._decoder.blocks  # nothing is held any more
    return ended


def assert_answers(loaded, wanted, asked, ended):
    """Compare the answers with the logits of the library's own forward."""
    texts = {one.hypothesis.key: one.hypothesis.ids for one in ended}
    for request, one in zip(wanted, asked, strict=True):
        prompt = request.prompt
        assert one.texts == [texts[prompt.index, branch] for branch in range(len(ROLES))]
        for place, logits in enumerate(one.logits):
            ids = [*prompt.prefix, *one.texts[0][:3], *range(20, 24 + place % 4)]
            with torch.inference_mode():
                expected = loaded.model(torch.tensor([ids])).logits[0, -1, list(IDS)].tolist()
            assert logits == pytest.approx(expected, abs=5e-5)
        assert len(one.logits) == one.count


@pytest.fixture
def passes(monkeypatch):
    """Of each pass behind prefixes that are held: decoder, prompts, and the numbers of questions."""
    found, compute = [], PrefixSharedDecoder.prefill_held

    def prefill_held(decoder, held, prompts):
        found.append((decoder, list(prompts), [len(one.branches) for one in prompts]))
        return compute(decoder, held, prompts)

    monkeypatch.setattr(PrefixSharedDecoder, "prefill_held", prefill_held)
    return found


def test_the_last_text_of_a_prompt_is_returned_when_its_questions_are_answered(loaded):
    events, engine = [], TransformersEngine(loaded)
    asked = [Asked(events, number) for number in range(6)]
    wanted = requests_for(engine, asked)
    assert_answers(loaded, wanted, asked, run(engine.new_scheduler(), wanted, events))
    for number in range(6):
        assert [what for what, of in events if of == number] == ["text", "asked", "answered", "text"]


def test_only_the_questions_are_computed_and_those_of_several_prompts_together(loaded, passes, monkeypatch):
    engine, lengths = TransformersEngine(loaded), []
    forward = PrefixSharedDecoder._forward

    def counting(decoder, ids, positions, mask, **more):
        lengths.append(ids.shape[1])
        return forward(decoder, ids, positions, mask, **more)

    monkeypatch.setattr(PrefixSharedDecoder, "_forward", counting)
    asked = [Asked(number=number) for number in range(6)]
    wanted = requests_for(engine, asked)
    run(engine.new_scheduler(), wanted)
    assert len(passes) < 6 and sum(sum(counts) for _, _, counts in passes) == 30
    prompts = sum(one.prompt.cached_tokens() for one in wanted)
    assert sum(length for length in lengths if length > len(ROLES) * 6) <= prompts + 6 * 5 * 10


def length(tokens):
    return Decoding(max_new_tokens=tokens, min_new_tokens=tokens)


def test_questions_wait_a_few_steps_at_most(loaded):
    engine, one = TransformersEngine(loaded), Asked()
    batch = engine.new_scheduler()
    batch.add(requests_for(engine, [one, None], length(1), length(50)))
    steps = 0
    while one.logits is None:
        batch.step()
        steps += 1
    assert steps == 1 + follow_up.ANSWER_STEPS and batch.num_rows == 2


def test_many_questions_do_not_wait(loaded, monkeypatch):
    monkeypatch.setattr(transformers_engine, "CPU_PREFILL_TOKENS", 200)  # an eighth of them are due at once
    engine, one = TransformersEngine(loaded), Asked()
    batch = engine.new_scheduler()
    batch.add(requests_for(engine, [one, None], length(1), length(50)))
    batch.step()
    assert one.texts and not one.logits
    batch.step()
    assert one.logits and batch.num_rows == 2


@pytest.mark.parametrize("token_budget", [2700, 3600])
def test_passes_keep_to_the_token_budget_beside_rows_that_run(loaded, passes, token_budget, monkeypatch):
    engine, left = TransformersEngine(loaded, token_budget=token_budget), []
    batch, compute = engine.new_scheduler(), PrefixSharedDecoder.prefill_held

    def prefill_held(decoder, held, prompts):
        if batch.num_rows:
            left.append(token_budget - decoder.cache_size([], 1, HOW.max_new_tokens) - decoder.held_size(prompts))
        return compute(decoder, held, prompts)

    monkeypatch.setattr(PrefixSharedDecoder, "prefill_held", prefill_held)
    asked = [Asked(number=number) for number in range(6)]
    wanted = requests_for(engine, asked)
    assert_answers(loaded, wanted, asked, run(batch, wanted))
    assert left and min(left) >= 0
    assert any(counts[0] < 5 for _, _, counts in passes)  # some prompts' questions were split


def test_questions_that_never_fit_beside_rows_go_before_prompts_that_wait(loaded, passes, monkeypatch):
    monkeypatch.setattr(PrefixSharedDecoder, "held_size", lambda *_: 10**9)
    monkeypatch.setattr(transformers_engine, "CPU_ROWS", 4)
    engine = TransformersEngine(loaded)
    batch, watched, rows = engine.new_scheduler(), PrefixSharedDecoder.prefill_held, []

    def prefill_held(decoder, held, prompts):
        rows.append(batch.num_rows)
        return watched(decoder, held, prompts)

    monkeypatch.setattr(PrefixSharedDecoder, "prefill_held", prefill_held)
    asked = [Asked(number=number) for number in range(6)]
    wanted = requests_for(engine, asked, Decoding(max_new_tokens=16, min_new_tokens=12))
    assert_answers(loaded, wanted, asked, run(batch, wanted))
    assert rows == [0] * 30 and all(counts == [1] for _, _, counts in passes)  # one by one, when nothing runs


READING = follow_up.Reading(list(range(30, 50)), [0, 7, 7, 19], 0)


def assert_hidden(loaded, wanted, asked):
    """Compare the hidden states with those of the library's own forward."""
    for request, one in zip(wanted, asked, strict=True):
        ids = torch.tensor([[*request.prompt.prefix, *READING.ids]])
        with torch.inference_mode():
            behind = loaded.model(ids, output_hidden_states=True).hidden_states[READING.layer + 1][0]
        expected = behind[len(request.prompt.prefix) :][READING.places]
        torch.testing.assert_close(one.hidden, expected, rtol=0, atol=1e-5)


def test_a_text_is_read_behind_the_prefix_that_is_held_once_the_questions_are_answered(loaded, monkeypatch):
    events, engine, lengths = [], TransformersEngine(loaded), []
    forward = PrefixSharedDecoder._forward

    def counting(decoder, ids, positions, mask, **more):
        lengths.append(ids.shape[1])
        return forward(decoder, ids, positions, mask, **more)

    monkeypatch.setattr(PrefixSharedDecoder, "_forward", counting)
    asked = [Asked(events, number, reads=READING) for number in range(6)]
    wanted = requests_for(engine, asked)
    assert_answers(loaded, wanted, asked, run(engine.new_scheduler(), wanted, events))
    assert_hidden(loaded, wanted, asked)
    assert lengths.count(len(READING.ids)) == 6
    for number in range(6):
        assert [what for what, of in events if of == number] == ["text", "asked", "answered", "read", "text"]


def test_a_text_is_read_where_the_prefix_was_lost(loaded, monkeypatch):
    faults = [torch.OutOfMemoryError("as a GPU says it")]
    compute = PrefixSharedDecoder.prefill_held

    def out_of_memory(decoder, held, prompts):
        if faults:
            raise faults.pop()
        return compute(decoder, held, prompts)

    monkeypatch.setattr(PrefixSharedDecoder, "prefill_held", out_of_memory)
    engine, asked = TransformersEngine(loaded), [Asked(number=number, reads=READING) for number in range(6)]
    wanted = requests_for(engine, asked)
    assert_answers(loaded, wanted, asked, run(engine.new_scheduler(), wanted))
    assert_hidden(loaded, wanted, asked)


def test_texts_do_not_wait_for_a_reading_that_memory_does_not_hold(loaded, monkeypatch):
    def out_of_memory(*_):
        raise torch.OutOfMemoryError("as a GPU says it")

    monkeypatch.setattr(PrefixSharedDecoder, "read", out_of_memory)
    engine, asked = TransformersEngine(loaded), [Asked(number=number, reads=READING) for number in range(3)]
    wanted = requests_for(engine, asked)
    assert_answers(loaded, wanted, asked, run(engine.new_scheduler(), wanted))
    assert [one.hidden for one in asked] == [None] * 3


def test_a_prompt_without_questions_is_finished_with_its_last_text(loaded, passes):
    engine = TransformersEngine(loaded)
    asked = [Asked(count=0) for _ in range(3)]
    run(engine.new_scheduler(), requests_for(engine, asked))
    assert [one.logits for one in asked] == [[], [], []] and not passes


def test_canceled_prompts_are_not_answered_and_release_what_they_hold(loaded, monkeypatch):
    monkeypatch.setattr(follow_up, "ANSWER_STEPS", 4)
    monkeypatch.setattr(PrefixSharedDecoder, "held_size", lambda *_: 10**9)  # until nothing runs
    engine = TransformersEngine(loaded)
    gone, other, late = Asked(), Asked(), Asked()
    wanted = requests_for(engine, [gone, other, late], length(1), length(40), length(5))
    batch = engine.new_scheduler()
    batch.add(wanted[:2])
    for _ in range(8):
        batch.step()
    assert gone.texts and len(batch._decoder.blocks[0].held) == 1
    batch.cancel({0})
    assert not any(block.held for block in batch._decoder.blocks)
    batch.add(wanted[2:])
    batch.step()
    assert batch.num_rows == 4  # no prompt waits for questions that are gone
    ended = []
    while batch.busy:
        ended += batch.step()
    assert {one.hypothesis.key[0] for one in ended} == {1, 2} and gone.logits is None
    assert other.logits and late.logits and not batch._decoder.blocks


def test_memory_that_runs_out_while_questions_are_answered_loses_and_repeats_nothing(loaded, monkeypatch):
    engine, compute = TransformersEngine(loaded), PrefixSharedDecoder.prefill_held
    faults = [torch.OutOfMemoryError("as a GPU says it")]

    def out_of_memory(decoder, held, prompts):
        if len(decoder.blocks) and faults:
            raise faults.pop()
        return compute(decoder, held, prompts)

    monkeypatch.setattr(PrefixSharedDecoder, "prefill_held", out_of_memory)
    asked = [Asked(number=number) for number in range(6)]
    wanted, batch = requests_for(engine, asked), engine.new_scheduler()
    assert_answers(loaded, wanted, asked, run(batch, wanted))
    assert not faults and batch.config.max_cache_tokens == engine.token_budget // 2


def test_memory_that_never_suffices_for_questions_is_an_error(loaded, monkeypatch):
    def out_of_memory(*_):
        raise torch.OutOfMemoryError("as a GPU says it")

    monkeypatch.setattr(PrefixSharedDecoder, "prefill_held", out_of_memory)
    engine = TransformersEngine(loaded)
    wanted = requests_for(engine, [Asked()], Decoding(max_new_tokens=1))
    batch = engine.new_scheduler()
    batch.add(wanted)
    batch.step()
    monkeypatch.setattr(PrefixSharedDecoder, "prefill", out_of_memory)
    with pytest.raises(Exception, match="does not fit the device's memory"):
        while batch.busy:
            batch.step()


def test_a_block_whose_rows_have_left_keeps_what_is_held_while_it_shrinks(loaded):
    """Slots are renumbered when a block gives up those that are no longer needed."""
    engine = TransformersEngine(loaded)
    prompts = [one.prompt for one in requests_for(engine, [None] * 6)]
    decoder = engine.new_decoder()
    with torch.inference_mode():
        decoder.prefill(prompts, 1)
        held = [decoder.hold(2 * number, len(prompts[number].prefix)) for number in (4, 1)]
        expected = decoder.prefill_held(held, [prompts[4], prompts[1]])
        decoder.reorder([3])  # of prompt 1, and it shrinks
        assert [one.slot for one in held] == [1, 0] and len(decoder.blocks[0].used) == 2
        decoder.step([5])
        decoder.reorder([])
        torch.testing.assert_close(decoder.prefill_held(held, [prompts[4], prompts[1]]), expected)
        decoder.release(held[1])
        torch.testing.assert_close(decoder.prefill_held(held[:1], [prompts[4]]), expected[:2])
        assert decoder.blocks
        decoder.release(held[0])
        assert not decoder.blocks
