"""Readers of regular JSON from a table of facts: the paths at which a shape keeps its turns, speakers, texts and times.

A path is keys joined by dots; a number is a place in a list, * is every entry of it: "results.*.alternatives.0".
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.source import Format, Record, Source, is_valid_id
from rolesum.formats.transcripts import clock, in_order_of_time, seconds, speaker_label, utc_time
from rolesum.formats.turns import dropped_meta, merge_turns, no_turns, one_line
from rolesum.roles import AGENT, USER, role_of_speaker, roles_of_speakers

# Vendors' names of roles, beside the names that every reader knows.
_ROLES = {
    **dict.fromkeys(("end-user", "end_user", "human", "visitor", "lead", "contact", "external", "consumer"), USER),
    **dict.fromkeys(("human_agent", "automated_agent", "admin", "gpt", "chatgpt", "model", "bot"), AGENT),
    **dict.fromkeys(("internal", "business", "teammate", "acd"), AGENT),
}
_SCALES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ticks": 1e-7, "epoch": 1.0, "epoch_ms": 1e-3, "epoch_us": 1e-6}
_ISO_DURATION = re.compile(r"P(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)")
_LONGEST_OFFSET = 1e8  # seconds: a larger number is a time since 1970
_LISTED_PATHS = 8


@dataclass(frozen=True, slots=True)
class People:
    """The paths of a record's participants: of their list, and in its entries of the id, the name and the role."""

    path: str
    identity: str
    name: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One JSON shape. Of several paths, the first that leads to something is used.

    Attributes:
        marks: Sets of paths, parted by spaces: a record of the shape has all those of one set.
        bare: Keys of a record that is itself a turn, where the file is a list of turns.
        is_bare: Whether the file is a list of turns in any case.
        within: Where a record keeps several dialogues.
        turns: Where a dialogue keeps its turns (all of these paths), or a function that makes them.
        channel: Where a turn keeps its channel, which tells speakers apart if there are several.
        time: Where a turn keeps its time, and the unit: s, ms, us, ticks (100 ns), duration ("1.5s"), iso ("PT1.5S"),
            epoch, epoch_ms, epoch_us, text, or auto.
        summaries: Role -> the paths of its summaries.
        only: Path -> the values that a turn has there, if it has one; other turns are dropped as the system's.
        notice: The text of a message that the system wrote, which is dropped.
        is_speech: Whether consecutive turns of one speaker are pieces of one.
        is_ordered: Whether the turns stay in their order, whatever their times.
        is_custom: Whether a user has named the paths: roles are then as written.
        clean: Makes the words of a turn, and the name of a speaker, from what is written.
    """

    name: str
    description: str
    marks: tuple[str, ...] = ()
    bare: frozenset[str] = frozenset()
    is_bare: bool = False
    within: tuple[str, ...] = ()
    turns: tuple[str, ...] | Callable[[Any], list[dict[str, Any]]]
    text: tuple[str, ...]
    speaker: tuple[str, ...] = ()
    channel: str = ""
    time: tuple[tuple[str, str], ...] = ()
    role: tuple[str, ...] = ()
    people: tuple[People, ...] = ()
    identity: tuple[str, ...] = ()
    summaries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    only: Mapping[str, frozenset[Any]] = field(default_factory=dict)
    notice: re.Pattern[str] | None = None
    is_speech: bool = False
    is_ordered: bool = False
    is_custom: bool = False
    clean: Callable[[str], str] = one_line


def layout_format(layout: Layout) -> Format:
    """The format of a shape."""
    return Format(layout.name, layout.description, partial(_matches, layout), partial(read_layout, layout))


def values_at(value: Any, path: str) -> list[Any]:
    """What stands at a path, several values where it has a *; "." is the value itself."""
    found = [value]
    for key in _keys(path):
        if key == "*":
            found = [entry for one in found if isinstance(one, list) for entry in one]
        else:
            found = [
                one[key] if isinstance(one, dict) else one[int(key)]
                for one in found
                if (isinstance(one, dict) and key in one)
                or (isinstance(one, list) and key.isdecimal() and len(key) < 10 and int(key) < len(one))
            ]
    return found


@lru_cache(maxsize=1000)
def _keys(path: str) -> tuple[str, ...]:
    return tuple(key.replace("\\.", ".") for key in re.split(r"(?<!\\)\.", path) if key)


def text_at(value: Any, paths: Sequence[str]) -> str:
    """The text at the first path that leads to one."""
    return next((text for path in paths for one in values_at(value, path) if (text := _text(one)).strip()), "")


def _text(value: Any) -> str:
    """A text, or the texts of a list of pieces: [{"type": "text", "text": "…"}], or of {"value": "…"}."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_text(one) for one in value if not isinstance(one, list))
    if isinstance(value, dict):
        return next((value[key] for key in ("text", "value") if isinstance(value.get(key), str)), "")
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def read_layout(layout: Layout, source: Source) -> Iterator[Dialogue | Problem]:
    """The dialogues of a file of the shape."""
    records = list(source.records())
    if _is_bare(layout, source):
        problems = [item for item in records if isinstance(item, Problem)]
        yield from problems
        if not problems:
            listed = [item.value for item in records if isinstance(item, Record)]
            yield _dialogue(layout, {}, listed, source.stem, f"{source.name}:1")
        return
    parts = [
        (item, part)
        for item in records
        for part in ([item] if isinstance(item, Problem) else _parts(layout, item.value))
    ]
    for number, (item, part) in enumerate(parts, 1):
        if isinstance(item, Problem):
            yield item
            continue
        ids = [one for path in layout.identity for one in values_at(part, path) if is_valid_id(one)]
        identity = str(ids[0]) if ids else source.stem if len(parts) == 1 else f"{source.stem}-{number}"
        entries = _entries(layout, part)
        if part is not item.value and not any(text_at(entry, layout.text) for entry in entries or ()):
            continue  # an export of all chats lists empty ones too
        if entries is not None:
            yield _dialogue(layout, part, entries, identity, item.location)
        else:
            what = f"not the JSON of {layout.name}: no turns at {_wanted(layout)}"
            paths = ", ".join(list_paths(part)) or "no path"
            yield Problem(what, item.location, f"name the paths with --json-path; lists of objects are at: {paths}")


