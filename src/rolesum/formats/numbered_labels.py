"""Numbers in the labels of a text: part of the name, of the line, a time, or of what is said.

"Nadia 2203" is a speaker with the number of her extension, "1 Anna" a speaker in the first line, "Anna 0915" one who
speaks at a quarter past nine, "Room 2203: is booked" speech. All labels of a text together tell which.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from rolesum.formats.labels import ends_with_number, is_numbered_thing

_LINE_NUMBER = re.compile(r"(\d{1,6})\s+(?:[-–|]\s+)?([^\W\d].*)")
_HOUR_AND_MINUTE = re.compile(r"(.*[^\W\d_]\S*)\s+((?:[01]\d|2[0-3])[0-5]\d)")


def without_line_numbers(labels: Sequence[str]) -> dict[int, str]:
    """Place -> name of the labels that begin with the number of the line: "1 Anna", "2 Tom".

    Most labels of the text must have such a number, and the numbers grow.
    """
    found = {place: one for place, label in enumerate(labels) if (one := _LINE_NUMBER.match(label))}
    numbers = [int(one[1]) for one in found.values()]
    if len(found) < 2 or 4 * len(found) < 3 * len(labels) or numbers != sorted(set(numbers)):
        return {}
    return {place: one[2] for place, one in found.items()}


def times_behind_names(labels: Sequence[str]) -> dict[int, tuple[str, str]]:
    """Place -> name and time of the labels that end with a time of four digits: "Anna 0915", "Tom 0916", "Anna 0930".

    All labels must, no time be before the one above it, and two names stand with several times each: an extension stays
    the same.
    """
    found = {place: one for place, label in enumerate(labels) if (one := _HOUR_AND_MINUTE.fullmatch(label))}
    times: defaultdict[str, set[str]] = defaultdict(set)
    for one in found.values():
        times[one[1]].add(one[2])
    clocks = [one[2] for one in found.values()]
    changing = sum(len(of_name) > 1 for of_name in times.values())
    if len(found) < len(labels) or clocks != sorted(clocks) or changing < 2:
        return {}
    return {place: (one[1], one[2]) for place, one in found.items()}


def numbered_speech(labels: Sequence[str], counts: Mapping[str, int], leading: Collection[str]) -> set[int]:
    """The places of labels that are what somebody says: they end in a number, stand once, and break an alternation.

    "Room 2203: is booked" between Anna's words and Tom's is Anna's; between two turns of Anna it would be a speaker's,
    since she goes on without a label. So is "Falcon 9: it flew" where `leading`, the names that stand more than once,
    are several and have no numbers. The first label is a speaker's.
    """
    plain = bool(leading) and not any(map(ends_with_number, leading))
    doubted = {
        place
        for place, label in enumerate(labels)
        if place and counts[label] == 1 and (is_numbered_thing(label) or (plain and ends_with_number(label)))
    }
    before, after = _nearest(labels, doubted), _nearest(labels[::-1], {len(labels) - 1 - place for place in doubted})
    return {place for place in doubted if after[len(labels) - 1 - place] not in ("", before[place])}


def _nearest(labels: Sequence[str], without: Collection[int]) -> list[str]:
    """For each place the last label up to it that is not left out; "" where there is none."""
    found: list[str] = []
    for place, label in enumerate(labels):
        found.append((found[-1] if found else "") if place in without else label)
    return found
