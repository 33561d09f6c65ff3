"""Transcripts in Word documents: their text is read as that of any other file."""

import zipfile

import pytest

from rolesum.errors import DataError
from rolesum.formats import open_source, read_dialogues, sniff_format
from rolesum.formats.docx import document_text
from rolesum.formats.options import SourceLimits
from rolesum.formats.source import decode_source

XMLNS = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
TABS = '<w:pPr><w:tabs><w:tab w:val="left"/></w:tabs></w:pPr>'
SAID = [("Nadia Brook", "My parcel has not come."), ("Tom Field", "I will look.")]


def paragraph(*lines):
    runs = [f'<w:r><w:rPr><w:b/></w:rPr><w:t xml:space="preserve">{line}</w:t></w:r>' for line in lines]
    return f"<w:p>{TABS}{'<w:r><w:br/></w:r>'.join(runs)}</w:p>"


def table(*rows):
    cells = ["".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) for row in rows]
    return f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in cells)}</w:tbl>"


def document(*parts, kind=""):
    body = "".join(part if part.startswith("<w:") else paragraph(part) for part in parts)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{kind}<w:document {XMLNS}><w:body>{body}</w:body></w:document>'.encode()
    )


@pytest.fixture
def docx(tmp_path):
    def write(*parts):
        with zipfile.ZipFile(tmp_path / "call.docx", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("[Content_Types].xml", "<Types/>")
            archive.writestr("word/document.xml", document(*parts))
        return tmp_path / "call.docx"

    return write


TEAMS = (
    "Weekly sync-20240312_100000-Meeting Recording",
    "March 12, 2024, 10:00AM",
    "5m 40s",
    "Nadia Brook started transcription",
    paragraph("Nadia Brook   0:03", "My parcel has not come."),
    paragraph("Tom Field   1:00:09", "I will look."),
    "Tom Field stopped transcription",
)
OLDER_TEAMS = (
    "0:0:0.0 --&gt; 0:0:3.120",
    "Nadia Brook",
    "My parcel has not come.",
    paragraph("0:0:3.120 --&gt; 0:0:5.0", "Tom Field", "I will look."),
)


@pytest.mark.parametrize(
    ("parts", "form"),
    [
        (TEAMS, "teams"),
        (OLDER_TEAMS, "srt"),
        (("Nadia Brook: My parcel has not come.", "", "Tom Field: I will look."), "plain"),
        ((table(("Speaker", "Text"), SAID[0], SAID[1]),), "csv"),
    ],
)
def test_a_documents_paragraphs_and_tables_are_read_as_text(docx, parts, form):
    path = docx(*parts)
    assert sniff_format(open_source(path)).name == form
    (dialogue,) = read_dialogues(path)
    assert [(turn.speaker, turn.text) for turn in dialogue.turns] == SAID
    assert dialogue.id == "call"


def test_the_times_of_a_teams_transcript_are_kept(docx):
    (dialogue,) = read_dialogues(docx(*TEAMS))
    assert [turn.time for turn in dialogue.turns] == ["0:03", "1:00:09"]


def test_breaks_and_tabs_are_text_and_tab_stops_are_not():
    xml = document(paragraph("one", "two"), "<w:p><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t></w:r></w:p>")
    assert document_text(xml, "x.docx") == "one\ntwo\na\tb"


@pytest.mark.parametrize("xml", [b"<w:document>", document("x", kind="<!DOCTYPE d [<!ENTITY a 'b'>]>"), b"\xff\xfe<\0"])
def test_broken_xml_and_document_types_are_refused(xml):
    with pytest.raises(DataError, match="Word document"):
        document_text(xml, "x.docx")


def test_a_document_that_unpacks_to_more_than_the_caller_allows_is_refused(docx):
    path = docx("a" * 10_000)
    with pytest.raises(DataError, match="at most 5,000 are read"):
        decode_source(path.read_bytes(), "x.docx", SourceLimits(max_bytes=5_000))
