import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from rolesum.dialogue import Coverage, Dialogue, Turn
from rolesum.errors import DataError, Problem, UsageError
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding, Engine, Generation, summarize
from rolesum.generation.long_dialogues.chunking import (
    last_turns,
    new_spans,
    next_chunk,
    split_into_chunks,
    turn_spans,
)
from rolesum.instructions import ChatFormat, PromptLayout, instruction_set, load_sections

NEW = 8
SPAN = re.compile(r"\bt(\d+)(?:-t(\d+))?\b")


class Spans(Engine):
    """An engine that counts words, and whose text is the role and which turns, t0 to tN, it was told of in what order.

    It notes every prompt, and refuses those that do not fit.
    """

    name = "spans"
    layout = PromptLayout(ChatFormat())

    def __init__(self, limit=66, text=None):
        self.limit, self.text = limit, text or self.spans
        self.calls, self.prompts = [], []

    def fits(self, prompt, max_new_tokens):
        longest = max(len(words(branch)) for branch in prompt.branches)
        return len(words(prompt.prefix)) + longest + max_new_tokens <= self.limit

    def generate(self, prompts, decoding, on_done=None, on_text=None):
        long = [one.dialogue for one in prompts if not self.fits(one, decoding.max_new_tokens)]
        if long:
            raise DataError([Problem("too many words", one.location, "say less") for one in long])
        self.calls.append(len(prompts))
        self.prompts += prompts
        found = []
        for number, prompt in enumerate(prompts):
            found.append([])
            for branch, role in enumerate(prompt.roles):
                text = self.text(prompt, role)
                if on_text:
                    on_text(number, branch, text)
                found[-1].append(Generation(text, len(text.split()), "stop", -0.5, -1.0, 2.0))
            if on_done:
                on_done(1)
        return found

    @staticmethod
    def spans(prompt, role):
        told = []
        for first, last in SPAN.findall(prompt.prefix[1].text):
            first, last = int(first), int(last or first)
            if told and first <= told[-1][1] + 1:  # chunks overlap
                told[-1][1] = max(told[-1][1], last)
            else:
                told.append([first, last])
        return " ".join([role, *(f"t{a}-t{b}" if a < b else f"t{a}" for a, b in told)])

    def shown(self, role):
        """How often each turn itself, not a text that tells of it, was shown for a role."""
        turns = [turn for one in self.prompts if role in one.roles for turn in one.dialogue.turns]
        return Counter(int(n) for turn in turns if turn.speaker in "AB" for n in re.findall(r"\bt(\d+)\b", turn.text))


def words(segments):
    return " ".join(segment.text for segment in segments).split()


def meeting(turns=40, name="long", speakers="AB", size=3):
    """Turns of `size` words after the speaker's label, the first of which is t0, t1, …"""
    said = [Turn(speakers[n % len(speakers)], f"t{n}" + " word" * (size - 1)) for n in range(turns)]
    return Dialogue(name, tuple(said), roles={"A": "user", "B": "agent"})


def run(dialogues, engine, long_dialogues, roles=("overall",), **more):
    return summarize(dialogues, engine, roles, Decoding(max_new_tokens=NEW), long_dialogues=long_dialogues, **more)


@pytest.mark.parametrize("long_dialogues", ["map-reduce", "refine"])
def test_every_turn_is_read_in_order_and_the_coverage_says_so(long_dialogues):
    engine = Spans()
    summary = run([meeting()], engine, long_dialogues)[0][0]
    assert summary.text == "overall t0-t39"
    shown = engine.shown("overall")
    assert sorted(shown) == list(range(40)) and set(shown.values()) == {1, 2}  # the last turns of a chunk stand twice
    assert summary.coverage == Coverage(long_dialogues, turns=40, read=40, chunks=summary.coverage.chunks)
    assert summary.coverage.chunks == (4 if long_dialogues == "map-reduce" else 5)
    assert (summary.dialogue_id, summary.role, summary.finish_reason) == ("long", "overall", "stop")
    assert (summary.mean_logprob, summary.lowest_logprob) == (-0.5, -1.0)


