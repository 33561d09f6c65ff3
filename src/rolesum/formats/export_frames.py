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
    r"(?:date|time|title|subject|topic|meeting|call(?: id)?|duration|length|location|organi[sz]er|agent id|"
    r"language|recorded|recording|started?|ended?|start time|end time|participants?|attendees|present|speakers|invited|"
    r"guild|server|channel|chat id|case|ticket|conversation(?: id)?|session(?: id)?|file|source|"
    r"datum|titel|dauer|thema|teilnehmer|fecha|título|duración|asunto|participantes|durée|sujet|titre|objet|"
    r"data|durata|titolo|partecipanti|дата|тема|участники|"
    r"日期|时间|時間|标题|標題|主题|主題|会议|时长|地点|主持人|参会人员?|与会者|消息分组|消息对象|저장한 날짜)"
    r"\s*[:：].*",
    re.IGNORECASE,
)
_DATE = re.compile(r"\b(?:19|20)\d{2}[-/.年]\s?\d{1,2}\b|\b\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)?\d{2}\b|\b(?:19|20)\d{2}$")
_SPEAKER_LIST = re.compile(r"\s*(?:[,;，、；&]|\band\b|\bund\b|\bet\b|\by\b|\be\b)\s*")

_FOOTER = re.compile(
    r"(?:this )?(?:editable )?(?:transcript|transcription|transcribed|generated|exported|recorded|created|powered)\b"
    r".{0,20}\b(?:by|with|using|was|from)\b.{0,80}|"
    r"[^:：]{1,60} (?:stopped|ended) (?:the )?(?:transcription|recording)\.?|"
    r"exported \d+ messages?(?:\(s\))?\.?|"
    r"(?:the )?(?:meeting|call|recording|transcription|transcript|chat|conversation|session)(?: has| was)? "
    r"(?:ended|stopped|finished|closed|over)\b.{0,40}|"
    r"\W{0,3}(?:end|fin|ende) (?:of|du|des|der) (?:the )?(?:transcript|transcription|meeting|call|chat)\W{0,3}|"
    r"\W{0,3}(?:转写|转录|会议|通话|聊天|记录)(?:已)?结束\W{0,3}",
    re.IGNORECASE,
)
_ENDED_AFTER = re.compile(r"[^:：]{3,40}\s\d{1,2}:\d{2}:\d{2}\W{0,4}")  # Google Meet, in any language


def is_field(line: str) -> bool:
    """Whether a line is a field of a header, such as "Participants: Anna, Tom"."""
    return _FIELD.fullmatch(line) is not None


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
