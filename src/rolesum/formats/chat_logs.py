"""Text exports of chat apps: LINE, KakaoTalk, QQ, WeChat, Discord by DiscordChatExporter, and Teams' transcripts.

Each app begins a message with a head of its own, which holds the sender and the time; the text stands behind the head
or below it. Lines of the app itself, and messages of a picture or the like alone, are dropped; the dialogue's meta
counts them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.chat_services import DISCORD, TEAMS
from rolesum.formats.json_layouts import Layout, layout_format
from rolesum.formats.line_spaces import LINE_DAY, with_tabs
from rolesum.formats.source import Format, Source
from rolesum.formats.table import csv_header, csv_records
from rolesum.formats.turns import dropped_meta, join_speech, no_turns
from rolesum.roles import roles_of_speakers

_OUTRANKED = frozenset({"plain", "whatsapp"})  # their lines begin with a date too
_LOOKED_AT = 200  # lines of a file that tell its app
_TOP_LINES = 6  # of these, one may be the app's own

_MARKS = " \ufeff\u200e"
_NEVER = re.compile(r"(?!)")
_CLOCK = r"(?:上午|下午|午前|午後|오전|오후)?\s?\d{1,2}:\d{2}(?::\d{2})?(?:\s?[AaPp]\.?[Mm]\.?)?"
_ISO = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}\s+\d{1,2}:\d{2}(?::\d{2})?"
_KAKAO_DATE = (
    r"(?:\d{4}년 \d{1,2}월 \d{1,2}일|\d{4}\. ?\d{1,2}\. ?\d{1,2}\.?|[A-Z][a-z]{2,8} \d{1,2}, \d{4}(?:,| at)?),? "
    rf"{_CLOCK}"
)
_BRACKETED = re.compile(r"(?:\[[^\[\]]{1,30}\]\s*)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatLog:
    """How an app writes a chat.

    Attributes:
        heads: Lines that begin a message, with groups who and when, and text where it stands behind them.
        begin: A line at the top of the file by which the app is known.
        identifying_heads: How many of the heads, from the first on, identify the app in a file without a begin line.
        day: A line with the day of the messages below it.
        frame: Lines around messages: footers, rules, and headers of further chats; lines above the first message are
            no message in any case.
        system: Lines of the app in the chat, such as "Tom left".
        media: A message that holds no words.
        other_chat: A line that begins another chat, with the group name.
        block: A line that begins what stands below a message and is none of its words.
        app_name: The sender, in a head, of what the app itself writes.
        sender: The parts of a sender in a head, with the groups name and account; None where the whole is the name.
        columns: The columns sender, text and time of the table that the app writes on some systems, in this order.
        prepare: Makes the lines of the shape of the others, where the app writes several.
    """

    name: str
    description: str
    heads: tuple[re.Pattern[str], ...]
    begin: re.Pattern[str] = _NEVER
    identifying_heads: int = 1
    day: re.Pattern[str] = _NEVER
    frame: re.Pattern[str] = _NEVER
    system: re.Pattern[str] = _NEVER
    media: re.Pattern[str] = _BRACKETED
    other_chat: re.Pattern[str] = _NEVER
    block: re.Pattern[str] = _NEVER
    app_name: re.Pattern[str] = _NEVER
    sender: re.Pattern[str] | None = None
    columns: tuple[str, str, str] | None = None
    prepare: Callable[[Sequence[str]], Sequence[str]] = lambda lines: lines


@dataclass
class _Message:
    who: str
    time: str
    lines: list[str]
    is_blocked: bool = False


@dataclass
class _Chat:
    """One chat of a file as it is read."""

    name: str
    line: int
    messages: list[_Message] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


_LOGS = (
    ChatLog(
        name="line",
        description="LINE's chat history as text: day lines, then 22:01, name and text with tabs or spaces between",
        begin=re.compile(r"\[LINE\]"),
        heads=(re.compile(rf"(?P<when>{_CLOCK})\t(?P<who>[^\t]+)\t(?P<text>.*)"),),
        day=re.compile(LINE_DAY),
        system=re.compile(rf"{_CLOCK}\t.*"),
        prepare=with_tabs,
    ),
    ChatLog(
        name="kakaotalk",
        description="KakaoTalk's chats: 2023년 3월 12일 오후 10:01, 민수 : …, [민수] [오후 10:01] …, or a CSV (Mac)",
        begin=re.compile(r".*(?:카카오톡 대화|KakaoTalk Chats|저장한 날짜 ?:)"),
        heads=(
            re.compile(rf"(?P<when>{_KAKAO_DATE}), (?P<who>[^:]{{1,60}}?) : (?P<text>.*)"),
            re.compile(rf"\[(?P<who>[^\[\]]{{1,60}})\] \[(?P<when>{_CLOCK})\] (?P<text>.*)"),
        ),
        day=re.compile(r"-{5,}\s*(?P<day>[^-].*?)\s*-{5,}"),
        frame=re.compile(rf"{_KAKAO_DATE}|\d{{4}}년 \d{{1,2}}월 \d{{1,2}}일 \S요일"),
        system=re.compile(
            rf"{_KAKAO_DATE}[,:].*|"
            r".{1,60}님이 (?:들어왔습니다|나갔습니다|.{1,60}님을 (?:초대|내보내).{1,10})\.?|"
            r".{1,60} (?:joined|left) this chatroom\.?|.{1,60} invited .{1,200}\."
        ),
        media=re.compile(
            r"(?:사진|동영상|이모티콘|음성메시지|Photos?|Videos?|Emoticons?|Sticker|Voice Note|Voice message)"
            r"(?: \d+(?:장| photos?)?)?|삭제된 메시지입니다\.?|This message was deleted\.?|(?:파일|File): .+"
        ),
        columns=("User", "Message", "Date"),
    ),
    ChatLog(
        name="qq",
        description="QQ's message history as text: 2023-03-12 22:01:05 小王(10001), the text on the next lines",
        begin=re.compile(r"消息记录（|消息(?:分组|对象)[:：]"),
        heads=(
            re.compile(rf"(?P<when>{_ISO})\s+(?P<who>\S[^:：]{{0,80}}(?:\(\d{{5,12}}\)|<[^<>@\s]+@[^<>\s]+>))"),
            re.compile(rf"(?P<when>{_ISO})\s+(?P<who>\S.{{0,80}})"),
        ),
        frame=re.compile(r"消息记录（.*|消息分组[:：].*|={5,}"),
        other_chat=re.compile(r"消息对象[:：](?P<name>.*)"),
        app_name=re.compile(r"系统消息.*"),
        sender=re.compile(r"(?:【[^【】]{1,20}】)?(?P<name>.*?)\s*(?P<account>\(\d{5,12}\)|<[^<>]{3,80}>)?"),
    ),
    ChatLog(
        name="wechat",
        identifying_heads=0,  # Otter's heads look alike
        description="WeChat's chat history as text: ———— 2023-03-12 ————, then 小王 22:01, the text below",
        begin=re.compile(
            r"[—―–-]{3,}\s*\d{4}-\d{1,2}-\d{1,2}\s*[—―–-]{3,}|.*微信.{0,20}聊天记录|.*WeChat chat history",
            re.IGNORECASE,
        ),
        heads=(
            re.compile(r"(?P<who>[^\s:：][^:：]{0,60}?)[:：]?\s+(?P<when>\d{1,2}:\d{2}(?::\d{2})?)"),
            re.compile(rf"(?P<who>[^\s\[:：][^:：]{{0,60}}?)[:：]?\s*[(（]?(?P<when>{_ISO})[)）]?"),
        ),
        day=re.compile(r"[—―–-]{3,}\s*(?P<day>\d{4}-\d{1,2}-\d{1,2})\s*[—―–-]{3,}"),
        system=re.compile(
            r'.{0,30}(?:撤回了一条消息|邀请.{1,40}加入了群聊|recalled a message)\.?|"?.{1,30}"? ?拍了拍.{0,40}'
        ),
    ),
)

_DISCORD_LOG = ChatLog(
    name="discord",
    description=DISCORD.description,
    begin=re.compile(r"Guild: "),
    heads=(
        re.compile(
            r"\[(?P<when>\d{1,4}[-/. ](?:\d{1,2}|[^\W\d]{3,9})[-/. ]\d{1,4},? "
            r"\d{1,2}:\d{2}(?::\d{2})?(?: ?[AaPp][Mm])?)\] (?P<who>[^:]{1,80}?)(?: \(pinned\))?"
        ),
    ),
    frame=re.compile(r"={5,}|Exported [\d,.]+ message\(s\)"),
    block=re.compile(r"\{(?:Attachments|Embed|Stickers|Reactions|Inline Emojis)\}"),
)

_TEAMS_LOG = ChatLog(
    name="teams",
    description=TEAMS.description,
    identifying_heads=0,  # Otter's heads are the same
    begin=re.compile(r".*-\d{8}_\d{6}(?:UTC)?-|.{1,80} started transcription|(?:\d{1,2}h )?\d{1,3}m(?: \d{1,2}s)?$"),
    heads=(re.compile(r"(?P<who>\S.{0,80}?)\s{2,}(?P<when>(?:\d{1,2}:)?\d{1,2}:\d{2})"),),
    frame=re.compile(r".{1,80} (?:started|stopped) transcription"),
)


def _matches(log: ChatLog, source: Source) -> bool:
    """Whether a file is the app's: a line near its beginning names the app, or it begins with an identifying head."""
    if source.is_json or source.files:
        return False
    if log.columns and _is_table(log.columns, source):
        return True
    begin = [stripped for line in log.prepare(source.lines[:_LOOKED_AT]) if (stripped := line.strip(_MARKS))]
    if any(log.begin.match(line) for line in begin[:_TOP_LINES]):
        return any(_head(log.heads, line) for line in begin)
    above = (place for place, line in enumerate(begin) if not (log.day.fullmatch(line) or _is_notice(log, line)))
    first = next(above, 0)
    heads = [place for place, line in enumerate(begin) if _head(log.heads[: log.identifying_heads], line)]
    if len(heads) < 2 or heads[0] != first:
        return False
    has_text_below = all(later - one > 1 for one, later in pairwise([*heads, len(begin)]))
    return has_text_below or "text" in log.heads[0].groupindex


