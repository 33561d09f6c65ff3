"""Headers and footers that programs write around a transcript: a title, attendees, "Transcribed by …"."""

import re
from collections.abc import Collection, Sequence

from rolesum.formats.clock import has_clock, time_end

_MOST_LINES = 40  # of a header; more are a text that is no transcript

_RULE = re.compile(r"[=_*#~—–-]{3,}")
_HEADINGS = re.compile(
    r"(?:(?:full|meeting|call|chat|video|auto|automatic)?[ -]?transcript(?:ion)?|attendees|participants|speakers|"
    r"invited|(?:summary )?keywords|conversation|chat (?:history|log|transcript)|"
    r"transkript|teilnehmer|gesprächsprotokoll|transcripci[óo]n|asistentes|participantes|transcriç[ãa]o|trascrizione|"
    r"partecipanti|deelnemers|transcriptie|стенограмма|расшифровка|участники|"
    r"会议记录|會議記錄|会议纪要|文字记录|文字記錄|逐字稿|转写|聊天记录|聊天記錄|与会者|與會者|参会人员?|參會人員?|参与者|"
    r"議事録|参加者|文字起こし|회의록|참석자)\s*[:：]?(?:\s*\(\d+\))?",
    re.IGNORECASE,
)
_NOTICE = re.compile(
    r"- transcript$|computer[ -]generated|(?:auto|machine)[ -]?(?:matically )?(?:generated|transcribed)|"
    r"might contain errors|transcri(?:bed|ption|pt) (?:by|with|from|provided)|generated (?:by|with)|"
    r"^(?:this )?(?:chat|conversation|transcript|recording)\b.{0,40}\b(?:exported|saved|history|started|recorded)\b|"
    r"(?:exported|saved|recorded|created) (?:on|by|at|from|with)\b|^https?://\S+$|"
    r"^[^:：]{1,60} (?:started|stopped) (?:the )?(?:transcription|recording)$|"
    r"消息记录|聊天记录|导出|匯出|エクスポート|保存日時|トーク履歴|카카오톡 대화|저장한 날짜",
    re.IGNORECASE,
)
_FIELD = re.compile(
    r"(?:(?:chat|meeting|call|session|conversation|recording|transcript|interview|ticket|case|visitor|customer|agent|"
    r"operator|user|contact|file|audio) )?"
    r"(?:date|time|title|subject|topic|duration|length|location|language|status|type|started|ended|start|end|"
    r"start(?:ed)? (?:time|at|on)|end(?:ed)? (?:time|at|on)|id|created|created (?:at|on|by)|updated|closed|queue|"
    r"priority|department|tags?|rating|platform|browser|country|time ?zone|timestamp|timestamps|version|reason)"
    r"(?: \([^()]{1,20}\))?\s*[:：].*|"
    r"(?:meeting|call|organi[sz]er|recorded|recording|participants?|attendees|present|speakers|invited|"
    r"(?:visitor|customer|agent|operator|contact) (?:name|e-?mail|number|phone)|chat (?:with|url|link)|"
    r"guild|server|channel|case|ticket|conversation|session|file|source|assignee|"
    r"datum|titel|dauer|thema|teilnehmer|sprache|abteilung|fecha|título|duración|asunto|participantes|idioma|durée|"
    r"sujet|titre|objet|langue|data|durata|titolo|partecipanti|дата|тема|участники|"
    r"日期|时间|時間|标题|標題|主题|主題|会议|时长|地点|主持人|参会人员?|与会者|语言|部门|状态|"
    r"消息分组|消息对象|저장한 날짜)"
    r"(?: \([^()]{1,20}\))?\s*[:：].*",
    re.IGNORECASE,
)
_ANY_FIELD = re.compile(r"[^\s:：][^:：]{0,40}[:：].*")
_DATE = re.compile(r"\b(?:19|20)\d{2}[-/.年]\s?\d{1,2}\b|\b\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)?\d{2}\b|\b(?:19|20)\d{2}$")
_SPEAKER_LIST = re.compile(r"\s*(?:[,;，、；&]|\band\b|\bund\b|\bet\b|\by\b|\be\b)\s*")

