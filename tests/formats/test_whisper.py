import json

import pytest

from helpers.asset_files import ASSETS, said_in
from rolesum.errors import DataError, Problem
from rolesum.formats import ReadOptions, Source, open_source, parse_dialogues, read_dialogues, sniff_format

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
    with pytest.raises(DataError, match="2 of 2 turns without a speaker"):
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
    "value", [{"segments": [{"text": 5}]}, {"segments": "x"}, {"segments": [{"text": "a", "speaker": [1]}]}]
)
def test_segments_of_another_form_are_a_problem(value):
    (item,) = parse_dialogues(source(value), ReadOptions(format="whisper"))
    assert isinstance(item, Problem) and item.where == "call.json:1"


PARCEL = ["My parcel has not come.", "I will look."]


@pytest.mark.parametrize("name", ["wx_nostart", "wx_nullstart"])
def test_a_segment_without_a_time_keeps_its_place(name):
    assert said_in(f"whisper/{name}.json") == [
        ("SPEAKER_00", "My parcel has not come."),
        ("SPEAKER_01", "I will look it up."),
        ("SPEAKER_00", "4417."),
        ("SPEAKER_01", "It is at the depot."),
    ]


def test_the_segments_around_one_whose_time_is_no_number_are_sorted():
    assert [text for _, text in said_in("whisper/wx_nan.json")] == ["First.", "Second.", "Third.", "Fourth."]


@pytest.mark.parametrize(
    ("name", "speakers"),
    [
        ("whisper_cpp", ("Speaker 0", "Speaker 1")),
        ("whisperlive", ("Speaker 0", "Speaker 1")),
        ("insanely_fast", ("SPEAKER_00", "SPEAKER_01")),
        ("openai_diarized", ("A", "B")),
    ],
)
def test_the_speakers_of_other_programs_are_read(name, speakers):
    assert said_in(f"whisper/{name}.json") == list(zip(speakers, PARCEL, strict=True))


@pytest.mark.parametrize("name", ["hf_chunks", "openai_verbose"])
def test_segments_without_speakers_take_them_from_the_rule(name):
    assert said_in(f"whisper/{name}.json", "alternate=A,B") == list(zip("AB", PARCEL, strict=True))


def test_words_alone_are_the_text_as_one_turn():
    assert said_in("whisper/whisper_words_only.json", "name=A") == [("A", " ".join(PARCEL))]


def test_words_alone_that_have_speakers_are_turns():
    spoken = [
        {"word": word, "start": at, "speaker": at // 2} for at, word in enumerate(["one", "two", "three", "four"])
    ]
    for value in ({"words": spoken}, {"text": "one two three four", "words": spoken}, {"word_segments": spoken}):
        (dialogue,) = read_dialogues(source(value))
        assert [(turn.speaker, turn.text) for turn in dialogue.turns] == [
            ("Speaker 0", "one two"),
            ("Speaker 1", "three four"),
        ]


def test_chunks_of_a_word_each_are_the_text():
    chunks = [{"timestamp": [at, at + 1], "text": f" {word}"} for at, word in enumerate(["one", "two", "three"])]
    (dialogue,) = read_dialogues(
        source({"text": " one two three", "chunks": chunks}), ReadOptions(unknown_speaker="alternate=A,B")
    )
    assert [(turn.speaker, turn.text) for turn in dialogue.turns] == [("A", "one two three")]


def test_a_bare_list_of_segments_is_one_dialogue():
    assert said_in("whisper/wx_list.json") == [
        ("SPEAKER_00", "My parcel has not come."),
        ("SPEAKER_01", "I will look it up."),
    ]


@pytest.mark.parametrize("path", sorted((ASSETS / "whisper").iterdir()), ids=lambda path: path.stem)
def test_every_dialect_is_known_as_whisper(path):
    assert sniff_format(open_source(path)).name == "whisper"


def test_a_segment_without_text_is_silence_and_a_mark_of_change_is_no_word():
    found = turns(
        {"start": 0, "speaker": "A"},
        {"start": 1, "text": None, "speaker": "A"},
        {"start": 2, "text": " Hi. [SPEAKER_TURN]", "speaker": "A"},
        {"start": 3, "text": " Hello.", "speaker": "B"},
    )
    assert found == [("A", "Hi."), ("B", "Hello.")]