def _is_notice(log: ChatLog, line: str) -> bool:
    """Whether the app itself wrote the line in the chat."""
    return _head(log.heads, line) is None and log.system.fullmatch(line) is not None


def _head(heads: Sequence[re.Pattern[str]], line: str) -> re.Match[str] | None:
    return next((found for head in heads if (found := head.fullmatch(line))), None)


def _is_table(columns: Sequence[str], source: Source) -> bool:
    return sorted(csv_header(source)) == sorted(columns)


def _read(log: ChatLog, source: Source) -> Iterator[Dialogue | Problem]:
    if log.columns and not source.is_json and _is_table(log.columns, source):
        yield from _read_table(log, log.columns, source)
        return
    chats = _chats(log, source)
    heard = [chat for chat in chats if chat.messages]
    if not heard:
        fix = "leave --format out, so that the format is detected, or see docs/formats.md"
        yield Problem(f"no line begins a message of the format {log.name}", source.name, fix)
    for number, chat in enumerate(heard, 1):
        identity = source.stem if len(heard) == 1 else chat.name or f"{source.stem}-{number}"
        yield _dialogue(log, chat, identity, f"{source.name}:{chat.line}" if len(heard) > 1 else source.name)


def _read_table(log: ChatLog, columns: tuple[str, str, str], source: Source) -> Iterator[Dialogue | Problem]:
    """The chat of a table, whose rows are messages; nothing but problems where a row is broken."""
    chat, is_broken = _Chat("", 1), False
    for record in csv_records(source):
        if isinstance(record, Problem):
            is_broken = True
            yield record
            continue
        who, text, when = (record.value[column].strip() for column in columns)
        if not who or log.system.fullmatch(text):
            chat.dropped["system"] += 1
        else:
            chat.messages.append(_Message(who, when, text.split("\n")))
    if not is_broken:
        yield _dialogue(log, chat, source.stem, source.name)


