"""The words of a Slack message: its text, its blocks, what it has attached or forwards, and what was said in a clip."""

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rolesum.formats.turns import join_speech, one_line

_MENTION = re.compile(r"<@(?P<id>\w+)(?:\|(?P<name>[^>]*))?>")
_SPECIAL = re.compile(r"<(?P<kind>[#!]?)(?P<what>[^<>|]+)(?:\|(?P<name>[^<>]*))?>")
_NO_WORDS = ("actions", "divider", "file", "image", "input", "video")  # blocks


@dataclass(frozen=True, slots=True)
class SlackNames:
    """Id -> name, of members and of channels."""

    members: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=dict)


def message_text(message: Mapping[str, Any], names: SlackNames) -> str:
    """What a message says, as one line; "" where it has no words."""
    text = _plain(_string(message.get("text")), names)
    blocks = one_line("\n".join(_blocks(message.get("blocks"), names)))
    # the text of an app is what a notification shows of its blocks
    said = blocks if not text.strip() or (message.get("bot_id") and len(blocks) > len(text)) else text
    attached = [_attachment(one, names, said.strip()) for one in _objects(message.get("attachments"))]
    # an app may write its text again into what it attaches
    new = [one for one in dict.fromkeys(attached) if one and one != said.strip()]
    spoken = [_transcription(one) for one in _objects(message.get("files"))]
    return join_speech(part.strip() for part in (said, *new, *spoken))


def _attachment(attachment: Mapping[str, Any], names: SlackNames, said: str) -> str:
    """The words of an attachment, without those that the message has `said` above it.

    "" for the preview of a link, which is of the page and not of who wrote the link.
    """
    forwarded = bool(attachment.get("is_share") or attachment.get("is_msg_unfurl"))
    if not forwarded and any(attachment.get(key) for key in ("from_url", "original_url", "service_name")):
        return ""
    parts = [_plain(_string(attachment.get(key)), names) for key in ("title", "text")]
    parts += [
        _plain(f"{_string(one.get('title'))}: {_string(one.get('value'))}".removeprefix(": "), names)
        for one in _objects(attachment.get("fields"))
    ]
    if not any(parts):
        shown = [block for one in _objects(attachment.get("message_blocks")) for block in _message_blocks(one)]
        parts = list(_blocks([*_objects(attachment.get("blocks")), *shown], names))
    above = _plain(_string(attachment.get("pretext")), names).strip()
    if not any(parts):  # the fallback is all of the attachment in short
        parts = [_plain(_string(attachment.get("fallback")), names)]
        above = "" if above in parts[0] else above
    parts = [*([above] if above != said else []), *parts]
    text = join_speech(dict.fromkeys(part.strip() for part in parts))
    author = _string(attachment.get("author_name")) or names.members.get(_string(attachment.get("author_id")), "")
    if forwarded and text:  # another's words, which this message only shows
        return f"({author}: {text})" if author else f"({text})"
    return text


def _message_blocks(shown: Mapping[str, Any]) -> list[Any]:
    message = shown.get("message")
    return message.get("blocks") or [] if isinstance(message, dict) else []


def _transcription(file: Mapping[str, Any]) -> str:
    """What was said in an audio or video clip, as far as the export has it."""
    found = file.get("transcription")
    preview = found.get("preview") if isinstance(found, dict) else None
    return one_line(_string(preview.get("content"))) if isinstance(preview, dict) else ""


def _blocks(blocks: Any, names: SlackNames) -> Iterator[str]:
    """The words of blocks, block by block."""
    for block in _objects(blocks):
        if block.get("type") == "rich_text":
            yield from (_rich_text(one, names) for one in _objects(block.get("elements")))
        elif block.get("type") not in _NO_WORDS:
            texts = [block.get("text"), *_objects(block.get("fields")), *_objects(block.get("elements"))]
            yield from (_plain(_block_text(one), names) for one in texts)


def _block_text(value: Any) -> str:
    """The text of a text object, {"type": "mrkdwn", "text": "…"}, or of a markdown block; "" for a button."""
    if isinstance(value, dict) and value.get("type") in ("mrkdwn", "plain_text", None):
        return _string(value.get("text"))
    return _string(value)


def _rich_text(element: Mapping[str, Any], names: SlackNames) -> str:
    """The words of a section, a list, a quote or a code block of rich text, or of one piece in it."""
    inner = _objects(element.get("elements"))
    if inner:
        between = "\n" if element.get("type") == "rich_text_list" else ""
        return one_line(between.join(_rich_text(one, names) for one in inner))
    what = element.get("type")
    if what == "user":
        user = _string(element.get("user_id"))
        return f"@{names.members.get(user, user)}"
    if what == "channel":
        channel = _string(element.get("channel_id"))
        return f"#{names.channels.get(channel, channel)}"
    if what in ("broadcast", "usergroup"):
        return f"@{_string(element.get('range')) or _string(element.get('usergroup_id'))}"
    if what == "emoji":
        return f":{_string(element.get('name'))}:"
    if what == "date":
        return _string(element.get("fallback")) or _date(str(element.get("timestamp") or ""))
    return _string(element.get("text")) or _string(element.get("url"))


def _plain(text: str, names: SlackNames) -> str:
    """A text without Slack's markup: members, channels and dates by name, links by their labels, one line."""

    def special(found: re.Match[str]) -> str:
        kind, what, name = found["kind"], found["what"], found["name"]
        if kind == "#":
            return "#" + (name or names.channels.get(what, what)).lstrip("#")
        if what.startswith("date^"):
            return name or _date(what.split("^")[1])
        if kind:
            return "@" + (name or what.partition("^")[2] or what).lstrip("@")
        return name or what.removeprefix("mailto:")

    # behind the last > no mention ends, and none is looked for from every <@
    head, end, rest = text.rpartition(">")
    head = _MENTION.sub(
        lambda found: "@" + (names.members.get(found["id"]) or found["name"] or found["id"]), head + end
    )
    return html.unescape(one_line(_SPECIAL.sub(special, head) + rest))


def _date(seconds: str) -> str:
    try:
        return datetime.fromtimestamp(float(seconds), UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return seconds


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
