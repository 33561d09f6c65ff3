"""What holds for every text: no label has a clock or is a sentence, no word of speech is lost, and time is linear."""

import json
import re
import string
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.linear_time import assert_linear
from rolesum.dialogue import Dialogue
from rolesum.errors import RolesumError
from rolesum.formats import ReadOptions, Source, parse_dialogues
from rolesum.formats.clock import MARKS, has_clock
from rolesum.formats.labels import MAX_LENGTH, Kind, label_kind, title_kind
from rolesum.formats.speech_lines import parse_speech_line
from rolesum.formats.speech_text import parse_speech
from rolesum.formats.turns import join_speech

NAMES = ["Anna", "Tom Field", "SPEAKER_00", "Speaker 2", "Customer", "the tour operator", "小王", "Спикер №1", "سارة"]
CLOCKS = [
    "10:30",
    "0:03",
    "1:00:03",
    "10:01:05 PM",
    "2023-03-12T22:01:05Z",
    "12.03.23, 22:01",
    "下午10:02",
    "00:00:03.120",
]
SHAPES = [
    *("{name}: {text}", "[{time}] {name}: {text}", "{time} {name}: {text}", "{time} - {name}: {text}"),
    *("{name} [{time}]: {text}", "{name} ({time}): {text}", "{name} ({time}):\n{text}", "{name}  {time}\n{text}"),
    *("[{time}] {name}\n{text}", "[{name}] [{time}] {text}", "{time}\t{name}\t{text}"),
]
# How the other formats write a turn, which they must read back: reader, head of the file, and the turn, of which `{at}`
# is the number. The name is a field of its own in all but the captions that begin with a label.
FRAMES = {
    "zoom transcript": ("zoom", "", "[{name}] 10:02:{at:02}\n{text}\n"),
    "zoom chat": ("zoom", "", "10:02:{at:02} From {name} to Everyone:\n\t{text}\n"),
    "older zoom chat": ("zoom", "", "10:02:{at:02} From  {name} : {text}\n"),
    "chat of a zoom recording": ("zoom", "", "10:02:{at:02}\t{name}:\t{text}\n"),
    "whatsapp on android": ("whatsapp", "", "12/03/2023, 22:{at:02} - {name}: {text}\n"),
    "whatsapp on ios": ("whatsapp", "", "[12/03/2023, 22:01:{at:02}] {name}: {text}\n"),
    "voices": ("vtt", "WEBVTT\n\n", "00:{at:02}.000 --> 00:{at:02}.500\n<v {name}>{text}</v>\n\n"),
    "vtt": ("vtt", "WEBVTT\n\n", "00:{at:02}.000 --> 00:{at:02}.500\n{name}: {text}\n\n"),
    "srt": ("srt", "", "{at}\n00:00:{at:02},000 --> 00:00:{at:02},500\n{name}: {text}\n\n"),
    "sbv": ("sbv", "", "0:00:{at:02}.000,0:00:{at:02}.500\n{name}: {text}\n\n"),
}
GUESSED = ("plain", "samsum", "dialogsum", "csv", "vtt", "srt", "sbv")  # readers that know a name by its words
CUES = {"vtt": FRAMES["vtt"], "srt": FRAMES["srt"], "sbv": FRAMES["sbv"]}
LONGEST = {"vtt": 150, "srt": 150, "sbv": 150, "zoom": 80}  # characters of a label, if more than MAX_LENGTH
# Tags of one or two letters and times are markup of captions; "<really>" is speech.
MARKUP = re.compile(r"</?\w{1,2}(?:[.\s][^<>]*)?/?>|</[^<>]*>|<[\d:.]+>|\{\\[^{}]*\}")
SENTENCES = [
    *("yes", "thanks a lot", "at 10:30 I think", "see you 9:15: do not be late", "where is it?", "I will look it up."),
    *("I have one question: where is it?", "Note: bring papers", "gate 3:1 or 3:2", "so sad :(", "5 minutes, maybe 10"),
    *("https://example.org/a:b", "my address: 12 High Street", "我的地址是：北京", "(laughs)", "- one", "12:30"),
    *("[10:30] is when it starts", "that's it; nothing more...", "订单号：4711", 'say "no": it helps'),
    *("10:30 From what I know: it opens", "I <really> mean it", "(where is it?) or so"),
    "12/03/2023, 10:30: I was there",
]
PIECES = [
    *NAMES,
    *CLOCKS,
    *SENTENCES,
    ":",
    "：",
    " ",
    "  ",
    "\n",
    "\n\n",
    "[",
    "]",
    "(",
    ")",
    "-",
    "\t",
    "\u200e",
    "<",
    ">",
]

speech = st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=3)
conversations = st.lists(st.tuples(st.integers(0, 2), speech), min_size=1, max_size=5).filter(
    lambda turns: max(Counter(line for _, lines in turns for line in lines).values()) < 2  # a label may stand twice
)
jumbles = st.lists(st.one_of(st.sampled_from(PIECES), st.text(string.printable, max_size=5)), max_size=30).map("".join)


def words(text):
    return re.findall(r"\w+", MARKS.sub("", text))


def is_label(speaker, longest=MAX_LENGTH):
    return bool(speaker) and len(speaker) <= longest and not has_clock(speaker) and "\n" not in speaker


def framed(frame, turns):
    """The text of turns, as (name, text), in a frame."""
    _, head, turn = frame
    return head + "".join(turn.format(at=min(at, 59), name=name, text=text) for at, (name, text) in enumerate(turns))


def captions(form, texts):
    """The text of captions whose cues have these texts."""
    reader, head, turn = CUES[form]
    return framed((reader, head, turn.replace("{name}: ", "")), [("", text) for text in texts])


