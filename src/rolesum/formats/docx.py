"""The text of a Word document (.docx), such as a meeting's transcript: a line for each paragraph.

Only the few elements that hold text are read, and a document type is refused before the XML is parsed.
"""

import io
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from rolesum.errors import DataError

DOCUMENT = "word/document.xml"  # in the zip that a .docx is

_SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}  # elements that stand for a character
_FIX = "save it as text, or download the transcript as .vtt"


def document_text(xml: bytes, name: str) -> str:
    """The text of a document's XML: a line for each paragraph, and one with tabs for each row of a table.

    Raises DataError for what is no XML, and for a document type, whose entities could be of any size.
    """
    lines: list[str] = []
    rows: list[list[list[str]]] = []  # the cells of each table row that has begun
    pieces: list[str] = []
    runs = hidden = 0
    try:
        for event, element in _elements(xml, name):
            tag = element.tag.rpartition("}")[2]
            if event == "start":
                runs += tag == "r"
                hidden += tag == "Fallback"  # shows again what stands before it
                if tag == "tr":
                    rows.append([])
                elif tag == "tc" and rows:
                    rows[-1].append([])
                continue
            if tag == "t" and not hidden:
                pieces.append(element.text or "")
            elif runs and not hidden and tag in _SIGNS:
                pieces.append(_SIGNS[tag])
            elif tag == "p" and not hidden:
                (rows[-1][-1] if rows and rows[-1] else lines).append("".join(pieces))
                pieces = []
                element.clear()
            elif tag == "tr" and rows:
                cells = [" ".join(" ".join(cell).split()) for cell in rows.pop()]
                (rows[-1][-1] if rows and rows[-1] else lines).append("\t".join(cells))
                element.clear()
            runs -= tag == "r"
            hidden -= tag == "Fallback"
    except ElementTree.ParseError as error:
        raise DataError(f"a Word document whose XML is broken: {error}", name, _FIX) from None
    return "\n".join(lines)


def _elements(xml: bytes, name: str) -> Iterator[tuple[str, Any]]:
    """The elements of the XML, at their start and at their end."""
    # UTF-16 would hide a document type from this search
    if b"<!DOCTYPE" in xml or xml[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError("a Word document with a document type or in UTF-16, which is not read", name, _FIX)
    return ElementTree.iterparse(io.BytesIO(xml), ("start", "end"))
