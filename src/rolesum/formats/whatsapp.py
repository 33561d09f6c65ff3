"""A WhatsApp chat as its export writes it: one dialogue, dates of any locale, messages over several lines.

iOS: "[12/31/23, 10:02:11 PM] Anna: text", formerly "31/12/2012 17:03:48: Anna: text". Android: "31.12.23, 22:02 - Anna:
text". Lines of the app itself are dropped, and so are deleted messages, media, polls and messages still waited for; the
dialogue's meta counts them. They are known by marks and brackets in any language, and by their words in those of
whatsapp_lines.yaml and whatsapp_calls.yaml.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import islice

import yaml

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.clock import MARKS, time_end
from rolesum.formats.source import Format, Source
from rolesum.formats.turns import dropped_meta, join_speech, no_turns
from rolesum.formats.whatsapp_calls import is_call_line
from rolesum.roles import roles_of_speakers

_NOTICE = "\u200e"  # begins what the app writes
_SPACES = re.compile(r"[\u00a0\u202f]")
_LONGEST_LINE = 300  # characters of what the app writes
_TRIED = 100  # messages, among which one must name its sender
_OWN_SHAPE = 4  # a shape that begins fewer than one in so many messages is not the export's own

_IN_BRACKETS = re.compile(r"\s*\[(?P<when>[^\[\]]{8,70})\]\s?")
# Words of long dates that name no day: the weekday and the era in Thai, the weekday and the preposition in Hebrew.
_WEEKDAY_BEFORE = re.compile(r"\s*(?:วัน[\u0e00-\u0e7f.]*|(?:ב?יום\s)?[א-ת]{1,6}['׳]?,)\s?(?=ה?-?\d{1,2}\s)")
_BEFORE_MONTH = re.compile(r"(?<=\d\s)ב-?(?=[א-ת])")
_ERA = re.compile(r"\s(?:พ\.ศ\.|ค\.ศ\.)(?=\s?\d)")
_THAI_OR_HEBREW = re.compile(r"[\u0590-\u05ff\u0e00-\u0e7f]")
_DATE_HEAD = 70  # characters in which a date stands
_BEHIND_DATE = re.compile(r"\s?[-–]\s|:\s")
_SENDER = re.compile(r"(?P<sender>[^:]{1,60}):(?:\s+|$)")
# On iOS a notice stands behind the group's name, which may hold a colon: "Trip: Rome: \u200eAnna left".
_GROUP_NOTICE = re.compile(r"[^:]{1,60}:\s+\u200e(?!<)")
# A notice may quote a group's name that holds a colon; what stands before it has an odd quote, and is no name.
_QUOTE = re.compile(r'["“”„«»「」]')

# A notice that ends so is of media, in languages that say "omitted" in one word.
_OMITTED = re.compile(r".*\b(?:omitted|weggelassen|omitid[oa]s?|omis)\b\.?|.*(?:已?忽略|已?省略)", re.IGNORECASE)
_EXTENSION = (
    r"\.(?:jpe?g|png|webp|heic|gif|mp4|mov|3gp|webm|opus|ogg|m4a|mp3|aac|amr|pdf|docx?|xlsx?|pptx?|vcf|zip|txt|csv|apk)"
)
_PLACEHOLDER = re.compile(rf"<[^<>]{{1,60}}>|[^\s/][^/]{{0,120}}{_EXTENSION} \([^()]{{3,40}}\)", re.IGNORECASE)
_ATTACHED = re.compile(
    rf"\u200e<[^<>:：]+[:：][^<>]+>|<[^<>:：]{{2,20}}[:：]\s?[^<>]{{1,120}}{_EXTENSION}>", re.IGNORECASE
)
# Some exports write the brackets of a mark as ‹ and ›, or one of them so.
_BEHIND_TEXT = re.compile(r"(?<!\s)\s*(?P<mark>\u200e?)[<‹](?P<words>[^<>‹›]{4,60})[>›]\s*$")
# A poll: its name in capitals, its question, and options with their votes, in any language.
_POLL = re.compile(r"[^\s:：]{3,20}[:：]")
_OPTION = re.compile(r"[^\s:：]{2,20}[:：]\s.*\(\D{0,3}\d+\D{0,20}\)")
_ENDS = ".。। \t"


@dataclass
class _Message:
    """What stands between one date and the next, marks included; `shape` is the sign that parts the date from it."""

    when: str
    lines: list[str]
    shape: str


def matches(source: Source) -> bool:
    if source.is_json or _message(next((line for line in source.lines if line.strip()), "")) is None:
        return False
    messages = filter(None, map(_message, source.lines))
    return any(_SENDER.match(message.lines[0]) for message in islice(messages, _TRIED))


def read(source: Source) -> Iterator[Dialogue | Problem]:
    messages: list[_Message] = []
    stray = False
    begun = [_message(line) for line in source.lines]
    shapes = Counter(message.shape for message in begun if message)
    own = {shape for shape, count in shapes.items() if _OWN_SHAPE * count >= shapes.total()}
    for number, (line, message) in enumerate(zip(source.lines, begun, strict=True), 1):
        if message and (message.shape in own or not messages):  # other dates were copied into a message
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
    dropped: Counter[str] = Counter()
    for message in messages:
        what, turn = _read(message)
        if turn:
            turns.append(turn)
        if what:
            dropped[what] += 1
    if not turns:
        return no_turns(source.name)
    return Dialogue(
        id=source.stem,
        turns=tuple(turns),
        roles=roles_of_speakers([turn.speaker for turn in turns]),
        # times stay as written: whether 3/4 is in March or April, the file does not say
        meta={"start": turns[0].time, "end": turns[-1].time, **dropped_meta(dropped)},
        source=source.name,
    )


def _message(line: str) -> _Message | None:
    """The message that a line begins, or None where the line goes on with one."""
    spaced = _SPACES.sub(" ", line)
    plain = MARKS.sub("", spaced)
    if found := _IN_BRACKETS.match(plain):
        when, at, shape = found["when"].strip(), found.end(), "["
        if time_end(_plain_date(when).strip(), dated=True) is None:
            return None
    else:
        date = _plain_date(plain)
        begin = len(date) - len(date.lstrip())
        end = time_end(date, begin, dated=True)
        behind = _BEHIND_DATE.match(plain, end) if end is not None else None
        if not behind:
            return None
        when, at, shape = plain[:end].strip(), behind.end(), behind[0].strip()
    # the marks behind the date are kept: they tell a notice from a message
    for mark in MARKS.finditer(spaced):
        if mark.start() >= at:
            break
        at += 1
    return _Message(when, [spaced[at:]], shape.replace("–", "-"))


def _plain_date(line: str) -> str:
    """The line, each character at its place, with spaces and a plain word for those of a long date that name no day."""
    head = line[:_DATE_HEAD]
    if not _THAI_OR_HEBREW.search(head):
        return line
    for words in (_WEEKDAY_BEFORE, _BEFORE_MONTH):
        head = words.sub(lambda found: " " * len(found[0]), head, count=1)
    return _ERA.sub(" ที่ ", head, count=1) + line[_DATE_HEAD:]


def _read(message: _Message) -> tuple[str, Turn | None]:
    """The message's turn, and what of it was dropped ("" for nothing)."""
    first = message.lines[0]
    found = _SENDER.match(first)
    if not found or len(_QUOTE.findall(found["sender"])) % 2:
        return "system", None
    speaker = MARKS.sub("", found["sender"]).strip().removeprefix("~").strip()
    begin, rest = first[found.end() :], message.lines[1:]
    bare = MARKS.sub("", begin).strip()
    what = _placeholder(bare)
    if what and not any(line.strip() for line in rest):
        return what, None
    if _GROUP_NOTICE.match(begin):
        return "system", None
    if _is_poll(bare, rest):
        return "poll", None
    notice = begin.startswith(_NOTICE)
    media = _PLACEHOLDER.fullmatch(bare) or (notice and _OMITTED.fullmatch(bare)) or what == "media"
    if notice and not media and not _ATTACHED.search(begin):
        return "system", None
    kept = [_without_edit_mark(line) for line in ("" if media else begin, *rest)]
    text = join_speech(MARKS.sub("", _ATTACHED.sub("", line)).strip() for line in kept)
    attached = media or any(_ATTACHED.search(line) for line in kept)
    return "media" if attached else "", Turn(speaker, text, message.when) if text and speaker else None


