"""LINE's chat history in which spaces stand in place of tabs: 22:01 Nadia Brook My parcel …

LINE for computers writes groups so. Nothing marks where the name ends; the header, and what all messages of a sender
begin with, tell it.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

_WEEKDAY = r"(?:[(（][^()（）]{1,12}[)）]|[^\W\d]{1,12})"
_DATE = r"\d{4}[/.]\d{1,2}[/.]\d{1,2}\.?\s?"
_WEEKDAY_FIRST = r"[^\W\d]{2,12}, \d{1,2}/\d{1,2}/\d{4}"
LINE_DAY = rf"{_DATE}{_WEEKDAY}?|{_WEEKDAY_FIRST}"
LINE_CLOCK = r"(?:上午|下午|午前|午後|오전|오후)?\s?\d{1,2}:\d{2}(?:\s?[AaPp]\.?[Mm]\.?)?"

_MARKS = " \ufeff\u200e"
_DAY = re.compile(rf"{_DATE}{_WEEKDAY}|{_WEEKDAY_FIRST}")
_MESSAGE = re.compile(rf"(?P<when>{LINE_CLOCK}) +(?P<rest>\S.*)")
_BEGIN = re.compile(r"\[LINE\]\s*|Chat history (?:with|in) ")
_HEADER_NAME = re.compile(
    r"(?:\[LINE\] ?)?(?:Chat history with (?P<en>.+)|(?P<ja>.+?)とのトーク履歴|"
    r"[与與](?P<zh>.+?)的(?:聊天[记記][录錄]|[对對][话話])|"
    r"(?P<ko>.+?) ?님과의 대화|ประวัติการสนทนากับ ?(?P<th>.+))"
)
# What the app itself writes about members, calls and messages that were taken back.
_SYSTEM = re.compile(
    r".{1,60} (?:joined|left) the (?:group|chat|room)\.?|"
    r".{1,60} (?:added|invited|removed) .{1,120} (?:to|from) the (?:group|chat|room)\.?|"
    r".{1,60} unsent a message\.?|(?:☎ ?)?(?:Group )?(?:[Vv]ideo |[Vv]oice )?[Cc]all (?:has )?(?:started|ended)\.?|"
    r".{1,60} (?:changed|created|deleted) the (?:group|chat|album|note|theme|background|cover)\b.{0,60}|"
    r".{1,60}が(?:グループ(?:に参加|を退会)し|.{1,40}を(?:招待し|退会させ|追加し)|メッセージの送信を取り消し)ました。?|"
    r"グループ通話が(?:開始|終了)(?:され|し)ました。?|"
    r".{1,60}(?:加入|退出|離開|离开)(?:了)?(?:群組|群组|聊天室)。?|.{1,60}已?收回(?:了)?(?:訊息|消息|一則訊息)。?"
)
_MEDIA = re.compile(
    r"(?:Photos?|Stickers?|Videos?|Audio|Voice messages?|Files?|Contacts?|Locations?|Albums?|Notes?|Polls?|Gifts?|"
    r"写真|スタンプ|動画|ファイル|アルバム|ボイスメッセージ|位置情報|ノート|投票|"
    r"照片|圖片|图片|貼圖|贴图|影片|视频|檔案|文件|語音訊息|语音消息|相簿|사진|스티커|동영상|파일)|"
    r"Message unsent\.?|メッセージの送信を取り消しました。?"
)


def with_tabs(lines: Sequence[str]) -> Sequence[str]:
    """The lines as LINE for phones writes them, with tabs around the name; unchanged where they are no such export."""
    stripped = [line.strip(_MARKS) for line in lines]
    first = next((place for place, line in enumerate(stripped) if line), 0)
    begins = bool(stripped) and (_BEGIN.match(stripped[first]) or _DAY.fullmatch(stripped[first]))
    if not begins or any("\t" in line and re.match(LINE_CLOCK, line) for line in stripped):
        return lines
    found = {place: message for place, line in enumerate(stripped) if (message := _MESSAGE.fullmatch(line))}
    if len(found) < 2 or any(re.match(r"[^\s:：]{1,30}[:：](?:\s|$)", one["rest"]) for one in found.values()):
        return lines  # with a colon behind the name it is a transcript of another kind
    if all(place + 1 < len(stripped) and stripped[place + 1] and place + 1 not in found for place in found):
        return lines  # heads over the speech
    header = _HEADER_NAME.fullmatch(stripped[first])
    known = next((name.strip() for name in header.groups() if name), "") if header else ""
    said = {place: one["rest"] for place, one in found.items() if not _SYSTEM.fullmatch(one["rest"])}
    names = _names(list(said.values()), known)
    written = list(lines)
    for place, one in found.items():
        name = "" if place not in said else known if _begins(one["rest"], known) else names[one["rest"].split(" ")[0]]
        text = one["rest"][len(name) :].strip()
        written[place] = f"{one['when']}\t{name}\t{f'[{text}]' if _MEDIA.fullmatch(text) else text}"
    return written


def _names(said: Sequence[str], known: str) -> dict[str, str]:
    """First word -> the name: all words that each of several messages has at its beginning, but for the known name.

    Of two messages these may be the first words of what is said: they are a name where they are capitalized.
    """
    groups: dict[str, list[list[str]]] = defaultdict(list)
    for rest in said:
        if not _begins(rest, known):
            words = rest.split(" ")
            groups[words[0]].append(words)
    names = {}
    for first, messages in groups.items():
        size = 1
        while (
            len(messages) > 1
            and all(len(words) > size + 1 and words[size] == messages[0][size] for words in messages)
            and (len(messages) > 2 or messages[0][size].rstrip(".").istitle())
        ):
            size += 1
        names[first] = " ".join([first, *messages[0][1:size]])
    return names


def _begins(rest: str, name: str) -> bool:
    return bool(name) and rest.startswith(f"{name} ")