def test_map_reduce_reads_all_chunks_in_one_call_and_its_seconds_are_those_of_its_rounds():
    engine = Spans()
    summaries = run([meeting(name="a"), meeting(30, name="b")], engine, "map-reduce", ("overall", "user"))
    assert engine.calls == [0, 9, 4]  # none that fits; 5 and 4 chunks, each for both roles; a prompt for each summary
    assert [one.seconds for of_dialogue in summaries for one in of_dialogue] == [4.0] * 4


def test_the_roles_share_a_prompt_as_long_as_they_are_shown_the_same():
    engine = Spans()
    run([meeting()], engine, "refine", ("overall", "user"))
    assert [one.roles for one in engine.prompts[:3]] == [("overall", "user"), ("overall",), ("user",)]


def test_a_chunk_begins_with_the_last_two_turns_of_the_one_before_unless_they_are_long():
    def fits(chunk):
        return len(chunk) <= 16

    said = turn_spans(meeting(60))
    chunks = split_into_chunks(said, fits, overlapping=True)
    assert len(chunks) == 5 and all(map(fits, chunks))
    for before, chunk in pairwise(chunks):
        assert [span.index for span in chunk[:2]] == [span.index for span in before[-2:]]
        assert [span.is_repeated for span in chunk] == [True, True] + [False] * (len(chunk) - 2)
    assert tuple(span for chunk in chunks for span in new_spans(chunk)) == said
    long = [
        replace(span, turn=Turn("A", "word " * 40)) if span.index in (11, 12, 13, 23, 35, 47) else span for span in said
    ]
    chunks = split_into_chunks(tuple(long), fits, overlapping=True)
    assert tuple(span for chunk in chunks for span in new_spans(chunk)) == tuple(long)
    assert not any(span.is_repeated and len(span.turn.text) > 100 for chunk in chunks for span in chunk)
    first, rest = next_chunk(said[16:], fits, last_turns(said[:16]))
    assert [span.index for span in first[:3]] == [14, 15, 16] and first[2:] + rest == said[16:]


@pytest.mark.parametrize(("long_dialogues", "parts"), [("map-reduce", 4), ("refine", 5)])
def test_parts_are_told_as_they_are_read(long_dialogues, parts):
    told = []
    run([meeting(), meeting(2, name="short")], Spans(), long_dialogues, on_part=lambda *one: told.append(one))
    assert [done for done, _ in told] == list(range(1, parts + 1))
    totals = [total for _, total in told]
    assert totals[-1] == parts and totals == sorted(totals) and totals[0] >= 4
    told.clear()
    run([meeting(2, name="short")], Spans(), long_dialogues, on_part=lambda *one: told.append(one))
    assert told == []  # it has no parts


@pytest.mark.parametrize("long_dialogues", ["map-reduce", "refine"])
def test_lists_of_parts_are_merged_without_the_model(long_dialogues):
    lists = iter(
        ["- Ben sends the list.\n- none", "none", "1. Ben sends the price list.\n2. Anna pays 40.", "None."] * 2
    )
    engine = Spans(text=lambda prompt, role: Spans.spans(prompt, role) if role == "recap" else next(lists))
    sections = load_sections("meeting-recap")
    engine.layout = PromptLayout(ChatFormat(), sections=sections)
    engine.limit = 110
    names = ("recap", "action-items")
    recap, items = run([meeting(60)], engine, long_dialogues, names)[0]
    assert recap.text == "recap t0-t59" and recap.coverage.strategy == long_dialogues
    assert items.text == "Ben sends the price list.\nAnna pays 40."
    assert items.coverage.strategy == "map-reduce" and items.coverage.chunks >= 3 and items.coverage.read == 60
    asked = [role for one in engine.prompts for role in one.roles].count("action-items")
    assert asked == items.coverage.chunks  # the lists are not summarized again


