"""The turns of a text whose lines name speakers and times: one reader for plain text and for the cells and fields of
tables, records and requests.

The whole text decides what a line is. A name that stands twice is a speaker; a clause before a colon is speech; a time
beside an unknown name is speech in a text without times, and a head in a text of heads. The lines of a program around a
transcript (title, attendees, "Transcribed by …") are dropped and counted. A line before the first speaker that is none
of these is refused by its number.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rolesum.dialogue import Turn
from rolesum.formats.export_frames import find_footer, is_field, is_frame, is_notice
from rolesum.formats.labels import Kind, label_kind
from rolesum.formats.speech_lines import SpeechLine, parse_speech_line, split_text_time
from rolesum.formats.turns import dropped_meta

# "*** Tom joined the chat ***", of which a time stands before: what a help desk writes between messages.
_STARRED = re.compile(r"(?:[\[(]?[\d:.,/\s-]{4,30}(?: ?[AaPp]\.?[Mm]\.?)?[\])]?[\s:-]*)?\*{3}\s*(\S.{0,200}?)\s*\*{3}")
_LINE_END = re.compile(r"\r\n|\r|\n")
_TOPIC_AT_LEAST = 3  # lines that a word such as "Result" must begin, and a quarter of all labels, to be a speaker
_LEADING = 2  # names that lead a talk
_MAINLY = 3  # so many times more lines with a time than without: the latter go on with a turn


@dataclass
class SpeechText:
    """The turns of a text, the numbers of the lines (from 1) of no speaker, and the counts of what was dropped."""

    turns: list[Turn] = field(default_factory=list)
    stray: list[int] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def meta(self) -> dict[str, dict[str, int]]:
        """What a dialogue's meta keeps of it."""
        return dropped_meta(self.dropped)


@dataclass(slots=True)
class _Line:
    """A line that is not blank, and what it may be."""

    number: int
    text: str
    after_blank: bool
    found: SpeechLine | None
    kind: Kind = Kind.SENTENCE

    @property
    def speaker(self) -> str:
        return self.found.speaker if self.found and self.kind is not Kind.SENTENCE else ""

    @property
    def is_head(self) -> bool:
        return bool(self.speaker) and self.found is not None and self.found.is_head

    @property
    def is_labeled(self) -> bool:
        return bool(self.speaker) and self.found is not None and not self.found.is_head

    @property
    def is_weak(self) -> bool:
        return self.found is not None and self.found.is_weak

    @property
    def is_apart(self) -> bool:
        return self.found is not None and self.found.apart

    @property
    def time(self) -> str:
        return self.found.time if self.found else ""

    @property
    def shape(self) -> str:
        return self.found.shape if self.found else ""

    @property
    def is_time(self) -> bool:
        """Whether the line is a time and nothing else."""
        return self.found is not None and not self.found.speaker


def parse_speech(text: str) -> SpeechText:
    """The turns of a text. A line that begins no turn goes on with the one before; turns without text are dropped."""
    result = SpeechText()
    lines = _lines(text)
    footer = find_footer([line.text for line in lines])
    if footer < len(lines):
        result.dropped["footer"] = len(lines) - footer
    spoken = [line for line in lines[:footer] if not _STARRED.fullmatch(line.text)]
    if len(spoken) < footer:
        result.dropped["system"] = footer - len(spoken)
    lines = _join_heads(spoken)
    begins = _heads(lines) or _labeled(lines)
    first = next((place for place, line in enumerate(lines) if line.number in begins), len(lines))
    speakers = {line.speaker for line in lines if line.number in begins}
    preamble = [line for line in lines[:first] if not (line.is_time and first < len(lines))]
    if speakers and is_frame([line.text for line in preamble], speakers):
        result.dropped["header"] = len(preamble)
    else:
        result.stray = [line.number for line in preamble]
    result.turns = _turns(lines[first:], begins, next((line.time for line in lines[:first] if line.is_time), ""))
    return result