def _placeholder(text: str) -> str:
    """What the app wrote in place of a message: deleted, waiting, media or system; "" where a person wrote the text."""
    if len(text) > _LONGEST_LINE:
        return ""
    key = _key(text.strip("<>‹›"))
    whole, patterns = _placeholders()
    found = whole.get(key, "") or next((what for what, pattern in patterns if pattern.fullmatch(key)), "")
    return found or ("system" if is_call_line(text) else "")


def _without_edit_mark(line: str) -> str:
    found = _BEHIND_TEXT.search(line)
    if found and (_key(found["words"]) in _edit_marks() or (found["mark"] and not _ATTACHED.search(found[0]))):
        return line[: found.start()]
    return line


def _is_poll(first: str, rest: list[str]) -> bool:
    lines = [line for written in rest if (line := MARKS.sub("", written).strip())]
    options = sum(_OPTION.fullmatch(line) is not None for line in lines)
    return _POLL.fullmatch(first) is not None and first == first.upper() and options > 1


def _key(text: str) -> str:
    return unicodedata.normalize("NFC", text.rstrip(_ENDS)).casefold()


@cache
def _lines() -> dict[str, dict[str, list[str]]]:
    written = resources.files("rolesum.formats").joinpath("whatsapp_lines.yaml").read_text(encoding="utf-8")
    lines: dict[str, dict[str, list[str]]] = yaml.safe_load(written)
    return lines


@cache
def _placeholders() -> tuple[dict[str, str], list[tuple[str, re.Pattern[str]]]]:
    """Whole texts -> what they are, and patterns of those that hold a name."""
    phrases = [
        (_key(phrase), what)
        for what in ("deleted", "waiting", "media", "system")
        for of_language in _lines()[what].values()
        for phrase in of_language
    ]
    whole = {phrase: what for phrase, what in phrases if "*" not in phrase}
    named = [(phrase, what) for phrase, what in phrases if "*" in phrase]
    return whole, [(what, re.compile(re.escape(phrase).replace(r"\*", ".{1,200}"))) for phrase, what in named]


@cache
def _edit_marks() -> frozenset[str]:
    return frozenset(_key(phrase) for of_language in _lines()["edited"].values() for phrase in of_language)


FORMAT = Format(
    "whatsapp",
    "WhatsApp export, iOS or Android: [12/31/23, 10:02:11 PM] Anna: … or 31.12.23, 22:02 - Anna: …",
    matches,
    read,
)