def test_chunks_are_of_like_size():
    engine = Spans()
    run([meeting(41)], engine, "map-reduce")
    sizes = [len(one.dialogue.turns) for one in engine.prompts[:-1]]
    assert len(sizes) == 4 and max(sizes) - min(sizes) <= 1


def test_chunks_are_of_like_size_where_the_model_counts_otherwise_than_by_characters():
    pieces = turn_spans(meeting(100))

    def tokens(chunk):
        return sum(3 if 40 <= piece.index < 60 else 2 for piece in chunk)

    sizes = [tokens(chunk) for chunk in split_into_chunks(pieces, lambda chunk: tokens(chunk) <= 50)]
    assert sum(sizes) == 220 and len(sizes) == 5
    assert min(sizes) >= 40


def test_summaries_that_do_not_fit_together_are_joined_in_several_rounds():
    engine = Spans(limit=52)
    summary = run([meeting(200)], engine, "map-reduce")[0][0]
    assert summary.text == "overall t0-t199"
    assert len(engine.calls) >= 4
    assert sorted(engine.shown("overall")) == list(range(200))


def test_dialogues_that_fit_are_as_summarize_makes_them_and_all_come_in_input_order():
    short = [meeting(3, name=f"short-{n}") for n in range(3)]
    engine = Spans()
    summaries = run([short[0], meeting(), short[1], meeting(name="longer"), short[2]], engine, "map-reduce")
    assert [of_dialogue[0].dialogue_id for of_dialogue in summaries] == [
        "short-0",
        "long",
        "short-1",
        "longer",
        "short-2",
    ]
    assert engine.calls[0] == 3
    assert [summaries[n] for n in (0, 2, 4)] == summarize(short, Spans(), ["overall"], Decoding(max_new_tokens=NEW))
    assert [of_dialogue[0].coverage is None for of_dialogue in summaries] == [True, False, True, False, True]


@pytest.mark.parametrize("long_dialogues", ["map-reduce", "refine"])
def test_a_role_is_summarized_from_the_chunks_in_which_it_is_heard_and_the_others_do_not_count_as_read(long_dialogues):
    said = tuple(Turn("A" if n < 12 else "B", f"t{n} word word") for n in range(40))
    engine = Spans()
    dialogue = Dialogue("d", said, roles={"A": "user", "B": "agent"})
    user, overall = run([dialogue], engine, long_dialogues, ("user", "overall"))[0]
    assert overall.text == "overall t0-t39" and overall.coverage.read == 40
    assert 12 <= user.coverage.read <= 20 and user.coverage.chunks == 2
    assert user.text == f"user t0-t{user.coverage.read - 1}"
    assert set(engine.shown("user")) == set(range(user.coverage.read))


@pytest.mark.parametrize("long_dialogues", ["map-reduce", "refine"])
def test_the_last_prompt_has_the_layout_and_the_instruction_of_any_other_and_names_the_speakers(long_dialogues):
    engine = Spans()
    run([meeting()], engine, long_dialogues, ("user",))
    last, first = engine.prompts[-1], engine.prompts[0]
    assert last.branches == (engine.layout.branch(meeting(), "user"),)
    assert "(A)" in last.branches[0][0].text
    assert [segment.kind for segment in last.prefix] == [segment.kind for segment in first.prefix]
    labels = [turn.speaker for turn in last.dialogue.turns if turn.speaker not in "AB"]
    if long_dialogues == "refine":
        assert labels == ["Summary of the dialogue so far"]
    else:
        assert labels == [f"Summary of part {n} of 5" for n in range(1, 6)]


def test_the_labels_are_in_the_language_of_the_instructions():
    assert instruction_set("zh").part_label(1, 3) == "第1部分摘要（共3部分）"
    old = instruction_set("zh").model_copy(
        update={"part": None, "so_far": None, "name": "saved before there were labels"}
    )
    assert (old.part_label(1, 3), old.so_far_label()) == ("第1部分摘要（共3部分）", "前文摘要")