def list_paths(value: Any) -> list[str]:
    """The paths of a JSON value at which there are lists of objects, with the keys of the first one."""
    found: list[str] = []
    waiting = [("", value)]
    for path, one in waiting:  # grows by what lies below
        if isinstance(one, list) and one and isinstance(one[0], dict):
            found.append(f"{path or '.'} ({', '.join(map(str, list(one[0])[:_LISTED_PATHS]))})")
            waiting.append((f"{path}.0".lstrip("."), one[0]))
        elif isinstance(one, dict):
            waiting += [(f"{path}.{key}".lstrip("."), below) for key, below in list(one.items())[:100]]
        if len(found) == _LISTED_PATHS or len(waiting) > 1000:
            break
    return found


def _wanted(layout: Layout) -> str:
    return " or ".join(layout.turns) if isinstance(layout.turns, tuple) else "the places that docs/formats.md names"


def _matches(layout: Layout, source: Source) -> bool:
    if not source.is_json:
        return False
    record = source.first_record
    return _is_bare(layout, source) or (
        isinstance(record, dict) and any(_has_marks(layout, part) for part in _parts(layout, record)[:100])
    )


def _is_bare(layout: Layout, source: Source) -> bool:
    record = source.first_record if layout.bare else None
    return layout.is_bare or (
        isinstance(record, dict) and layout.bare <= record.keys() and not _has_marks(layout, record)
    )


def _has_marks(layout: Layout, part: Any) -> bool:
    return any(all(values_at(part, path) for path in marks.split()) for marks in layout.marks)


def _parts(layout: Layout, record: Any) -> list[Any]:
    """The dialogues of a record: those that it lists, or itself."""
    return next((found for path in layout.within if (found := values_at(record, path))), [record])


def _entries(layout: Layout, part: Any) -> list[Any] | None:
    """The turns of a dialogue as the file has them; None where there are none."""
    if not isinstance(layout.turns, tuple):
        try:
            return layout.turns(part)
        except (KeyError, TypeError, IndexError, AttributeError, ValueError):
            return None
    found = [one for path in layout.turns for one in values_at(part, path)]
    flat = [entry for one in found for entry in (one if isinstance(one, list) else [one])]
    return flat if any(map(_is_object, flat)) else None


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _dialogue(layout: Layout, part: Any, entries: Sequence[Any], identity: str, place: str) -> Dialogue | Problem:
    place_of_id = f"{place}, id {identity}"
    if not all(map(_is_object, entries)):
        return Problem("a turn is not an object", place_of_id, "mend or remove the record")
    dropped: Counter[str] = Counter()
    said: list[Any] = []
    texts: list[str] = []
    for entry in entries:
        if not _is_said(layout, entry):
            dropped["system"] += 1
        elif not (text := layout.clean(text_at(entry, layout.text)).strip()):
            dropped["media"] += 1
        elif layout.notice and layout.notice.fullmatch(text):
            dropped["system"] += 1
        else:
            said.append(entry)
            texts.append(text)
    labels, roles = _speakers(layout, part, said)
    times = [_time(layout, entry) for entry in said]
    turns = [Turn(label, text, when) for label, text, (_, when) in zip(labels, texts, times, strict=True)]
    if not turns:
        return no_turns(place_of_id)
    if not layout.is_ordered:
        turns = in_order_of_time(turns, [start for start, _ in times])
    summaries = {
        role: tuple(text for path in paths for one in values_at(part, path) if (text := _text(one).strip()))
        for role, paths in layout.summaries.items()
    }
    return Dialogue(
        id=identity,
        turns=tuple(merge_turns(turns) if layout.is_speech else turns),
        roles={**roles_of_speakers([label for label in labels if label]), **roles},
        summaries={role: texts for role, texts in summaries.items() if texts},
        meta={} if layout.is_speech else dropped_meta(dropped),
        source=place,
    )


