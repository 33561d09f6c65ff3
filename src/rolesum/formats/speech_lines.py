"""The speaker, the time and the words of one line of a transcript or chat as text.

A line names its speaker before a colon ("Anna: hi", "客服：您好"), and may have a time before the name or behind it,
bare or in brackets: "[10:02] Anna: hi", "2023-03-12T22:01:05Z Anna: hi", "Anna (10:02 PM): hi", "[Anna] [10:01] hi".
A head has a name and a time only, and the speech stands below it: "Anna Brook  0:03", "[12-Mar-23 10:01 PM] anna".
One line alone cannot tell "Anna 10:30" from "at 10:30": rolesum.formats.speech_text decides by the whole text.
"""

import re
from dataclasses import dataclass, replace

from rolesum.formats.clock import MARKS, full_date_end, has_clock, may_have_clock, time_end, time_start
from rolesum.formats.labels import MAX_LENGTH
from rolesum.formats.loose_times import Certainty, loose_time_end, loose_time_start

_LABEL_AND_TIME = 150  # characters before the colon
_IN_BRACKETS = r"(?:\[([^\[\]]{1,90})\]|\(([^()]{1,90})\)|<([^<>]{1,60})>|（([^（）]{1,90})）|【([^【】]{1,90})】)"
_BRACKETED = re.compile(_IN_BRACKETS)
_BRACKETED_END = re.compile(rf"{_IN_BRACKETS}$")
_BRACKETED_WITHIN = re.compile(rf"(?P<who>[^\[\]()<>（）【】:：]{{1,{MAX_LENGTH}}}?)\s*{_IN_BRACKETS}")
_ANGLED = re.compile(r"<\s?(?P<who>[^<>]{1,60})>\s+")
_BEHIND_TIME = re.compile(r"\s*(?:[-–—|,•·]\s|:\s|\t)?\s*")
_BEFORE_TIME = re.compile(r"(?:[\s,@|•·–—-]|(?<=\s)at(?=\s|$))*$")
_NUMBER = re.compile(r"(?:\d{1,5}[.)]|\[\d{1,5}\]|\(\d{1,5}\))\s+(?=\S)")  # of a line: "1. Anna: hi"
_TWO_BRACKETS = re.compile(r"(\d[smh]?)[\])]\s?(-->|→|[-–—]|to)\s?[\[(](?=\d)")  # "[00:03] – [00:07]" is one time
_NUMBERED_SPEAKER = re.compile(
    r"\[(?P<who>(?:speaker|spk|participant|voice)[\s_-]?\d{1,3})\]\s+(?=[^\s:：])", re.IGNORECASE
)
_COLON = re.compile(r"[:：]")
# ":)", ":-D" and others: behind a space, where a label would hardly end, or before a sign.
_FACE = re.compile(r"(?:(?<=\s):['’-]?(?:[DPpOoXxSsCc3]|[()\[\]{}*/\\|@$<>]+)|:['’-]?[()*|/\\]+)(?=$|[\s.,!?])")


@dataclass(frozen=True, slots=True)
class SpeechLine:
    """The parts of a line. `time` and `text` are as written; the speaker is "" where the line is a time alone.

    `shape` says where the time stands, "" without one: lines of one program have one shape. A head is not told from
    speech by its own line. `apart` says that the time is set off: by brackets, two spaces or a tab, or by its date. A
    weak line is a speaker's only if the name is one elsewhere: its colon may be part of a ratio or an emoticon.
    `whole` is the label with its time where these words may as well be part of the name, as in "Woman (20s)".
    """

    speaker: str
    text: str = ""
    time: str = ""
    shape: str = ""
    is_head: bool = False
    apart: bool = False
    is_weak: bool = False
    whole: str = ""


def parse_speech_line(line: str) -> SpeechLine | None:
    """The parts of a line that may begin a turn; None for a line that cannot."""
    if not _COLON.search(line) and not may_have_clock(line) and not re.search(r"[<\[]", line[:_LABEL_AND_TIME]):
        return None  # most lines of long speech
    written, line = _without_end(line.strip()), MARKS.sub("", line).strip()
    found = _parse(_TWO_BRACKETS.sub(r"\1 \2 ", line[:_LABEL_AND_TIME], count=1) + line[_LABEL_AND_TIME:])
    if found and found.text and len(written) > len(line):  # the marks stay in the speech
        return replace(found, text=_last_characters(written, len(found.text)))
    return found


def split_label(label: str) -> tuple[str, str, str]:
    """The name and the time of a label that a field names: "Anna (10:02)"; the label and "" where it has no time.

    The third is the label again where the time is doubtful (SpeechLine.whole).
    """
    if not any(map(str.isdigit, label)) or _COLON.search(label[-1:]):
        return label, "", ""
    found = _parse(f"{MARKS.sub('', label).strip()}: x")
    if found and found.time and found.text == "x" and not found.is_head and not found.is_weak:
        return found.speaker, found.time, found.whole
    return label, "", ""


