"""Times, the order of turns, labels of numbered speakers, and turns from words, for readers of speech transcripts."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from rolesum.dialogue import Turn
from rolesum.formats.turns import join_speech

Entry = TypeVar("Entry")

_CLOCK = re.compile(r"(?:(\d{1,6}):)?(\d{1,6}):(\d{1,2}(?:[.,]\d{1,9})?)")


def seconds(value: Any) -> float | None:
    """A time in seconds: a number, or a text such as "2.5" or "00:01:02,500". None for all that is no time.

    Raises OverflowError for a number that no float can hold.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        if clock_time := _CLOCK.fullmatch(value.strip()):
            hours, minutes, rest = clock_time.groups()
            return int(hours or 0) * 3600 + int(minutes) * 60 + float(rest.replace(",", "."))
        try:
            value = float(value)
        except ValueError:
            return None
    number = float(value)
    return number if math.isfinite(number) else None


def clock(offset: float | None) -> str:
    """The time of a turn, from its offset in seconds: "00:01:02" or "00:01:02.500"; "" for None."""
    if offset is None or not 0 <= offset < 1e9:
        return ""
    whole, part = divmod(round(offset * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{f'.{part:03}' if part else ''}"


def utc_time(epoch: float | None) -> str:
    """The time of a turn, from the seconds since 1970; "" for None and for years that no calendar has."""
    if epoch is None:
        return ""
    try:
        return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return ""


def in_order_of_time(entries: Sequence[Entry], starts: Sequence[float | None]) -> list[Entry]:
    """The entries sorted by their starts; an entry without a start keeps its place."""
    timed = [place for place, start in enumerate(starts) if start is not None]
    by_start = iter(sorted(timed, key=lambda place: starts[place] or 0.0))
    return [entries[place if start is None else next(by_start)] for place, start in enumerate(starts)]


def speaker_label(value: Any) -> str:
    """The label of a speaker whom a file names by a text or by a number; "" for an unknown one."""
    if isinstance(value, str):
        text = " ".join(value.split())
        return f"Speaker {text}" if text.isdecimal() else "" if text == "?" else text
    return f"Speaker {value}" if isinstance(value, int) and not isinstance(value, bool) else ""


def join_words(words: Iterable[str]) -> str:
    """Join words to a text: as they are where they bring their spaces, else by the script's own rule."""
    listed = list(words)
    if any(word[:1].isspace() for word in listed[1:]):
        return "".join(listed).strip()
    return join_speech(word.strip() for word in listed)


def cut_by_speaker(text: str, words: Iterable[tuple[str, str, str]], speaker: str = "", time: str = "") -> list[Turn]:
    """The turns of a text whose words, as (word, speaker, time), were given to several speakers.

    The text is cut before the first word of each speaker, so that it stays as it was, in any script. A word without a
    speaker belongs to the speaker of the word before. If the words are not those of the text, it is one turn of
    `speaker`.
    """
    listed = [(word.strip(), who, when) for word, who, when in words]
    now = next((who for _, who, _ in listed if who), speaker)
    begun, at, begins = 0, 0, time or next((when for _, _, when in listed), "")
    turns: list[Turn] = []
    for word, who, when in listed:
        found = text.find(word, at)
        if found < 0:
            return [Turn(speaker, text.strip(), time)]
        if who and who != now:
            turns.append(Turn(now, text[begun:found].strip(), begins))
            begun, now, begins = found, who, when
        at = found + len(word)
    return [*turns, Turn(now, text[begun:].strip(), begins)]


def turns_of_words(words: Iterable[tuple[str, str, str]]) -> Iterator[Turn]:
    """The turns of words, as (word, speaker, time): one for each run of words of one speaker."""
    said: list[str] = []
    speaker, begins = "", ""
    for word, who, when in words:
        if said and who and who != speaker:
            yield Turn(speaker, join_words(said), begins)
            said = []
        if not said:
            begins = when
        speaker = who or speaker
        said.append(word)
    if said:
        yield Turn(speaker, join_words(said), begins)