def _is_said(layout: Layout, entry: Any) -> bool:
    return all(
        found in values for path, values in layout.only.items() for found in values_at(entry, path) if _is_key(found)
    )


def _is_key(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _speakers(layout: Layout, part: Any, said: Sequence[Any]) -> tuple[list[str], dict[str, str]]:
    """The label of each turn's speaker, and label -> role."""
    people = _people(layout, part)
    named = [_named(layout, entry, people) for entry in said]
    channels = [next(iter(values_at(entry, layout.channel)), None) if layout.channel else None for entry in said]
    heard: dict[Any, set[str]] = {}
    for channel, (label, _) in zip(channels, named, strict=True):
        if isinstance(channel, str | int):
            heard.setdefault(channel, set()).add(label)
    labels = [
        _channel_label(channel, label, len(heard[channel])) if len(heard) > 1 and channel in heard else label
        for channel, (label, _) in zip(channels, named, strict=True)
    ]
    roles = {label: role for label, (_, role) in zip(labels, named, strict=True) if label and role}
    return labels, roles


def _channel_label(channel: Any, label: str, num_heard: int) -> str:
    """A speaker's label where there are several channels: numbers of speakers are those of their channel."""
    where = f"Channel {channel}" if str(channel).isdecimal() else str(channel)
    return where if num_heard == 1 else f"{where}, {label}".removesuffix(", ")


def _people(layout: Layout, part: Any) -> dict[str, tuple[str, str]]:
    """Id -> name and role of the participants that a record lists; of two with one name, the id stands behind it."""
    found: dict[str, tuple[str, str]] = {}
    for one in layout.people:
        for person in values_at(part, one.path):
            for key in values_at(person, one.identity):
                name = text_at(person, [one.name]) if one.name else ""
                role = text_at(person, [one.role]) if one.role else ""
                if name.strip() or role:
                    found.setdefault(str(key), (" ".join(name.split()), role))
    names = Counter(name for name, _ in found.values())
    return {key: (f"{name} ({key})" if name and names[name] > 1 else name, role) for key, (name, role) in found.items()}


def _named(layout: Layout, entry: Any, people: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    """The label of the speaker of a turn, and the role that the file gives."""
    found = [one for path in layout.speaker for one in values_at(entry, path)]
    known = next((people[str(one)] for one in found if _is_key(one) and str(one) in people), ("", ""))
    label = known[0] or next((name for one in found if (name := layout.clean(speaker_label(one)).strip())), "")
    role = known[1] or text_at(entry, layout.role)
    known_role = _ROLES.get(role.strip().lower()) or role_of_speaker(role) or ""
    return label, known_role or (role.strip() if layout.is_custom else "")


def _time(layout: Layout, entry: Any) -> tuple[float | None, str]:
    """What turns are sorted by, and the time as a turn has it."""
    for path, unit in layout.time:
        for value in values_at(entry, path):
            if value is not None and (found := read_time(value, unit))[1]:
                return found
    return None, ""


def read_time(value: Any, unit: str) -> tuple[float | None, str]:
    """A time in seconds, None where it is in no known form, and the time of a turn, "" where there is none."""
    if unit == "auto":
        number = None if isinstance(value, str) else _seconds(value)
        if number is None:
            unit = "text"
        else:
            unit = "s" if number < _LONGEST_OFFSET else "epoch" if number < _LONGEST_OFFSET * 1000 else "epoch_ms"
    if unit == "text":
        return _iso_seconds(value) if isinstance(value, str) else None, value.strip() if isinstance(value, str) else ""
    if unit == "iso":
        parts = _ISO_DURATION.fullmatch(value) if isinstance(value, str) else None
        hours, minutes, rest = (float(part or 0) for part in parts.groups()) if parts else (0.0, 0.0, 0.0)
        offset = hours * 3600 + minutes * 60 + rest if parts else None
        return offset, clock(offset)
    number = _seconds(value.removesuffix("s") if unit == "duration" and isinstance(value, str) else value)
    if number is None:
        return None, ""
    scaled = number * _SCALES.get(unit, 1.0)
    return scaled, utc_time(scaled) if unit.startswith("epoch") else clock(scaled)


def _seconds(value: Any) -> float | None:
    try:
        return seconds(value)
    except OverflowError:
        return None


def _iso_seconds(value: str) -> float | None:
    try:
        return datetime.fromisoformat(value.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
