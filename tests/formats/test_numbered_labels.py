"""Numbers in labels: an extension, a line's number, a time, or what somebody says."""

import pytest

from rolesum.formats import ReadOptions, Source, read_dialogues
from rolesum.formats.labels import Kind, label_kind
from rolesum.formats.speech_text import parse_speech


def said(*lines):
    found = parse_speech("\n".join(lines))
    assert found.stray == []
    return [(turn.speaker, turn.text) for turn in found.turns]


def whole(*lines):
    return [tuple(line.split(": ", 1)) for line in lines]


@pytest.mark.parametrize(
    "lines",
    [
        ("Nadia 2203: hello", "Tom 1180: hi"),
        ("Customer: hello", "Nadia 2203: hi"),
        ("Nadia 2203: hello", "Customer: hi", "Nadia 2203: so", "Customer: ok"),
        ("Customer: hi", "Nadia 2203: yes", "Customer: x", "Nadia 2203: y", "Peter 1180: I take over", "Customer: ok"),
        ("Customer: hi", "Bot: hello", "Customer: x", "Bot: y", "Customer: help", "Nadia 2203: hello", "Customer: ok"),
        ("Anna: hi", "Tom: yo", "Speaker 3: so", "Anna: ok", "Agent 2203: yes", "Tom: bye"),
        ("Room 2203: towels please", "Reception: sure", "Room 2203: thanks"),
        ("Reception: hello", "Room 2203: towels please"),
        ("客服 2203: 您好", "小王 1180: 你好", "客服 2203: 好", "小王 1180: 谢谢"),
        ("Anna: hi", "Nadia B. 2203: so", "Anna: yes", "Nadia B. 2203: ok"),
    ],
)
def test_a_name_with_a_number_that_repeats_or_takes_turns_is_a_speaker(lines):
    assert said(*lines) == whole(*lines)


@pytest.mark.parametrize(
    "line",
    [
        *("Room 2203: is booked", "room 2203: is booked", "Gate B12: now", "Our flight LH400: late", "Zimmer 12: frei"),
        *(
            "Windows 11: slow",
            "Falcon 9: it flew",
            "房间2203：已订",
            "at 10:30 I think",
            "Step 2: reboot",
            "Chambre 3: prise",
        ),
    ],
)
def test_a_thing_with_its_number_between_two_speakers_is_speech(line):
    lines = ["Anna: hello", line, "Tom: hi", "Anna: good", "Tom: bye"]
    assert said(*lines) == [("Anna", f"hello {line}"), *whole(*lines[2:])]


def test_a_room_is_speech_in_a_talk_in_which_nobody_stands_twice():
    assert said("Anna: hello", "Room 2203: is booked", "Tom: hi") == [
        ("Anna", "hello Room 2203: is booked"),
        ("Tom", "hi"),
    ]


def test_steps_in_a_row_are_speech():
    lines = ["Anna: how?", "Step 1: switch off", "Step 2: wait", "Room 5: there", "Gate 6: too", "Tom: ok", "Anna: x"]
    assert said(*lines, "Tom: y")[:2] == [("Anna", " ".join(["how?", *lines[1:5]])), ("Tom", "ok")]


def test_four_digits_that_change_with_each_turn_are_its_time():
    found = parse_speech("Anna 0915: hi\nTom 0916: yo\nAnna 0930: so\nTom 1001: bye").turns
    assert [(turn.speaker, turn.time) for turn in found] == [
        ("Anna", "0915"),
        ("Tom", "0916"),
        ("Anna", "0930"),
        ("Tom", "1001"),
    ]
    same = ["Anna 0915: hi", "Tom 0916: yo", "Anna 0915: so", "Tom 0916: bye"]
    assert said(*same) == whole(*same)
    numbered = ["Speaker 1001: hi", "Speaker 1002: yo", "Speaker 1003: so", "Speaker 1004: bye"]
    assert said(*numbered) == whole(*numbered)


@pytest.mark.parametrize(("name", "kind"), [("Page", Kind.NAME), ("Page 12", Kind.DOUBTFUL), ("Nadia 12", Kind.NAME)])
def test_a_word_for_a_thing_needs_its_number(name, kind):
    assert label_kind(name) is kind


@pytest.mark.parametrize("form", ["plain", "samsum", "csv", "srt"])
def test_every_reader_that_knows_labels_by_their_words_follows_the_rule(form):
    lines = ["Nadia 2203: hello", "Room 12: is free", "Tom: hi", "Nadia 2203: so", "Tom: ok"]
    cues = enumerate(["\n".join(lines[:2]), *lines[2:]], 1)
    text = {
        "plain": "\n".join(lines),
        "samsum": '{"id": "1", "dialogue": "' + "\\n".join(lines) + '"}',
        "csv": 'id,dialogue\n1,"' + "\n".join(lines) + '"\n',
        "srt": "".join(f"{at}\n00:00:0{at},000 --> 00:00:0{at},500\n{one}\n\n" for at, one in cues),
    }
    (dialogue,) = read_dialogues(Source("x", text[form]), ReadOptions(format=form))
    assert [(turn.speaker, turn.text) for turn in dialogue.turns] == [
        ("Nadia 2203", "hello Room 12: is free"),
        *whole(*lines[2:]),
    ]
