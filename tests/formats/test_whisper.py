import json

import pytest

from rolesum.errors import DataError, Problem
from rolesum.formats import ReadOptions, Source, parse_dialogues, read_dialogues, sniff_format

PLAIN = {
    "text": " Hi, my router is broken. Sorry to hear.",
    "segments": [
        {"id": 0, "seek": 0, "start": 0.0, "end": 1.0, "text": " Hi, my router is broken.", "tokens": [50364]},
        {"id": 1, "seek": 0, "start": 1.0, "end": 2.0, "text": " Sorry to hear.", "tokens": [50464]},
    ],
    "language": "en",
}


def source(value):
    return Source("call.json", json.dumps(value, indent=1, ensure_ascii=False))


def words(text, *speakers):
    return [{"word": word, "speaker": who} if who else {"word": word} for word, who in zip(text, speakers, strict=True)]


def turns(*segments, rule="refuse"):
    (dialogue,) = read_dialogues(source({"segments": list(segments)}), ReadOptions(unknown_speaker=rule))
    return [(turn.speaker, turn.text) for turn in dialogue.turns]


def test_whisper_names_no_speakers_so_a_rule_is_needed():
    assert sniff_format(source(PLAIN)).name == "whisper"
    with pytest.raises(DataError, match="2 of 2 turns name no speaker"):
        read_dialogues(source(PLAIN))
    (dialogue,) = read_dialogues(source(PLAIN), ReadOptions(unknown_speaker="alternate=Customer,Agent"))
    assert [turn.speaker for turn in dialogue.turns] == ["Customer", "Agent"]


def test_segments_of_one_speaker_are_one_turn_in_the_order_of_time():
    assert turns(
        {"start": 4.0, "text": " Bye.", "speaker": "SPEAKER_01"},
        {"start": 0.0, "text": " Hi.", "speaker": "SPEAKER_00"},
        {"start": 2.0, "text": " There.", "speaker": "SPEAKER_00"},
    ) == [("SPEAKER_00", "Hi. There."), ("SPEAKER_01", "Bye.")]


def test_a_segment_whose_words_have_several_speakers_is_cut_before_each():
    text = " Is it broken? Sorry, yes."
    spoken = words(text.split(), "A", "A", None, "B", "B")
    assert turns({"text": text, "speaker": "A", "words": spoken}) == [("A", "Is it broken?"), ("B", "Sorry, yes.")]


def test_chinese_words_are_cut_without_spaces():
    assert turns({"text": "你好您好", "speaker": "A", "words": words("你好您好", *"AABB")}) == [
        ("A", "你好"),
        ("B", "您好"),
    ]


def test_words_that_are_not_those_of_the_text_leave_the_segment_whole():
    assert turns({"text": "one two", "speaker": "A", "words": words(["eins", "zwei"], "A", "B")}) == [("A", "one two")]


@pytest.mark.parametrize(
    "value", [{"segments": [{"text": 5}]}, {"segments": "x"}, {"segments": [{"text": "a", "speaker": 1}]}]
)
def test_segments_of_another_form_are_a_problem(value):
    (item,) = parse_dialogues(source(value), ReadOptions(format="whisper"))
    assert isinstance(item, Problem) and item.where == "call.json:1"