@pytest.mark.parametrize("long_dialogues", ["map-reduce", "refine"])
def test_a_turn_that_does_not_fit_is_cut_at_sentences_and_nothing_of_it_is_lost(long_dialogues):
    sentences = [f"Then t{n} came by." for n in range(3, 40)]
    said = (
        Turn("A", "t0 hi"),
        Turn("B", "t1 yes"),
        Turn("A", "t2 so"),
        Turn("B", " ".join(sentences)),
        Turn("A", "t40"),
    )
    engine = Spans()
    summary = run([Dialogue("d", tuple(said))], engine, long_dialogues)[0][0]
    assert summary.text == "overall t0-t40"
    assert engine.shown("overall") == dict.fromkeys(range(41), 1)
    assert (summary.coverage.turns, summary.coverage.read) == (5, 5)
    parts = [turn.text for one in engine.prompts for turn in one.dialogue.turns if turn.speaker == "B"]
    assert all(part.endswith(".") for part in parts[1:])


def test_a_text_without_sentences_or_words_is_cut_all_the_same():
    pieces = turn_spans(Dialogue("d", (Turn("客", "话" * 50), Turn("客", "完"))))
    chunks = split_into_chunks(pieces, lambda chunk: sum(len(piece.turn.text) for piece in chunk) <= 12)
    assert "".join(piece.turn.text for chunk in chunks for piece in chunk) == "话" * 50 + "完"
    assert [piece.index for chunk in chunks for piece in chunk] == [0] * 5 + [1]


def test_the_next_chunk_leaves_no_crumb_for_the_last_one():
    pieces = turn_spans(meeting(21))
    sizes = []
    while pieces:
        chunk, pieces = next_chunk(pieces, lambda chunk: len(chunk) <= 10)
        sizes.append(len(chunk))
    assert sizes == [7, 7, 7]


def test_refuse_names_every_dialogue_that_does_not_fit_and_the_other_ways():
    engine = Spans()
    with pytest.raises(DataError) as caught:
        run([meeting(name="a"), meeting(2, name="b"), meeting(name="c")], engine, "refuse")
    assert [problem.where for problem in caught.value.problems] == ["dialogue a", "dialogue c"]
    for problem in caught.value.problems:
        assert problem.what == "too many words"
        assert problem.fix == "add --long-dialogues drop-middle, map-reduce or refine; or say less"
    assert engine.calls == []


def test_drop_middle_shows_the_first_and_the_last_turns_and_counts_them():
    engine = Spans()
    short, long = run([meeting(3, name="short"), meeting()], engine, "drop-middle")
    assert short[0].coverage is None
    assert long[0].text == "overall t0-t5 t34-t39"
    assert long[0].coverage == Coverage("drop-middle", turns=40, read=12, chunks=1)
    assert engine.calls == [2]


def test_drop_middle_refuses_where_nobody_of_the_role_is_left():
    said = tuple(Turn("A" if n == 20 else "B", f"t{n} word word") for n in range(40))
    dialogue = Dialogue("d", said, roles={"A": "user", "B": "agent"})
    with pytest.raises(DataError, match=r"dialogue d: without \d+ turns .* user speaks\n.*map-reduce"):
        run([dialogue], Spans(), "drop-middle", ("overall", "user"))
    assert run([dialogue], Spans(), "map-reduce", ("user",))[0][0].text.startswith("user t")


@pytest.mark.parametrize("long_dialogues", ["drop-middle", "map-reduce", "refine"])
def test_a_model_too_small_for_anything_is_told_for_all_dialogues_before_any_work(long_dialogues):
    engine = Spans(limit=12)
    with pytest.raises(DataError) as caught:
        run([meeting(name="a"), meeting(name="b")], engine, long_dialogues)
    assert [problem.where for problem in caught.value.problems] == ["dialogue a", "dialogue b"]
    assert engine.calls == []


@pytest.mark.parametrize("long_dialogues", ["map-reduce", "refine"])
def test_a_model_too_small_for_the_summaries_on_the_way_is_told_and_does_not_go_on_for_ever(long_dialogues):
    engine = Spans(limit=32, text=lambda prompt, role: " ".join(["word"] * 20))
    with pytest.raises(DataError, match=r"dialogue long: no (two summaries|turn fits)"):
        run([meeting()], engine, long_dialogues)


