"""The turns of a text whose lines name speakers and times: one reader for plain text and for the cells and fields of
tables, records and requests.

The whole text decides what a line is. A name that stands twice is a speaker; a clause before a colon is speech; a time
beside an unknown name is speech in a text without times, and a head in a text of heads. The lines of a program around a
transcript (title, attendees, "Transcribed by …") are dropped and counted. A line before the first speaker that is none
of these is refused by its number.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from rolesum.dialogue import Turn
from rolesum.formats.clock import is_full_date
from rolesum.formats.export_frames import (
    find_footer,
    is_field,
    is_field_like,
    is_frame,
    is_member_notice,
    is_notice,
)
from rolesum.formats.labels import Kind, label_kind
from rolesum.formats.numbered_labels import numbered_speech, times_behind_names, without_line_numbers
from rolesum.formats.speech_lines import SpeechLine, parse_speech_line, split_bare_time, split_text_time
from rolesum.formats.turns import dropped_meta, names_with_numbers

# "*** Tom joined the chat ***", of which a time stands before: what a help desk writes between messages.
_STARRED = re.compile(r"(?:[\[(]?[\d:.,/\s-]{4,30}(?: ?[AaPp]\.?[Mm]\.?)?[\])]?[\s:-]*)?\*{3}\s*(\S.{0,200}?)\s*\*{3}")
_IN_BRACKETS = re.compile(r"[\[(【]([^\[\]()【】]{1,60})[\])】](?=\s)")
_ACTION = re.compile(r"(?:\*{1,3}|-!-|--|<--|-->|[→←])\s")  # of IRC, behind a time: "* anna waves", "-!- tom has quit"
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
    spoken = [line for line in lines[:footer] if not _is_system(line)]
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
    said = _without_dates(lines[first:], begins)
    if len(said) < len(lines) - first:
        result.dropped["system"] += len(lines) - first - len(said)
    result.turns = _turns(said, begins, next((line.time for line in lines[:first] if line.is_time), ""))
    return result


def _is_system(line: _Line) -> bool:
    """Whether a program wrote the line between the messages: who came and who went."""
    if _STARRED.fullmatch(line.text):
        return True
    if line.found and line.found.is_head and _ACTION.match(line.found.speaker):
        return True
    return is_member_notice(line.found.speaker if line.found and line.found.is_head else line.text)


def _without_dates(lines: Sequence[_Line], begins: set[int]) -> list[_Line]:
    """The lines without those that are a date over the turns of a day, and no part of what is said above."""
    has_times = 2 * sum(bool(line.time) for line in lines if line.number in begins) > len(begins)
    kept: list[_Line] = []
    for place, line in enumerate(lines):
        goes_on = place + 1 < len(lines) and lines[place + 1].number in begins
        parted = line.after_blank or (has_times and bool(kept) and kept[-1].number not in begins)
        parted = parted or (has_times and bool(kept) and bool(kept[-1].found and kept[-1].found.text))
        if line.number in begins or not goes_on or not parted or not is_full_date(line.text):
            kept.append(line)
    return kept


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
    _join_names(lines)
    _split_brackets(lines)
    _split_numbers(lines)
    return lines


def _split_numbers(lines: Sequence[_Line]) -> None:
    """Take the numbers off the labels where they are no part of the name: "1 Anna: hi", "Anna 0915: hi"."""
    labeled = [line for line in lines if line.is_labeled and line.found]
    labels = [line.speaker for line in labeled]
    for place, name in without_line_numbers(labels).items():
        _rename(labeled[place], name, f"numbered {labeled[place].shape}")
    if any(line.time for line in labeled):
        return
    for place, (name, time) in times_behind_names(labels).items():
        _rename(labeled[place], name, "after", time)


def _rename(line: _Line, name: str, shape: str, time: str = "") -> None:
    if line.found:
        line.found = replace(line.found, speaker=name, time=time or line.time, shape=shape, whole="")
        line.kind = label_kind(name)


def _split_brackets(lines: Sequence[_Line]) -> None:
    """Take the name in brackets before a label, as in "[tom] hi: there", for the speaker where it is one elsewhere."""
    found = [(line, one) for line in lines if line.is_labeled and (one := _IN_BRACKETS.match(line.speaker))]
    bare = {line.speaker for line in lines if line.is_labeled and line.speaker in _IN_BRACKETS.findall(line.text)}
    rests: defaultdict[str, list[str]] = defaultdict(list)
    for line, one in found:
        rests[one[1]].append(line.speaker)
    # in lower case: "[Agent] Tom: hi" and "[Agent] Ann: yo" are two speakers
    said_twice = any(
        len(one) > 1
        and len(set(one)) == len(one)
        and all(_IN_BRACKETS.sub("", label).strip()[:1].islower() for label in one)
        for one in rests.values()
    )
    if not said_twice and not bare:
        return
    for line, one in found:
        if line.found:
            text, name = line.text.partition(one[0])[2].strip(), one[1].strip()
            line.found, line.kind = replace(line.found, speaker=name, text=text, whole=""), label_kind(name)


def _join_names(lines: Sequence[_Line]) -> None:
    """Put doubtful times back into their names where they are part of them."""
    doubtful = [line for line in lines if line.found and line.found.whole and line.is_labeled]
    names = names_with_numbers([(line.speaker, line.time) for line in doubtful], sum(line.is_labeled for line in lines))
    for line in doubtful:
        if line.found and line.speaker in names:
            line.found = replace(line.found, speaker=line.found.whole, time="", shape="", whole="")
            line.kind = label_kind(line.found.speaker)


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
    named = _below_fields(_below_blocks(lines, named, counts), counts)
    return {line.number for line in _of_speakers(named, counts)}


def _of_speakers(named: Sequence[_Line], counts: Counter[str]) -> list[_Line]:
    """The labeled lines whose label is that of a speaker."""
    leading = {line.speaker for line in named if line.kind is Kind.NAME and counts[line.speaker] > 1}
    kept = [line for line in named if _is_speaker(line, counts, len(named), 0 if line is named[0] else len(leading))]
    spoken = numbered_speech([line.speaker for line in kept], counts, leading if len(leading) >= _LEADING else ())
    return _of_one_shape([line for place, line in enumerate(kept) if place not in spoken], counts)


def speaker_places(labels: Sequence[tuple[SpeechLine, Kind]]) -> set[int]:
    """The places, among the lines of a text that may begin with a label, of those whose label is a speaker's.

    For readers that find such lines by themselves, as that of captions does: no line of a header is among them.
    """
    lines = [_Line(place, "", False, found, kind) for place, (found, kind) in enumerate(labels)]
    sure = {line.speaker for line in lines if line.is_labeled and not line.is_weak}
    named = [line for line in lines if line.is_labeled and line.speaker in sure]
    return {line.number for line in _of_speakers(named, Counter(line.speaker for line in named))}


def _below_blocks(lines: Sequence[_Line], named: list[_Line], counts: Counter[str]) -> list[_Line]:
    """The labeled lines without the blocks of fields at the head, of which one is known and none has a time."""
    begin = 0
    while begin < len(lines):
        end = next((place for place in range(begin + 1, len(lines)) if lines[place].after_blank), len(lines))
        block = lines[begin:end]
        if (
            not any(is_field(line.text) for line in block)
            or not all(is_field_like(line.text) and counts[line.speaker] < 2 and not line.time for line in block)
            or sum(line.number > block[-1].number for line in named) < 2
        ):
            break
        begin = end
    return [line for line in named if begin == 0 or line.number > lines[begin - 1].number]


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
    untimed = [number for number, line in unknown.items() if not line.time and not line.shape.startswith("numbered")]
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
    spoken = [line for line in lines if line.number in begins and line.found]
    split = _text_times(spoken)
    turns: list[tuple[Turn, list[str]]] = []
    for place, line in enumerate(lines):
        if line.number in begins and line.found:
            own_time, text = split(line.found.text)
            turns.append((Turn(line.found.speaker, "", line.time or own_time or time), [text] if text else []))
            time = ""
        elif line.is_time and _is_mark(lines, place, begins, has_text=bool(turns[-1][1])):
            time = line.time
        else:
            turns[-1][1].append(line.text)
    return [replace(turn, text=" ".join(pieces)) for turn, pieces in turns if pieces]


def _text_times(spoken: Sequence[_Line]) -> Callable[[str], tuple[str, str]]:
    """What splits the text of a turn into its time and the rest: in brackets where most have one, bare where all do.

    Bare times must grow from turn to turn: "10:30 is fine" may be an answer.
    """
    texts = [line.found.text for line in spoken if line.found and line.found.text]
    if 2 * sum(bool(split_text_time(text)[0]) for text in texts) > len(texts):
        return split_text_time
    bare = [split_bare_time(text)[0] for text in texts]
    clocks = [tuple(map(int, re.findall(r"\d+", time))) for time in bare]
    same = len({time.count(":") for time in bare}) == 1
    if 1 < len(texts) == len(spoken) and all(bare) and same and clocks == sorted(clocks) and clocks[0] < clocks[-1]:
        return split_bare_time
    return lambda text: ("", text)


def _is_mark(lines: Sequence[_Line], place: int, begins: set[int], *, has_text: bool) -> bool:
    """Whether a line that is a time marks the place of what follows, as Google Meet's do, and is no answer."""
    at_end = place + 1 == len(lines)
    return has_text and lines[place].after_blank and not at_end and lines[place + 1].number in begins
