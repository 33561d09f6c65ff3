"""Summaries as a document for people: each role with its doubtful statements marked, evidence, and the transcript.

`make_document` gathers what stands in it; `to_markdown` and, in word_document.py, `to_docx` write it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rolesum.atomic_io import atomic_write_bytes
from rolesum.checks import check_summary
from rolesum.dialogue import Dialogue, RoleSummary, SummaryStatement
from rolesum.errors import UsageError
from rolesum.formats.shown_times import shown_times
from rolesum.generation.statement_notes import MARK, support_text

SUFFIXES = (".md", ".markdown", ".docx")  # of files that are documents

_QUOTED_CHARACTERS = 200  # of a turn, as evidence
_MARKUP = re.compile(r"[\\`*_{}\[\]<>#|~&$]")
_BLOCK = re.compile(r"(\s*)([-+=>]|\d+(?=[.)]))")  # begins a list, a quotation or a heading's underline


# What a document says itself, in the language of the dialogue.
_WORDS = {
    "en": {
        "evidence": "Evidence",
        "transcript": "Transcript",
        "turn": "turn {n}",
        "support": "support {value}",
        "unknown": "unknown",
        "cut": "The text was cut off at the maximum of tokens.",
        "read": "The model read {read} of {turns} turns ({strategy}).",
        "doubtful": "The dialogue may not say:",
        "dropped": "Left out, as the dialogue may not say it:",
        "quoted": "Quotes stand for what the dialogue may not say ({n}).",
        "unverified": "{n} of {total} statements could not be verified.",
        "checks": "Checks without a model:",
    },
    "zh": {
        "evidence": "依据",
        "transcript": "对话原文",
        "turn": "第 {n} 轮",
        "support": "支持度 {value}",
        "unknown": "未知",
        "cut": "因长度上限截断。",
        "read": "模型读了 {turns} 轮中的 {read} 轮（{strategy}）。",
        "doubtful": "对话里可能没有说过：",
        "dropped": "已删去，对话里可能没有说过：",
        "quoted": "引文代替了对话里可能没有说过的内容（{n} 条）。",
        "unverified": "{total} 条陈述中有 {n} 条未能核对。",
        "checks": "无模型检查：",
    },
}


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a summary's text, and whether the dialogue may not say it."""

    text: str
    is_doubtful: bool = False


@dataclass(frozen=True, slots=True)
class TranscriptLine:
    """A turn: its time, or its number where the dialogue has no times."""

    mark: str
    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """A statement of a summary, its support ("" where it was not verified) and the turns that say it."""

    statement: Passage
    support: str
    turns: tuple[TranscriptLine, ...]


@dataclass(frozen=True, slots=True)
class RolePart:
    """What a document says for one role."""

    title: str
    passages: tuple[Passage, ...]
    notes: tuple[str, ...]
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class SummaryDocument:
    """The summaries of one dialogue with its transcript."""

    title: str
    roles: tuple[RolePart, ...]
    transcript: tuple[TranscriptLine, ...]
    words: Mapping[str, str]  # headings in the language of the dialogue


def make_document(
    dialogue: Dialogue, summaries: Sequence[RoleSummary], titles: Sequence[str] | None = None
) -> SummaryDocument:
    """The document of a dialogue and its summaries; `titles` are those of the summaries, by default their roles."""
    words = _WORDS.get(dialogue.language, _WORDS["en"])
    times = shown_times(dialogue) or [""] * len(dialogue.turns)
    lines = tuple(
        TranscriptLine(time or words["turn"].format(n=place), turn.speaker, " ".join(turn.text.split()))
        for place, (turn, time) in enumerate(zip(dialogue.turns, times, strict=True), 1)
    )
    parts = [
        RolePart(
            title,
            tuple(_passages(one)),
            tuple(_notes(one, words)),
            tuple(_evidence(one, dialogue, lines, words)),
        )
        for one, title in zip(summaries, titles or [one.role for one in summaries], strict=True)
    ]
    return SummaryDocument(dialogue.id, tuple(parts), lines, words)


def _notes(summary: RoleSummary, words: Mapping[str, str]) -> list[str]:
    """What a reader must know of a text: that it was cut off, how much was read for it, what it may have wrong."""
    notes = [words["cut"]] if summary.finish_reason == "length" else []
    if (seen := summary.coverage) is not None:
        notes.append(words["read"].format(read=seen.read, turns=seen.turns, strategy=seen.strategy))
    if summary.quotes:
        notes.append(words["quoted"].format(n=len(summary.dropped)))
    dropped = () if summary.quotes else summary.dropped
    for key, those in (("doubtful", summary.doubtful), ("dropped", dropped)):
        if those:
            named = (f"{one.text} ({_support(one, summary, words)})" for one in those)
            notes.append(f"{words[key]} {'; '.join(named)}")
    if unknown := sum(one.support is None for one in summary.statements):
        notes.append(words["unverified"].format(n=unknown, total=len(summary.statements)))
    if flags := dict.fromkeys(flag for one in summary.statements for flag in one.flags):
        notes.append(f"{words['checks']} {'; '.join(flags)}")
    return notes


def _support(one: SummaryStatement, summary: RoleSummary, words: Mapping[str, str]) -> str:
    shown = support_text(one.support, summary.support_threshold)
    return words["support"].format(value=words["unknown"] if one.support is None else shown)


