"""A WhatsApp chat as its export writes it: one dialogue, dates in any locale, messages over several lines.

iOS: "[12/31/23, 10:02:11 PM] Anna: text". Android: "31.12.23, 22:02 - Anna: text". Lines of the app itself, media and
deleted messages are dropped; the dialogue's meta counts them.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.source import Format, Source
from rolesum.formats.turns import join_speech
from rolesum.roles import roles_of_speakers

# Marks of direction, which exports put before dates, names and notices of the app; \u200e begins such a notice.
_MARKS = re.compile(r"[\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_NOTICE = "\u200e"
_SPACES = re.compile(r"[\u00a0\u202f]")

_DATE = r"\d{1,4}(?:[./-]\s?\d{1,2}[./-]\s?\d{1,4}\.?|年\s?\d{1,2}月\s?\d{1,2}日)"
_BEFORE = r"(?:上午|下午|凌晨|清晨|早上|中午|晚上|오전|오후|午前|午後|klo|kl\.)"
_AFTER = r"(?:[AaPp]\.?\s?[Mm]\.?)"
_WHEN = rf"{_DATE}[,،]?\s*(?:{_BEFORE}\s*)?\d{{1,2}}[:.]\d{{2}}(?:[:.]\d{{2}})?\s*{_AFTER}?"
_IOS = re.compile(rf"\s*\[(?P<when>{_WHEN})\]\s?")
_ANDROID = re.compile(rf"\s*(?P<when>{_WHEN})\s[-–]\s")
_SENDER = re.compile(r"(?P<sender>[^:]{1,60}):(?:\s+|$)")
# On iOS a notice stands behind the group's name, which may hold a colon: "Trip: Rome: \u200eAnna left".
_GROUP_NOTICE = re.compile(r"[^:]{1,60}:\s+\u200e(?!<)")
# A notice may quote a group's name that holds a colon; what stands before it has an odd quote, and is no name.
_QUOTE = re.compile(r'["“”„«»「」]')

# A notice alone says "omitted" of media; without its mark those are a person's words.
_OMITTED = re.compile(r".*\b(?:omitted|weggelassen|omitid[oa]s?|omis)\b\.?|.*(?:已?忽略|已?省略)", re.IGNORECASE)
_PLACEHOLDER = re.compile(
    r"<[^<>]{1,60}>|[^\s/]+\.(?:jpe?g|png|webp|gif|mp4|mov|3gp|webm|opus|ogg|m4a|mp3|aac|pdf|docx?|xlsx?|pptx?|vcf|zip|txt|csv)"
    r" \([^()]{3,40}\)",
    re.IGNORECASE,
)
_ATTACHED = re.compile(r"\u200e<[^<>]+>|<(?:attached|附件)[:：][^<>]+>")
_EDITED = re.compile(
    r"(?<!\s)\s*\u200e?<(?:This message was edited|此消息已编辑|此訊息已編輯|Diese Nachricht wurde bearbeitet\.?)>\s*$"
)
_DELETED = re.compile(
    r"(?:This message was deleted|You deleted this message|此消息已删除|你删除了此消息|您删除了此消息|此訊息已刪除"
    r"|你已刪除此訊息|您已刪除此訊息|Diese Nachricht wurde gelöscht|Du hast diese Nachricht gelöscht)\.?"
)


@dataclass
class _Message:
    """What stands between one date and the next, marks included."""

    when: str
    lines: list[str]


def matches(source: Source) -> bool:
    if source.is_json:
        return False
    return _message(next((line for line in source.lines if line.strip()), "")) is not None


def read(source: Source) -> Iterator[Dialogue | Problem]:
    messages: list[_Message] = []
    stray = False
    for number, line in enumerate(source.lines, 1):
        if message := _message(line):
            messages.append(message)
        elif line.strip() and messages:
            messages[-1].lines.append(line)
        elif line.strip():
            stray = True
            yield Problem("no message begins here", f"{source.name}:{number}", "begin with a date, as the export does")
    if not stray:
        yield _dialogue(source, messages)


def _dialogue(source: Source, messages: list[_Message]) -> Dialogue | Problem:
    turns: list[Turn] = []
    times: list[str] = []
    dropped: Counter[str] = Counter()
    for message in messages:
        what, turn = _read(message)
        if turn:
            turns.append(turn)
            times.append(message.when)
        if what:
            dropped[what] += 1
    if not turns:
        return Problem("no message with text is left", source.name, "check the file and the format")
    return Dialogue(
        id=source.stem,
        turns=tuple(turns),
        roles=roles_of_speakers([turn.speaker for turn in turns]),
        # times stay as written: whether 3/4 is in March or April, the file does not say
        meta={"start": times[0], "end": times[-1], **({"dropped": dict(dropped)} if dropped else {})},
        source=source.name,
    )


def _message(line: str) -> _Message | None:
    """The message that a line begins, or None where the line goes on with one."""
    spaced = _SPACES.sub(" ", line)
    plain = _MARKS.sub("", spaced)
    found = _IOS.match(plain) or _ANDROID.match(plain)
    if not found:
        return None
    # the marks behind the date are kept: they tell a notice from a message
    at = found.end()
    for mark in _MARKS.finditer(spaced):
        if mark.start() >= at:
            break
        at += 1
    return _Message(found["when"].strip(), [spaced[at:]])


def _read(message: _Message) -> tuple[str, Turn | None]:
    """The message's turn, and what of it was dropped ("" for nothing)."""
    first = message.lines[0]
    found = _SENDER.match(first)
    if not found or len(_QUOTE.findall(found["sender"])) % 2:
        return "system", None
    speaker = _MARKS.sub("", found["sender"]).strip().removeprefix("~").strip()
    begin, rest = first[found.end() :], message.lines[1:]
    bare = _MARKS.sub("", begin).strip()
    if _DELETED.fullmatch(bare):
        return "deleted", None
    if _GROUP_NOTICE.match(begin):
        return "system", None
    notice = begin.startswith(_NOTICE)
    media = _PLACEHOLDER.fullmatch(bare) or (notice and _OMITTED.fullmatch(bare))
    if notice and not media and not _ATTACHED.search(begin):
        return "system", None
    kept = [_EDITED.sub("", line) for line in ("" if media else begin, *rest)]
    text = join_speech(_MARKS.sub("", _ATTACHED.sub("", line)).strip() for line in kept)
    attached = media or any(_ATTACHED.search(line) for line in kept)
    return "media" if attached else "", Turn(speaker, text) if text and speaker else None


FORMAT = Format(
    "whatsapp",
    "WhatsApp export, iOS or Android: [12/31/23, 10:02:11 PM] Anna: … or 31.12.23, 22:02 - Anna: …",
    matches,
    read,
)