def _lines(text: str) -> list[_Line]:
    lines: list[_Line] = []
    after_blank = True
    for number, written in enumerate(_LINE_END.split(text), 1):
        if not (line := written.strip()):
            after_blank = True
            continue
        found = parse_speech_line(written)
        kind = label_kind(found.speaker) if found and found.speaker else Kind.SENTENCE
        lines.append(_Line(number, line, after_blank, found, kind))
        after_blank = False
    return lines


def _join_heads(lines: Sequence[_Line]) -> list[_Line]:
    """The lines, where a name and a time that stand on two lines of their own, over speech, are one head.

    Teams and Otter write such heads. They are joined in texts whose lines begin with no label.
    """
    if any(line.is_labeled for line in lines) or sum(line.is_time for line in lines) == 0:
        return list(lines)
    name_first = [
        place
        for place, line in enumerate(lines[1:], 1)
        if line.is_time and not line.after_blank and lines[place - 1].after_blank and _is_name(lines[place - 1])
    ]
    time_first = [
        place
        for place, line in enumerate(lines[:-1], 1)
        if line.is_time and line.after_blank and not lines[place].after_blank and _is_name(lines[place])
    ]
    seconds = set(name_first if len(name_first) >= len(time_first) else time_first)
    joined: list[_Line] = []
    for place, line in enumerate(lines):
        if place not in seconds:
            joined.append(line)
            continue
        other = joined.pop()
        name, time = (line, other) if other.is_time else (other, line)
        found = SpeechLine(name.text, time=time.time, shape="two lines", is_head=True, apart=True)
        joined.append(_Line(other.number, name.text, True, found, label_kind(name.text)))
    return joined


def _is_name(line: _Line) -> bool:
    return line.found is None and label_kind(line.text) is Kind.NAME and not line.text.endswith(".")


def _heads(lines: Sequence[_Line]) -> set[int]:
    """The numbers of the lines that are heads, a name and a time over the speech; none in a text without heads."""
    shapes = Counter(line.shape for line in lines if line.is_head)
    if not shapes:
        return set()
    shape = shapes.most_common(1)[0][0]
    counts = Counter(line.speaker for line in lines if line.is_head)
    places = [
        place
        for place, line in enumerate(lines)
        if line.is_head and line.shape == shape and (counts[line.speaker] > 1 or _may_stand_alone(line))
    ]
    if not places:
        return set()
    spoken = sum(place + 1 < len(lines) and not lines[place + 1].is_head for place in places)
    labels = Counter(line.speaker for line in lines if line.is_labeled)
    rivals = sum(count for count in labels.values() if count > 1)
    early = any(line.is_labeled for line in lines[: places[0]])
    names = Counter(lines[place].speaker for place in places)
    apart = all(lines[place].is_apart for place in places)
    capitals = all(name[:1].isupper() for name in names)
    caseless = not any(name[:1].islower() for name in names) and all(lines[place].after_blank for place in places[1:])
    repeated = len(names) < len(places) or capitals or caseless
    trusted = apart or (len(places) > 1 and repeated and not early)
    if (
        not trusted
        or 2 * spoken < len(places)
        or rivals > len(places)
        or (early and len(places) < sum(labels.values()))
    ):
        return set()
    if len(places) > 1 and all(lines[place].after_blank for place in places[1:3]):
        places = [place for place in places if lines[place].after_blank or place == places[0]]
    return {lines[place].number for place in places}


def _may_stand_alone(line: _Line) -> bool:
    """Whether the name of a head that no other head has is one: "Nadia B.", not "Nadia added Tom to the group."."""
    last = line.speaker.split()[-1]
    return (
        line.kind is not Kind.DOUBTFUL and not is_notice(line.text) and not (last.endswith(".") and last[:1].islower())
    )


def _labeled(lines: Sequence[_Line]) -> set[int]:
    """The numbers of the lines that begin with the label of a speaker."""
    sure = {line.speaker for line in lines if line.is_labeled and not line.is_weak}
    named = [line for line in lines if line.is_labeled and line.speaker in sure]
    counts = Counter(line.speaker for line in named)
    while len(named) > 1 and not named[0].time and counts[named[0].speaker] == 1 and is_field(named[0].text):
        del named[0]
    named = _below_fields(named, counts)
    return {line.number for line in _of_speakers(named, counts)}


