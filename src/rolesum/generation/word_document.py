"""Summaries as a Word document (.docx), by python-docx: the extra `docx`."""

import io
import re
from collections.abc import Sequence

from docx import Document
from docx.document import Document as WordDocument
from docx.enum.text import WD_UNDERLINE
from docx.shared import RGBColor
from docx.text.paragraph import Paragraph

from rolesum.generation.statement_notes import MARK
from rolesum.generation.summary_document import Passage, RolePart, SummaryDocument, TranscriptLine

_DOUBT, _SOFT = RGBColor(0xA0, 0x14, 0x6E), RGBColor(0x5A, 0x62, 0x75)
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def to_docx(documents: Sequence[SummaryDocument]) -> bytes:
    """The documents as one Word document, each from a new page on."""
    word = Document()
    word.core_properties.author = "rolesum"
    word.core_properties.comments = ""
    word.core_properties.title = _valid(documents[0].title)[:255] if documents else ""
    for number, document in enumerate(documents):
        if number:
            word.add_page_break()  # type: ignore[no-untyped-call]  # python-docx leaves it untyped
        word.add_heading(_valid(document.title), 0)
        for role in document.roles:
            _add_role(word, role, document.words["evidence"])
        word.add_heading(document.words["transcript"], 1)
        for line in document.transcript:
            _add_line(word.add_paragraph(), line)
    file = io.BytesIO()
    word.save(file)
    return file.getvalue()


def _add_role(word: WordDocument, role: RolePart, evidence: str) -> None:
    word.add_heading(_valid(role.title), 1)
    text = word.add_paragraph()
    for passage in role.passages:
        _add_passage(text, passage)
    for note in role.notes:
        run = word.add_paragraph().add_run(_valid(note))
        run.italic, run.font.color.rgb = True, _SOFT
    if role.evidence:
        word.add_heading(evidence, 2)
    for one in role.evidence:
        item = word.add_paragraph(style="List Bullet")
        _add_passage(item, one.statement)
        if one.support:
            item.add_run(f" — {one.support}").font.color.rgb = _SOFT
        for line in one.turns:
            _add_line(word.add_paragraph(style="List Bullet 2"), line)


def _add_passage(paragraph: Paragraph, passage: Passage) -> None:
    run = paragraph.add_run(_valid(passage.text))
    if passage.is_doubtful:
        run.underline = WD_UNDERLINE.DOTTED
        mark = paragraph.add_run(f" {MARK}")
        mark.bold, mark.font.color.rgb = True, _DOUBT


def _add_line(paragraph: Paragraph, line: TranscriptLine) -> None:
    paragraph.add_run(f"{_valid(line.mark)} ").font.color.rgb = _SOFT
    paragraph.add_run(f"{_valid(line.speaker)}: ").bold = True
    paragraph.add_run(_valid(line.text))


def _valid(text: str) -> str:
    """A text without the characters that XML cannot hold."""
    return _NOT_IN_XML.sub("\ufffd", text)
