"""A Slack export, a directory or a zip: for each channel a folder with a file of messages a day; perhaps users.json.

Each thread is a dialogue, over all its days; what else was said in a channel on a day is one too. Messages of Slack
itself and those without text are dropped; the dialogue's meta counts them.
"""

from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.slack_text import SlackNames, message_text
from rolesum.formats.source import CHANNELS, MEMBERS, Format, Record, Source
from rolesum.formats.transcripts import utc_time
from rolesum.formats.turns import dropped_meta
from rolesum.roles import roles_of_speakers

SPOKEN = (None, "bot_message", "me_message", "thread_broadcast", "file_share", "slackbot_response")


@dataclass
class _MessageGroup:
    """The messages of a thread or of a channel's day: (time, turn), and what was dropped."""

    place: str
    messages: list[tuple[float, Turn]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def matches(source: Source) -> bool:
    return bool(source.files) or _is_day(source)


def read(source: Source) -> Iterator[Dialogue | Problem]:
    if _is_day(source):
        file = Path(source.name)
        channel = file.parent.name or "channel"
        source = Source(str(file.parent.parent), source.text, {f"{channel}/{file.name}": source.text})
    if not source.files:
        yield Problem("not a Slack export", source.name, "name its directory or zip, with a folder for each channel")
        return
    members = (yield from _names(source)) or _names_in_messages(source)
    channels = yield from _channels(source)
    names = SlackNames(members, channels)
    groups: dict[tuple[str, str], _MessageGroup] = {}
    for path in source.files:
        if "/" not in path:
            continue
        channel, day = path.removesuffix(".json").split("/")
        inside = Source(f"{source.name}/{path}", source.files[path])
        records = list(inside.records())
        problems = [item for item in map(_problem, records) if item]
        yield from problems
        if problems:  # what the bad record said is unknown, so the day is left out as a whole
            continue
        for record in records:
            if isinstance(record, Record):
                _add(groups, channel, day, record, names)
    for (channel, name), group in groups.items():
        if group.messages:
            yield _dialogue(channel, name, group)


def _is_day(source: Source) -> bool:
    """Whether a file is a day of one channel."""
    record = source.first_record if source.is_json else None
    return isinstance(record, dict) and record.get("type") == "message" and isinstance(record.get("ts"), str)


def _dialogue(channel: str, name: str, group: _MessageGroup) -> Dialogue:
    messages = sorted(group.messages, key=lambda message: message[0])
    times = [turn.time for _, turn in messages]
    return Dialogue(
        id=f"{channel}/{name}",
        turns=tuple(turn for _, turn in messages),
        roles=roles_of_speakers([turn.speaker for _, turn in messages]),
        meta={"channel": channel, "start": times[0], "end": times[-1], **dropped_meta(group.dropped)},
        source=group.place,
    )


def _problem(item: Record | Problem) -> Problem | None:
    """What is wrong with a message, so that it cannot be placed."""
    if isinstance(item, Problem):
        return item
    message = item.value
    if not isinstance(message, dict) or not isinstance(message.get("text") or "", str):
        return Problem("not a Slack message: an object with text and ts is needed", item.location, "mend or remove it")
    try:
        datetime.fromtimestamp(float(message["ts"]), UTC)
        float(message.get("thread_ts") or 0)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return Problem("a Slack message needs ts, the time in seconds", item.location, "mend or remove it")
    return None


def _add(
    groups: dict[tuple[str, str], _MessageGroup], channel: str, day: str, record: Record, names: SlackNames
) -> None:
    message = record.value
    name = str(message.get("thread_ts") or day)
    group = groups.setdefault((channel, name), _MessageGroup(record.location))
    text = message_text(message, names)
    if message.get("subtype") not in SPOKEN:
        group.dropped["system"] += 1
    elif not text:
        group.dropped["media"] += 1
    else:
        at = float(message["ts"])
        group.messages.append((at, Turn(_speaker(message, names.members), text, utc_time(at))))


def _speaker(message: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The member's name; for those who are not in users.json, the name in the message; "" where there is none."""
    user = message.get("user")
    if isinstance(user, str) and user in names:
        return names[user]
    profiles = [message.get("user_profile"), message, message.get("bot_profile")]
    known = [profile for profile in profiles if isinstance(profile, dict)]
    found = [profile.get(key) for profile in known for key in ("display_name", "real_name", "username", "name")]
    found += [user, message.get("bot_id")]
    return next((text.strip() for text in found if isinstance(text, str) and text.strip()), "")


def _names(source: Source) -> Generator[Problem, None, dict[str, str]]:
    """Yields what is wrong with users.json, and returns member's id -> name; where two have one name, the id too."""
    names: dict[str, str] = {}
    for path in MEMBERS:
        inside = Source(f"{source.name}/{path}", source.files.get(path, "[]"))
        for item in inside.records():
            if isinstance(item, Problem):
                yield item
            elif not isinstance(item.value, dict) or not isinstance(item.value.get("id"), str):
                yield Problem("not a member: an object with an id is needed", item.location, "mend or remove it")
            else:
                names[item.value["id"]] = _name(item.value)
    heard = Counter(names.values())
    return {one: f"{name} ({one})" if heard[name] > 1 else name for one, name in names.items()}


def _names_in_messages(source: Source) -> dict[str, str]:
    """Member's id -> name, from the messages that tell it, for an export without users.json."""
    names: dict[str, str] = {}
    for path in filter(lambda one: "/" in one, source.files):
        for item in Source(path, source.files[path]).records():
            message = item.value if isinstance(item, Record) and isinstance(item.value, dict) else {}
            user, profile = message.get("user"), message.get("user_profile")
            if isinstance(user, str) and isinstance(profile, dict) and user not in names:
                names[user] = _name({"id": user, "profile": profile})
    return names


def _channels(source: Source) -> Generator[Problem, None, dict[str, str]]:
    """Yields what is wrong with the lists of channels, and returns channel's id -> name."""
    channels: dict[str, str] = {}
    for path in CHANNELS:
        for item in Source(f"{source.name}/{path}", source.files.get(path, "[]")).records():
            if isinstance(item, Problem):
                yield item
            elif isinstance(item.value, dict) and isinstance(item.value.get("name"), str):
                channels[str(item.value.get("id"))] = item.value["name"]
    return channels


def _name(member: Mapping[str, Any]) -> str:
    known = [one for one in (member.get("profile"), member) if isinstance(one, dict)]
    found = [profile.get(key) for profile in known for key in ("display_name", "real_name", "name")]
    return next((text.strip() for text in found if isinstance(text, str) and text.strip()), str(member["id"]))


FORMAT = Format(
    "slack", "Slack export, directory or zip: a thread is a dialogue, the rest of a channel's day is one", matches, read
)