def _parse_nick(rest: str) -> SpeechLine | None:
    """A speaker in brackets before the text, in which a colon may stand: "<anna> hi: there", "[SPEAKER_01] hi"."""
    found = _ANGLED.match(rest) or _NUMBERED_SPEAKER.match(rest)
    return SpeechLine(_name(found["who"]), rest[found.end() :].strip()) if found and _name(found["who"]) else None


def _parse(line: str) -> SpeechLine | None:
    if name := _NUMBERED_SPEAKER.match(line):
        has_time = _BRACKETED.match(line, name.end())  # "[SPEAKER_01] [10:01] hi"
        return (_parse_time_within(line) if has_time else None) or _parse_nick(line)
    if not any(map(str.isdigit, line[:_LABEL_AND_TIME])):
        return _parse_label(line)
    time, rest, shape = _split_leading_time(line) if may_have_clock(line) else ("", line, "")
    if not time:
        return _parse_loose(line) or _parse_numbered(line) or _parse_label(line) or _parse_time_within(line)
    if not rest:
        return SpeechLine("", time=time, shape=shape)
    found = _parse_nick(rest) or _parse_label(rest)
    if found and found.time:  # "10:01 Anna (10:02): hi" has one time too many
        return None
    if not found:
        found = _parse_unlabeled(rest)
    apart = shape.endswith("[") or time_end(time, dated=True) is not None or "\t" in line
    return replace(found, time=time, shape=shape, apart=apart) if found else None


def _parse_loose(line: str) -> SpeechLine | None:
    """A line that begins with a time without a colon, and names its speaker behind it."""
    found = _BRACKETED.match(line)
    if found and (end := loose_time_end(inner := _inner(found), alone=True)):
        time, at, shape = inner, found.end(), "before["
    elif end := loose_time_end(line[:_LABEL_AND_TIME]):
        time, at, shape = line[: end[0]].strip(), end[0], "before"
    else:
        return None
    behind = _BEHIND_TIME.match(line, at)
    if not behind or (behind.end() == at and shape == "before" and line[at - 1 : at].isascii()):
        return None
    rest = line[behind.end() :]
    spoken = _parse_nick(rest) or _parse_label(rest)
    if not spoken or spoken.time:
        return None
    doubtful = shape == "before" and end[1] is Certainty.DOUBTFUL and not re.fullmatch(r"[\d.,]+", time)  # "90s Kid"
    return replace(spoken, time=time, shape=shape, whole=f"{time} {spoken.speaker}" if doubtful else "", apart=True)


def _parse_numbered(line: str) -> SpeechLine | None:
    """A line that has a number before the speaker or the time."""
    number = _NUMBER.match(line)
    if not number or full_date_end(line, with_year=False) is not None:  # "12. März: …"
        return None
    found = _parse(line[number.end() :])
    return replace(found, shape=f"numbered {found.shape}") if found and found.speaker and not found.is_head else None


def _without_end(text: str) -> str:
    """A text without the spaces at its end, nor the marks that stand among them: without marks, they are its end."""
    at = len(text)
    while at and (text[at - 1].isspace() or MARKS.match(text, at - 1)):
        at -= 1
    return text[:at] if any(one.isspace() for one in text[at:]) else text


def _last_characters(text: str, count: int) -> str:
    """The end of a text with so many characters that are no marks."""
    at = len(text)
    while at and (count or MARKS.match(text, at - 1)):
        at -= 1
        count -= not MARKS.match(text, at)
    return text[at:]


def split_text_time(text: str) -> tuple[str, str]:
    """The time in brackets with which the text of a turn begins, and the rest: "[10:03] hi"; ("", text) without one."""
    found = _BRACKETED.match(text)
    inner = _inner(found)
    return (inner, text[found.end() :].strip()) if found and inner and has_clock(inner) else ("", text)


def split_bare_time(text: str) -> tuple[str, str]:
    """The time with which the text of a turn begins, and the rest: "00:03 hi", "00:03"; ("", text) without one."""
    end = time_end(text)
    if end is None or not (end == len(text) or text[end : end + 1].isspace()):
        return "", text
    return text[:end].strip(), text[_BEHIND_TIME.match(text, end).end() :].strip()  # type: ignore[union-attr]


def _split_leading_time(line: str) -> tuple[str, str, str]:
    """The time before the rest of the line, and its shape; empty where the line begins with none."""
    found = _BRACKETED.match(line)
    if found and (inner := _inner(found)) and (has_clock(inner) or time_end(inner) is not None):
        return inner, line[_BEHIND_TIME.match(line, found.end()).end() :], "before["  # type: ignore[union-attr]
    end = time_end(line)
    if end is None:
        return "", line, ""
    behind = _BEHIND_TIME.match(line, end)
    if not behind or (behind.end() == end < len(line)):  # "10:30ish"
        return "", line, ""
    return line[:end].strip(), line[behind.end() :], "before"


