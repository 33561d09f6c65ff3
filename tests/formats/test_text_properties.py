"""What holds for every text: no label has a clock or is a sentence, and no word of speech is lost."""

import json
import re
import string
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from rolesum.dialogue import Dialogue
from rolesum.formats import ReadOptions, Source, parse_dialogues
from rolesum.formats.clock import has_clock
from rolesum.formats.labels import MAX_LENGTH, Kind, label_kind
from rolesum.formats.speech_lines import parse_speech_line
from rolesum.formats.speech_text import parse_speech

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
SENTENCES = [
    *("yes", "thanks a lot", "at 10:30 I think", "see you 9:15: do not be late", "where is it?", "I will look it up."),
    *("I have one question: where is it?", "Note: bring papers", "gate 3:1 or 3:2", "so sad :(", "5 minutes, maybe 10"),
    *(
        "https://example.org/a:b",
        "my address: 12 High Street",
        "我的地址是：北京",
        "(laughs)",
    ),
    *(
        "[10:30] is when it starts",
        "that's it; nothing more...",
        "订单号：4711",
        'say "no": it helps',
        "- one",
        "12:30",
    ),
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
    return re.findall(r"\w+", text)


def is_label(speaker):
    return bool(speaker) and len(speaker) <= MAX_LENGTH and not has_clock(speaker) and "\n" not in speaker


@settings(max_examples=150, deadline=None)
@given(jumbles)
def test_no_reader_makes_a_label_with_a_clock_or_of_a_sentence(text):
    sources = {
        "plain": Source("x.txt", text),
        "samsum": Source("x.json", json.dumps([{"id": "1", "dialogue": text}])),
        "dialogsum": Source("x.json", json.dumps([{"fname": "1", "dialogue": text}])),
        "csv": Source("x.csv", 'id,dialogue\n1,"' + text.replace('"', '""') + '"\n'),
        "zoom": Source("x.txt", text),
        "whatsapp": Source("x.txt", text),
    }
    for form, source in sources.items():
        for item in parse_dialogues(source, ReadOptions(format=form, unknown_speaker="name=Somebody")):
            for label in item.speakers() if isinstance(item, Dialogue) else ():
                assert form in ("zoom", "whatsapp") or is_label(label), (form, label)
                assert form in ("zoom", "whatsapp") or label_kind(label) is not Kind.SENTENCE, (form, label)


@settings(max_examples=150, deadline=None)
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


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(NAMES), min_size=3, max_size=3, unique=True),
    st.sampled_from(SHAPES),
    conversations,
    st.data(),
)
def test_a_conversation_in_any_shape_is_read_back_word_for_word(names, shape, conversation, data):
    # every speaker is heard twice: a name that stands once may be a line of speech
    turns = [(names[0], ["hello"]), (names[1], ["hi"])] + [(names[place], lines) for place, lines in conversation]
    turns += [(name, ["bye"]) for name in names[:2]] + [(names[2], ["so long"]), (names[2], ["bye"])]
    clock = data.draw(st.sampled_from(CLOCKS))
    text = "\n\n".join(shape.format(name=name, time=clock, text="\n".join(lines)) for name, lines in turns)
    found = parse_speech(text)
    assert (found.stray, found.dropped) == ([], {})
    assert [(turn.speaker, turn.text) for turn in found.turns] == [(name, " ".join(lines)) for name, lines in turns]
    assert {turn.time for turn in found.turns} == {clock if "{time}" in shape else ""}