def _of_speakers(named: Sequence[_Line], counts: Counter[str]) -> list[_Line]:
    """The labeled lines whose label is that of a speaker."""
    leading = {line.speaker for line in named if line.kind is Kind.NAME and counts[line.speaker] > 1}
    kept = [line for line in named if _is_speaker(line, counts, len(named), 0 if line is named[0] else len(leading))]
    return _of_one_shape(kept, counts)


def speaker_places(labels: Sequence[tuple[SpeechLine, Kind]]) -> set[int]:
    """The places, among the lines of a text that may begin with a label, of those whose label is a speaker's.

    For readers that find such lines by themselves, as that of captions does: no line of a header is among them.
    """
    lines = [_Line(place, "", False, found, kind) for place, (found, kind) in enumerate(labels)]
    sure = {line.speaker for line in lines if line.is_labeled and not line.is_weak}
    named = [line for line in lines if line.is_labeled and line.speaker in sure]
    return {line.number for line in _of_speakers(named, Counter(line.speaker for line in named))}


def _below_fields(named: list[_Line], counts: Counter[str]) -> list[_Line]:
    """The labeled lines without the fields of a header, which have no time and stand above a blank line."""
    first = next((place for place, line in enumerate(named) if line.time), 0)
    above, below = named[:first], named[first:]
    is_header = (
        len(below) > 1
        and below[0].after_blank
        and all(line.time for line in below)
        and all(counts[line.speaker] == 1 for line in above)
    )
    return below if is_header else named


def _of_one_shape(lines: list[_Line], counts: Counter[str]) -> list[_Line]:
    """The labeled lines without those that differ from most: whose time stands elsewhere, or is there or not there.

    A speaker of the other lines, and one who stands twice, stay.
    """
    shape, num_usual = Counter(line.shape for line in lines).most_common(1)[0] if lines else ("", 0)
    usual = {line.speaker for line in lines if line.shape == shape}
    unknown = {line.number: line for line in lines if line.speaker not in usual and counts[line.speaker] == 1}
    untimed = [number for number, line in unknown.items() if not line.time]
    if num_usual < _MAINLY * len(untimed):  # as many speak without a time
        unknown = {number: line for number, line in unknown.items() if line.time}
    return [line for line in lines if line.number not in unknown]


def _is_speaker(line: _Line, counts: Counter[str], num_labels: int, num_leading: int) -> bool:
    """Whether a label is that of a speaker, where `num_leading` names stand more than once; 0 for the first label."""
    count = counts[line.speaker]
    if line.kind is Kind.TOPIC:
        return count >= _TOPIC_AT_LEAST and 4 * count >= num_labels
    if line.kind is Kind.PART:
        return count > 1 or num_leading < _LEADING
    return line.kind is Kind.NAME or count > 1 or num_leading == 0


def _turns(lines: Sequence[_Line], begins: set[int], time: str) -> list[Turn]:
    """The turns of the lines from the first speaker on; `time` is the time above it."""
    first_texts = [line.found.text for line in lines if line.number in begins and line.found and line.found.text]
    timed_texts = 2 * sum(bool(split_text_time(text)[0]) for text in first_texts) > len(first_texts)
    turns: list[tuple[Turn, list[str]]] = []
    for place, line in enumerate(lines):
        if line.number in begins and line.found:
            own_time, text = split_text_time(line.found.text) if timed_texts else ("", line.found.text)
            turns.append((Turn(line.found.speaker, "", line.time or own_time or time), [text] if text else []))
            time = ""
        elif line.is_time and _is_mark(lines, place, begins, has_text=bool(turns[-1][1])):
            time = line.time
        else:
            turns[-1][1].append(line.text)
    return [replace(turn, text=" ".join(pieces)) for turn, pieces in turns if pieces]


def _is_mark(lines: Sequence[_Line], place: int, begins: set[int], *, has_text: bool) -> bool:
    """Whether a line that is a time marks the place of what follows, as Google Meet's do, and is no answer."""
    at_end = place + 1 == len(lines)
    return has_text and lines[place].after_blank and not at_end and lines[place + 1].number in begins