def _passages(summary: RoleSummary) -> list[Passage]:
    found, end = [], 0
    for one in summary.doubtful:
        found += [Passage(summary.text[end : one.start]), Passage(summary.text[one.start : one.end], True)]
        end = one.end
    return [one for one in (*found, Passage(summary.text[end:])) if one.text]


def _evidence(
    summary: RoleSummary, dialogue: Dialogue, lines: Sequence[TranscriptLine], words: Mapping[str, str]
) -> list[Evidence]:
    """The statements with their turns; of a summary that was not verified, the sentences."""
    if summary.support_threshold is None:
        sentences = check_summary(dialogue, summary.role, summary.text).evidence if summary.text.strip() else ()
        found = [(Passage(summary.text[one.start : one.end]), "", one.turns) for one in sentences]
        found = [one for one in found if any(map(str.isalpha, one[0].text))]  # a "1." of a list says nothing
    else:
        found = [
            (Passage(one.text, summary.is_doubtful(one)), _support(one, summary, words), one.turns)
            for one in summary.statements
        ]
    # turns that a client sends may not be those of the dialogue
    return [
        Evidence(said, support, tuple(_quoted(lines[place]) for place in turns if 0 <= place < len(lines)))
        for said, support, turns in found
    ]


def _quoted(line: TranscriptLine) -> TranscriptLine:
    text = line.text
    if len(text) > _QUOTED_CHARACTERS:
        text = f"{text[:_QUOTED_CHARACTERS].rstrip()}…"
    return TranscriptLine(line.mark, line.speaker, text)


def to_markdown(documents: Sequence[SummaryDocument]) -> str:
    """The documents as Markdown (CommonMark), one after the other."""
    return "\n".join(line for document in documents for line in _markdown_lines(document))


def _markdown_lines(document: SummaryDocument) -> list[str]:
    lines = [f"# {_escaped(document.title)}", ""]
    for role in document.roles:
        text = "".join(f"{one.text} {MARK}" if one.is_doubtful else one.text for one in role.passages)
        lines += [f"## {_escaped(role.title)}", "", "  \n".join(map(_escaped, text.strip().split("\n"))), ""]
        for note in role.notes:
            lines += [f"> {_escaped(note)}", ""]
        if role.evidence:
            lines += [f"### {document.words['evidence']}", ""]
        for one in role.evidence:
            said = " ".join(one.statement.text.split()) + (f" {MARK}" if one.statement.is_doubtful else "")
            lines.append(f"- {_escaped(said)}" + (f" — {one.support}" if one.support else ""))
            lines += [f"  - {_line_in_markdown(turn)}" for turn in one.turns]
        lines += [""] if role.evidence else []
    lines += [f"## {document.words['transcript']}", ""]
    for line in document.transcript:
        lines += [_line_in_markdown(line), ""]
    return lines


def _line_in_markdown(line: TranscriptLine) -> str:
    return f"{_escaped(line.mark)} **{_escaped(line.speaker)}:** {_escaped(line.text)}"


def _escaped(text: str) -> str:
    """A text of one line in which nothing is markup."""
    plain = _MARKUP.sub(lambda found: f"\\{found[0]}", " ".join(text.splitlines()))
    begins = _BLOCK.match(plain)
    if not begins:
        return plain
    if begins[2].isdecimal():  # "1." begins a list, and "1\." does not
        return f"{begins[0]}\\{plain[begins.end() :]}"
    return f"{begins[1]}\\{plain[begins.end(1) :]}"


def check_document_path(path: Path) -> bool:
    """Whether a file is to be a document, by its suffix. Raises UsageError where the extra for it is not installed."""
    if path.suffix.lower() == ".docx":
        check_docx()
    return path.suffix.lower() in SUFFIXES


def check_docx() -> None:
    """Raise UsageError where Word documents cannot be written."""
    try:
        import docx  # noqa: F401
    except ImportError:
        what = "Word documents cannot be written: python-docx is not installed"
        raise UsageError(what, fix="pip install 'rolesum[docx]', or write Markdown (.md)") from None


def document_bytes(documents: Sequence[SummaryDocument], suffix: str) -> bytes:
    """The documents as a file with one of SUFFIXES."""
    if suffix.lower() != ".docx":
        return to_markdown(documents).encode("utf-8", "replace")
    from rolesum.generation.word_document import to_docx

    return to_docx(documents)


def write_document(path: str | Path, dialogues: Sequence[Dialogue], summaries: Sequence[Sequence[RoleSummary]]) -> None:
    """Write summaries with evidence and transcripts as one document: Markdown, or Word where the path ends with .docx.

    Args:
        path: The file, whose name ends with .md, .markdown or .docx. It is written completely or not at all.
        dialogues: The dialogues, whose turns are the transcripts.
        summaries: The summaries of each dialogue, as a Summarizer returns them for a list.

    Raises UsageError for another suffix, and where python-docx is not installed.
    """
    path = Path(path)
    if not check_document_path(path):
        raise UsageError(f"{path.name} is no document", fix=f"end its name with {', '.join(SUFFIXES)}")
    made = [make_document(one, of) for one, of in zip(dialogues, summaries, strict=True)]
    atomic_write_bytes(path, document_bytes(made, path.suffix))
