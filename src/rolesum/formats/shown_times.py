"""The times of a dialogue's turns as they are shown to a reader: short, without what all of them share."""

import re
from collections.abc import Sequence

from rolesum.dialogue import Dialogue

_RANGE = re.compile(r"\s*(?:-->|→).*", re.DOTALL)
_FRACTION = re.compile(r"(:\d{2})[.,]\d{1,9}(?!\d)")
_ISO = re.compile(r"(\d{4}-\d{2}-\d{2})[T_](\d{2}:\d{2}(?::\d{2})?)(Z|[+-]\d{2}:?\d{2})?")
# A date of digits or of Chinese, Japanese or Korean characters, with its weekday, before a clock. Where a month is
# named, the words of a date are not told from those of a part of the day (PM, 오후), and the time stays whole.
_DATE = re.compile(
    r"(?:\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\.?|\d{4}\s?[年년]\s?\d{1,2}\s?[月월]\s?\d{1,2}\s?[日일])"
    r"(?:\s?\(\w{1,3}\))?[\s,،]*(?:(?:at|à)\s)?(?=.*\d[:：]\d)"
)
_NO_HOURS = re.compile(r"00?:(\d{2}:\d{2})")


def shown_times(dialogue: Dialogue) -> tuple[str, ...]:
    """The time of each turn as it is shown, "" where it is unknown; an empty tuple where no turn has one.

    Of a range the start, without fractions of seconds; without a date, a time zone or an hour 00 that all turns share:
    "00:12:40.500" is "12:40" in a recording of less than an hour, "2026-05-04T12:40:00Z" is "12:40:00" on one day.
    """
    times = [_FRACTION.sub(r"\1", _RANGE.sub("", turn.time)).strip() for turn in dialogue.turns]
    if not any(times):
        return ()
    times = _without_shared_date(_without_zones(times))
    known = [time for time in times if time]
    if all(_NO_HOURS.fullmatch(time) for time in known):
        return tuple(_NO_HOURS.sub(r"\1", time) for time in times)
    return tuple(times)


def times_of(turns: Sequence[int], times: Sequence[str]) -> tuple[str, ...]:
    """Of the times of all turns those of some; an empty tuple where none of them is known."""
    found = tuple(times[place] for place in turns) if times else ()
    return found if any(found) else ()


def _without_zones(times: list[str]) -> list[str]:
    """ISO times as a date and a clock with a space between, and with the zone only where there are several."""
    found = [_ISO.fullmatch(time) for time in times]
    zones = {one[3] or "" for one in found if one}
    keep = len(zones) > 1
    return [
        f"{one[1]} {one[2]}{one[3] or '' if keep else ''}" if one else time
        for one, time in zip(found, times, strict=True)
    ]


def _without_shared_date(times: list[str]) -> list[str]:
    found = [_DATE.match(time) for time in times if time]
    if any(one is None for one in found) or len({one[0] for one in found if one}) > 1:
        return times
    return [_DATE.sub("", time, count=1) for time in times]