def _chats(log: ChatLog, source: Source) -> list[_Chat]:
    chats = [_Chat("", 1)]
    day = ""
    for number, written in enumerate(log.prepare(source.lines), 1):
        line = written.strip(_MARKS)
        chat = chats[-1]
        if other := log.other_chat.fullmatch(line):
            chats.append(_Chat(other["name"].strip(), number))
        elif found := _head(log.heads, line):
            when = found["when"].strip()
            time = when if re.search(r"\d{4}|[-/.]\d", when) or not day else f"{day} {when}"
            chat.messages.append(_Message(found["who"].strip(), time, [found.groupdict().get("text") or ""]))
        elif found := log.day.fullmatch(line):
            day = found.groupdict().get("day") or line
        elif log.frame.fullmatch(line):
            continue
        elif log.system.fullmatch(line):
            chat.dropped["system"] += 1
        elif chat.messages and line:
            last = chat.messages[-1]
            last.is_blocked = last.is_blocked or log.block.fullmatch(line) is not None
            if not last.is_blocked:
                last.lines.append(line)
    return chats


def _dialogue(log: ChatLog, chat: _Chat, identity: str, place: str) -> Dialogue | Problem:
    names = _names(log, chat)
    turns: list[Turn] = []
    for message in chat.messages:
        text = _text(message.lines)
        if not text or log.media.fullmatch(text):
            chat.dropped["media"] += 1
        elif log.app_name.fullmatch(message.who):
            chat.dropped["system"] += 1
        else:
            turns.append(Turn(names[message.who], text, message.time))
    if not turns:
        return no_turns(place)
    return Dialogue(
        id=identity,
        turns=tuple(turns),
        roles=roles_of_speakers([turn.speaker for turn in turns]),
        meta=dropped_meta(chat.dropped),
        source=place,
    )