def _parse_label(line: str) -> SpeechLine | None:
    """A line of a label, which a time may end, and a text behind a colon."""
    colons = [
        found.start() for found in _COLON.finditer(line[:_LABEL_AND_TIME]) if not line.startswith("//", found.end())
    ]
    at = next((at for at in colons if not _is_ratio(line, at) and not _FACE.match(line, at)), 0)
    weak = not at and bool(colons)
    at = at or next(iter(colons), 0)
    label, text = line[:at].strip(), line[at + 1 :].strip()
    if not label or "\t" in label or (weak and has_clock(line[: at + 4])):
        return None
    speaker, time, shape, whole = _split_trailing_time(label)
    if not speaker or len(speaker) > MAX_LENGTH or has_clock(speaker):
        return None
    if weak and _FACE.match(line, at):
        text = line[at:].strip()
    return SpeechLine(speaker, text, time, shape, apart=True, is_weak=weak, whole=whole)


def _is_ratio(line: str, at: int) -> bool:
    """Whether the colon at a place stands between digits, as in a clock."""
    return line[at - 1 : at].isdigit() and line[at + 1 : at + 2].isdigit()


def _split_trailing_time(label: str) -> tuple[str, str, str, str]:
    """The name, the time that ends the label, its shape, and the whole label where the time may be part of the name."""
    found = _BRACKETED_END.search(label)
    inner = _inner(found)
    if found and inner and (has_clock(inner) or time_end(inner) is not None):
        return _name(label[: found.start()]), inner, "after[", ""
    whole = " ".join(label.split())
    if found and inner and (loose := loose_time_end(inner, alone=True)) and found.start():
        return _name(label[: found.start()]), inner, "after[", whole if loose[1] is Certainty.DOUBTFUL else ""
    start = time_start(label)
    if start is not None:
        return _name(label[:start]), label[start:].strip(), "after", ""
    behind = None if found else loose_time_start(label)
    if behind and re.search(r"[^\W\d]", name := _name(label[: behind[0]])):
        return name, label[behind[0] :].strip(), "after", whole if behind[1] is Certainty.DOUBTFUL else ""
    return _name(label), "", "", ""


def _parse_unlabeled(rest: str) -> SpeechLine | None:
    """What stands behind a time without a label: a name and a text parted by a tab, or a name alone."""
    who, tab, text = rest.partition("\t")
    if tab and len(who) <= MAX_LENGTH and _name(who):
        return SpeechLine(_name(who), text.strip())
    found = _BRACKETED.match(rest)  # "[10:01] [anna] hi"
    if found and (inner := _inner(found)) and rest[found.end() :].strip():
        return SpeechLine(_name(inner), rest[found.end() :].strip())
    name = _name(rest[: MAX_LENGTH + 1].rstrip(":："))
    return SpeechLine(name, is_head=True) if name and len(rest) <= MAX_LENGTH and not has_clock(name) else None


def _parse_time_within(line: str) -> SpeechLine | None:
    """A line without a label whose time stands behind the name, in brackets or at the end of the line."""
    begin = line[: 2 * _LABEL_AND_TIME]
    first = _BRACKETED.match(begin)  # "[anna] [10:01] hi"
    second = _BRACKETED.match(begin, first.end() + (begin[first.end() : first.end() + 1] == " ")) if first else None
    if first and second and has_clock(_inner(second)):
        text = line[second.end() :].strip()
        return SpeechLine(_name(_inner(first)), text, _inner(second), "within[", is_head=not text, apart=True)
    found = _BRACKETED_WITHIN.match(begin)
    if found and has_clock(_inner(found)) and _name(found["who"]):
        text = line[found.end() :].strip()
        return SpeechLine(_name(found["who"]), text, _inner(found), "after[", is_head=not text, apart=True)
    if len(line) > _LABEL_AND_TIME or (start := time_start(line)) is None:
        return None
    name, time = _name(line[:start]), line[start:].strip()
    if not name or len(name) > MAX_LENGTH or has_clock(name):
        return None
    apart = re.search(r"\s{2}$|\t$|,\s$", line[:start]) is not None or time_end(time, dated=True) is not None
    return SpeechLine(name, time=time, shape="after", is_head=True, apart=apart)


def _inner(found: re.Match[str] | None) -> str:
    """What stands in the brackets of a match."""
    groups = found.groups() if found else ()
    return next((group.strip() for group in reversed(groups) if group), "")


def _name(text: str) -> str:
    """A name without the signs that part it from its time."""
    return " ".join(_BEFORE_TIME.sub("", text.strip()).split())