def test_a_chunk_of_which_nothing_is_written_leaves_no_empty_part():
    def silent_in_the_middle(prompt, role):
        return "" if "t20" in prompt.prefix[1].text.split() else Spans.spans(prompt, role)

    engine = Spans(text=silent_in_the_middle)
    summary = run([meeting()], engine, "map-reduce")[0][0]
    assert summary.text == "overall t0-t19 t28-t39" and summary.coverage.read == 40
    summary = run([meeting()], Spans(text=silent_in_the_middle), "refine")[0][0]
    assert re.fullmatch(r"overall t0-t\d+ t\d+-t39", summary.text)


@pytest.mark.parametrize("long_dialogues", ["map-reduce", "refine"])
def test_a_model_that_writes_nothing_gives_an_empty_summary(long_dialogues):
    summary = run([meeting()], Spans(text=lambda prompt, role: " "), long_dialogues)[0][0]
    assert (summary.text.strip(), summary.coverage.chunks) == ("", 4)


@pytest.mark.parametrize("long_dialogues", ["refuse", "drop-middle", "map-reduce", "refine"])
def test_only_last_texts_are_told_as_they_grow_with_the_places_of_the_input(long_dialogues):
    told, done = [], []
    dialogues = [meeting(2, name="a"), meeting(30 if long_dialogues != "refuse" else 2), meeting(2, name="b")]
    found = run(
        dialogues,
        Spans(),
        long_dialogues,
        ("overall", "user"),
        on_text=lambda *one: told.append(one),
        on_done=done.append,
    )
    expected = [(n, k, one.text) for n, of_dialogue in enumerate(found) for k, one in enumerate(of_dialogue)]
    assert sorted(told) == expected
    assert sum(done) == 3


@pytest.mark.parametrize("long_dialogues", ["map-reduce", "refine"])
def test_with_samples_each_text_is_chosen_by_what_it_is_about(long_dialogues):
    asked = []

    def choose(dialogue, role, texts):
        asked.append((len(texts), len(dialogue.turns)))
        return 1

    engine = Spans()
    decoding = Decoding(max_new_tokens=NEW, temperature=0.7)
    found = summarize(
        [meeting()], engine, ["overall"], decoding, long_dialogues=long_dialogues, samples=3, reranker=choose
    )[0]  # fmt: skip
    assert found[0].text == "overall t0-t39"
    assert {count for count, _ in asked} == {3}
    assert asked[0][1] < 40 and asked[-1][1] == 40
    with pytest.raises(UsageError, match="temperature"):
        run([meeting()], Spans(), long_dialogues, samples=3, reranker=choose)


def test_an_unknown_strategy_is_a_usage_error_with_a_hint():
    with pytest.raises(UsageError, match='did you mean "map-reduce"'):
        run([meeting()], Spans(), "map-redcue")


def test_a_real_model_reads_a_dialogue_that_it_could_not_take_at_once():
    from helpers.tiny import model_dir
    from rolesum.generation.engines.transformers import TransformersEngine
    from rolesum.models.loading import load_model

    loaded = load_model(model_dir("llama"), device="cpu", dtype="float32")
    engine = TransformersEngine(loaded)
    dialogue = max(read_dialogues("sample:en-test"), key=lambda one: len(one.turns))
    loaded.max_length = 300  # tokens
    with pytest.raises(DataError, match=r"takes 300\n.*--long-dialogues drop-middle, map-reduce or refine"):
        run([dialogue], engine, "refuse")
    for long_dialogues in ("drop-middle", "map-reduce", "refine"):
        for summary in run([dialogue], engine, long_dialogues, ("overall", "user", "agent"))[0]:
            assert summary.text and summary.coverage.strategy == long_dialogues
            assert summary.coverage.turns == len(dialogue.turns)
            assert (summary.coverage.read < len(dialogue.turns)) == (long_dialogues == "drop-middle")
