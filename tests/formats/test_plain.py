import pytest

from rolesum.dialogue import Turn
from rolesum.errors import DataError, Problem
from rolesum.formats import ReadOptions, Source, parse_dialogues, sniff_format
from rolesum.formats.speech_text import parse_speech


def only(text, name="chat.txt"):
    (dialogue,) = parse_dialogues(Source(name, text), ReadOptions(format="plain"))
    return dialogue


def test_a_file_is_one_dialogue_named_after_the_file():
    dialogue = only("Customer: hello\nTom: hi", name="chats/monday.txt")
    assert dialogue.id == "monday"
    assert dialogue.turns == (Turn("Customer", "hello"), Turn("Tom", "hi"))
    assert dialogue.roles == {"Customer": "user"}


def test_latin_and_full_width_colons_both_end_a_label():
    dialogue = only("用户：我的订单呢？\n客服: 正在查：请稍等")
    assert dialogue.turns == (Turn("用户", "我的订单呢？"), Turn("客服", "正在查：请稍等"))
    assert dialogue.roles == {"用户": "user", "客服": "agent"}
    assert dialogue.language == "zh"


def test_spaces_around_label_and_text_are_dropped():
    assert only("  Anna  :   hi  \n").turns == (Turn("Anna", "hi"),)


def test_a_line_without_a_label_goes_on_with_the_turn_before_it():
    assert only("Anna: first\nand more\n\nTom: hi").turns == (Turn("Anna", "first and more"), Turn("Tom", "hi"))


def test_a_text_that_follows_an_empty_label_belongs_to_it():
    assert only("Anna:\n  hello\nTom: hi").turns == (Turn("Anna", "hello"), Turn("Tom", "hi"))


def test_blank_turns_are_dropped():
    assert only("Anna: hi\nTom:\nTom:   \nAnna: bye").turns == (Turn("Anna", "hi"), Turn("Anna", "bye"))


@pytest.mark.parametrize("line", ["https://example.org/a", "10:30 it is", "12.5: 3"])
def test_clock_times_and_addresses_are_no_speakers(line):
    assert only(f"Anna: see\n{line}").turns == (Turn("Anna", f"see {line}"),)


def test_only_the_first_colon_ends_the_label():
    assert only("Anna: at 10:30, see https://example.org").turns == (Turn("Anna", "at 10:30, see https://example.org"),)


def test_every_line_before_the_first_speaker_is_a_problem_with_its_line():
    problems = list(parse_dialogues(Source("chat.txt", "A note.\n\nAnother.\nAnna: hi"), ReadOptions(format="plain")))
    assert [problem.where for problem in problems] == ["chat.txt:1", "chat.txt:3"]


def test_a_text_without_any_speaker_is_a_problem():
    items = list(parse_dialogues(Source("chat.txt", "10:30 hello\n10:31 hi"), ReadOptions(format="plain")))
    assert all(isinstance(item, Problem) for item in items)
    assert {item.where for item in items} == {"chat.txt:1", "chat.txt:2", "chat.txt"}


def test_a_clock_time_in_brackets_is_never_part_of_a_speakers_label():
    source = Source("chat.txt", "[10:30] Anna: hi\n[10:31] Tom: hello")
    items = list(parse_dialogues(source, ReadOptions(format="plain")))
    assert all(isinstance(item, Problem) or item.speakers() == ("Anna", "Tom") for item in items)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_parts_turns(end):
    speech = parse_speech(f"Anna: hi{end}{end}Tom: yo{end}")
    assert (speech.turns, speech.stray) == ([Turn("Anna", "hi"), Turn("Tom", "yo")], [])


def test_a_line_of_a_time_and_a_sentence_is_no_head():
    text = "22:00 Nadia added Tom to the group.\n22:01 Nadia My parcel has not come.\n22:02 Tom I will look."
    with pytest.raises(DataError, match="no known format"):
        sniff_format(Source("x.txt", text))