def _text(lines: list[str]) -> str:
    """The lines of a message as one text; LINE puts those of several lines in quotes."""
    kept = [line.strip() for line in lines if line.strip()]
    if len(kept) > 1 and kept[0].startswith('"') and kept[-1].endswith('"'):
        kept = [kept[0][1:], *kept[1:-1], kept[-1][:-1]]
    return join_speech(kept).replace("\t", " ")


def _names(log: ChatLog, chat: _Chat) -> dict[str, str]:
    """Sender in a head -> name: without the account behind it, unless two accounts have the same name."""
    names = {message.who: message.who for message in chat.messages}
    if log.sender is None:
        return names
    accounts: dict[str, set[str]] = {}
    parts = {who: found for who in names if (found := log.sender.fullmatch(who))}
    for found in parts.values():
        accounts.setdefault(found["name"], set()).add(found["account"] or "")
    return names | {
        who: found["name"] for who, found in parts.items() if found["name"] and len(accounts[found["name"]]) == 1
    }


def _either(layout: Layout, log: ChatLog) -> Format:
    """The format of a program that writes JSON and text."""
    by_json = layout_format(layout)
    return Format(
        layout.name,
        layout.description,
        lambda source: by_json.matches(source) if source.is_json else _matches(log, source),
        lambda source: by_json.read(source) if source.is_json else _read(log, source),
        _OUTRANKED,
    )


FORMATS = (
    *(Format(log.name, log.description, partial(_matches, log), partial(_read, log), _OUTRANKED) for log in _LOGS),
    _either(DISCORD, _DISCORD_LOG),
    _either(TEAMS, _TEAMS_LOG),
)