_TALK = r"(?:meeting|call|recording|transcription|transcript|chat|conversation|session|interview|audio|video)"
_FOOTER = re.compile(
    r"\W{0,3}(?:this )?(?:editable )?"
    r"(?:transcript|transcription|transcribed|generated|exported|recorded|created|powered)\b.{0,20}\b(?:by|with|using|was|from)\b.{0,300}|"
    r"[^:：]{1,60} (?:stopped|ended) (?:the )?(?:transcription|recording)\.?|"
    r"exported \d+ messages?(?:\(s\))?\.?|"
    rf"\W{{0,3}}(?:the )?{_TALK}(?: has| was)? (?:ends?|ended|stopped|finished|closed|completed?|over)\b"
    r".{0,40}|"
    rf"\W{{0,3}}(?:end|fin|ende) (?:of|du|des|der) (?:the )?{_TALK}\W{{0,3}}|"
    r"[\[(<*=_~—–-]{1,9}\s*(?:the )?end\s*[\])>*=_~—–-]{1,9}|(?-i:END)|"
    rf"(?:(?:total|{_TALK}) )?(?:duration|length|(?:word|message|speaker) count)\s*[:：]\s*\d.{{0,40}}|"
    r"total (?:time|messages|words|speakers|participants)\s*[:：]\s*\d.{0,40}|"
    rf"(?:{_TALK} )?(?:ended|end time|closed|exported)(?: at| on)?\s*[:：]\s*.{{0,30}}\d.{{0,30}}|"
    r"\W{0,3}(?:转写|转录|会议|通话|聊天|记录)(?:已)?结束\W{0,3}",
    re.IGNORECASE,
)
# What a chat writes of its members, without a label: "Tom Field left the chat".
_MEMBER = re.compile(
    r"(?!(?:I|We|He|She|They|You|It|Who|Everyone|Everybody|Someone|Nobody) )(?:[^\W\d_a-z][\w.'’-]* ){1,4}"
    r"(?:has |have )?(?:left|joined|entered|exited) (?:the |this )?"
    r"(?:chat|meeting|call|conversation|room|session|group)(?: room)?\.?"
)
_ENDED_AFTER = re.compile(r"[^:：]{3,40}\s\d{1,2}:\d{2}:\d{2}\W{0,4}")  # Google Meet, in any language


def is_field(line: str) -> bool:
    """Whether a line is a field of a header, such as "Participants: Anna, Tom"."""
    return _FIELD.fullmatch(line) is not None


def is_field_like(line: str) -> bool:
    """Whether a line may be a field of a header that holds known ones: any words before a colon."""
    return _ANY_FIELD.fullmatch(line) is not None


def is_member_notice(line: str) -> bool:
    """Whether a line says of a member only that they came or went, such as "Tom Field left the chat"."""
    return _MEMBER.fullmatch(line) is not None


def is_notice(line: str) -> bool:
    """Whether a line is what a program says about a transcript, such as "Chat started on 12 March 2023, 10:01 PM"."""
    return _NOTICE.search(line) is not None


def find_footer(lines: Sequence[str]) -> int:
    """The place from which on the lines are a program's words below a transcript; the number of lines without any."""
    end = len(lines)
    marks = [line for line in lines if time_end(line) == len(line)]
    while end and (_FOOTER.fullmatch(lines[end - 1]) or _RULE.fullmatch(lines[end - 1])):
        end -= 1
    if end and marks and _ENDED_AFTER.fullmatch(lines[end - 1]) and end > 1:
        end -= 1
    return end


def is_frame(lines: Sequence[str], speakers: Collection[str]) -> bool:
    """Whether the lines before the first speaker are a program's header: at least one of them is known as such.

    A list of the speakers, a rule, a heading, a notice, a field ("Date: …"), or a title with a date.
    """
    if not lines or len(lines) > _MOST_LINES:
        return False
    return any(
        _RULE.fullmatch(line)
        or _HEADINGS.fullmatch(line)
        or _NOTICE.search(line)
        or _FIELD.fullmatch(line)
        or (_DATE.search(line) and len(line) <= 120 and (has_clock(line) or len(line.split()) <= 6))
        or _lists_speakers(line, speakers)
        for line in lines
    )


def _lists_speakers(line: str, speakers: Collection[str]) -> bool:
    parts = _SPEAKER_LIST.split(line)
    return len(parts) > 1 and all(part in speakers for part in parts)
