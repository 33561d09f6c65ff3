"""Zoom's texts: the transcript, "[Anna] 10:02:11" on a line of its own, and the chat, "10:02:11 From Anna to All:".

The chat of a recording has "00:12:34", "Anna:" and the message between tabs.

What is said stands below such a line, in the chat also behind it. Of the chat, reactions and the quotes of answered
messages are dropped and counted; the recipient of a message is not kept.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.clock import MARKS, time_end
from rolesum.formats.source import Format, Source
from rolesum.formats.turns import dropped_meta, join_speech, transcript_dialogue

_HEAD = re.compile(r"\s*\[(?P<speaker>[^\[\]]{1,80})\]\s+(?P<time>\d{1,2}:\d{2}:\d{2}(\s*[AaPp][Mm])?)\s*$")
# "From Anna to Everyone" in the languages of Zoom; a private message says so behind the recipient.
_FROM = r"(?:From|Von|De|Da|Van|Od|От|Від|来自|來自|從|開始|보낸 사람)"
_TO = r"(?:to|an|à|a|para|pour|naar|aan|do|кому|для|到|至|发送至|收件人|に|終了|받는 사람)"
_SENDER = re.compile(rf"{_FROM}\s+(?P<speaker>[^:：]{{1,80}}?)(?:\s+{_TO}\s+(?P<to>[^:：]{{1,80}}?))?\s*[:：](?=\s|$)")
_BETWEEN_TABS = re.compile(r"[^\S\t]*\t\s*(?P<speaker>[^:：\t]{1,80}?)\s*[:：]\s*(?:\t|$)")
_REACTION = re.compile(r"(?:Reacted to|Removed a\b.{1,40}\breaction from)\s+[\"“].*")
_QUOTE = re.compile(r"Replying to\s+[\"“].*[\"”]\s*")


@dataclass
class _Said:
    """The lines that one speaker says at a time. Of one text, all begin in one shape."""

    speaker: str
    time: str
    shape: str
    lines: list[str] = field(default_factory=list)


def matches(source: Source) -> bool:
    return not source.is_json and _begin(next((line for line in source.lines if line.strip()), "")) is not None


def read(source: Source) -> Iterator[Dialogue | Problem]:
    said: list[_Said] = []
    stray = False
    for number, line in enumerate(source.lines, 1):
        begun = _begin(line)
        if begun and (not said or begun.shape == said[0].shape):  # "10:30 From what I know: …" may be said
            said.append(begun)
        elif line.strip() and said:
            said[-1].lines.append(line.strip())
        elif line.strip():
            stray = True
            yield Problem("no speaker", f"{source.name}:{number}", 'begin with a line such as "[Anna] 10:02:11"')
    if not stray:
        yield _dialogue(source, said)


def _dialogue(source: Source, said: list[_Said]) -> Dialogue | Problem:
    dropped: Counter[str] = Counter()
    turns = []
    for one in said:
        lines = [line for line in one.lines if not (line is one.lines[0] and _QUOTE.fullmatch(line))]
        dropped["quote"] += len(one.lines) - len(lines)
        if lines and _REACTION.fullmatch(lines[0]):
            dropped["reaction"] += 1
        else:
            turns.append(Turn(one.speaker, join_speech(lines), one.time))
    dialogue = transcript_dialogue(turns, source.stem, source.name)
    return replace(dialogue, meta=dropped_meta(dropped)) if isinstance(dialogue, Dialogue) else dialogue


def _begin(line: str) -> _Said | None:
    """What a line begins: a speaker's part of a transcript, or a message of a chat; None for any other line."""
    if head := _HEAD.match(line):
        return _Said(head["speaker"].strip(), head["time"], "brackets")
    line = MARKS.sub("", line).strip()
    end = time_end(line)
    if end is None:
        return None
    behind = line[end:]
    sender = _SENDER.match(behind.lstrip())
    found = sender or _BETWEEN_TABS.match(behind)
    if not found:
        return None
    time, text = line[:end].strip(), found.string[found.end() :].strip()
    shape = f"{'sender' if sender else 'tabs'} {time.count(':')}"
    return _Said(" ".join(found["speaker"].split()), time, shape, [text] if text else [])


FORMAT = Format(
    "zoom",
    "Zoom transcript or chat as text: [Anna] 10:02:11 or 10:02:11 From Anna to Everyone:, the text on the next lines",
    matches,
    read,
    frozenset({"line"}),  # whose lines have tabs too, but no colon behind the name
)