def read(form, text):
    options = ReadOptions(format=form, unknown_speaker="name=Somebody")
    return list(parse_dialogues(Source("x.txt", text), options))


@settings(max_examples=150, deadline=None, derandomize=True)
@example("/my address: 12 High Street")
@given(jumbles)
def test_no_reader_makes_a_label_with_a_clock_or_of_a_sentence(text):
    sources = {
        "plain": Source("x.txt", text),
        "samsum": Source("x.json", json.dumps([{"id": "1", "dialogue": text}])),
        "dialogsum": Source("x.json", json.dumps([{"fname": "1", "dialogue": text}])),
        "csv": Source("x.csv", 'id,dialogue\n1,"' + text.replace('"', '""') + '"\n'),
        "zoom": Source("x.txt", text),
        "whatsapp": Source("x.txt", text),
        **{form: Source("x.txt", captions(form, text.split("\n"))) for form in CUES},
    }
    for form, source in sources.items():
        kind = title_kind if form in CUES else label_kind
        for item in parse_dialogues(source, ReadOptions(format=form, unknown_speaker="name=Somebody")):
            for label in item.speakers() if isinstance(item, Dialogue) else ():
                assert is_label(label, LONGEST.get(form, MAX_LENGTH)), (form, label)
                assert form not in GUESSED or kind(label) is not Kind.SENTENCE, (form, label)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(jumbles)
def test_what_stands_where_a_format_has_the_name_is_a_label_or_refused(text):
    names = text.split("\n")
    for frame in FRAMES.values():
        for item in read(frame[0], framed(frame, [(name, "hi") for name in names])):
            for label in item.speakers() if isinstance(item, Dialogue) else ():
                assert is_label(label, LONGEST.get(frame[0], MAX_LENGTH)), (frame, label)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(jumbles)
def test_every_word_of_a_text_is_in_a_turn_or_refused_or_counted(text):
    found = parse_speech(text)
    if found.stray or found.dropped:
        return
    kept = [word for turn in found.turns for part in (turn.speaker, turn.time, turn.text) for word in words(part)]
    lines = re.split(r"\r\n|\r|\n", text)
    empty = [line for line in lines if (parsed := parse_speech_line(line)) and not parsed.text]
    lost = {word for line in lines for word in words(line)} - set(kept)
    assert lost <= {word for line in empty for word in words(line)}  # a label that nothing follows, a time over no turn


@settings(max_examples=60, deadline=None, derandomize=True)
@given(jumbles)
def test_every_word_of_a_message_or_cue_is_in_a_turn_or_refused_or_counted(text):
    turns = [(name, said) for said in text.split("\n\n") for name in NAMES[:2]]
    lines = [parsed for line in text.split("\n") if (parsed := parse_speech_line(line))]
    # a label that nothing follows, and a clock beside one where the format has times of its own
    beside = [*(one.speaker for one in lines if not words(one.text)), *(one.time for one in lines)]
    said = set(words(MARKUP.sub("", text))) - {word for part in beside for word in words(part)}
    for frame in FRAMES.values():
        items = read(frame[0], framed(frame, turns))
        if all(isinstance(item, Dialogue) and not item.meta.get("dropped") for item in items):
            parts = [part for item in items for turn in item.turns for part in (turn.speaker, turn.time, turn.text)]
            assert said <= {word for part in parts for word in words(part)}, frame


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(FRAMES)), st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join))
def test_what_repeats_is_read_in_time_linear_in_its_length(shape, text):
    def in_frames(count):
        return [framed(FRAMES[shape], [("Anna", text * count)]), framed(FRAMES[shape], [("Anna", text)] * count)]

    def work(texts):
        for one in texts:
            with suppress(RolesumError):
                read(FRAMES[shape][0], one)

    assert_linear(work, in_frames, 800)


def spoken_by(names, conversation):
    """Turns in which every speaker is heard twice: a name that stands once may be a line of speech."""
    turns = [(names[0], ["hello"]), (names[1], ["hi"])] + [(names[place], lines) for place, lines in conversation]
    return turns + [(name, ["bye"]) for name in names[:2]] + [(names[2], ["so long"]), (names[2], ["bye"])]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(NAMES), min_size=3, max_size=3, unique=True),
    st.sampled_from(SHAPES),
    conversations,
    st.data(),
)
def test_a_conversation_in_any_shape_is_read_back_word_for_word(names, shape, conversation, data):
    turns = spoken_by(names, conversation)
    clock = data.draw(st.sampled_from(CLOCKS))
    text = "\n\n".join(shape.format(name=name, time=clock, text="\n".join(lines)) for name, lines in turns)
    found = parse_speech(text)
    assert (found.stray, found.dropped) == ([], {})
    assert [(turn.speaker, turn.text) for turn in found.turns] == [(name, " ".join(lines)) for name, lines in turns]
    assert {turn.time for turn in found.turns} == {clock if "{time}" in shape else ""}


def merged(turns):
    """The turns, as (name, text), with consecutive ones of one speaker as one, as transcripts are read."""
    kept = []
    for name, text in turns:
        if kept and kept[-1][0] == name:
            kept[-1] = (name, join_speech([kept[-1][1], text]))
        else:
            kept.append((name, text))
    return kept


@pytest.mark.parametrize("shape", FRAMES)
@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(NAMES), min_size=3, max_size=3, unique=True), conversations)
def test_a_conversation_in_a_formats_own_frame_is_read_back_word_for_word(shape, names, conversation):
    turns = spoken_by(names, conversation)
    (item,) = read(FRAMES[shape][0], framed(FRAMES[shape], [(name, "\n".join(lines)) for name, lines in turns]))
    assert "dropped" not in item.meta
    said = merged((name, join_speech(lines)) for name, lines in turns)
    assert merged((turn.speaker, turn.text) for turn in item.turns) == said
