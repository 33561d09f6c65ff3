"""The rows of a CSV or TSV file as records, each with the line where it begins."""

import csv
import io
from collections.abc import Iterator

from rolesum.errors import Problem
from rolesum.formats.source import Record, Source


def csv_header(source: Source, delimiter: str = ",") -> list[str]:
    """The names in the first line."""
    try:
        cells = next(csv.reader(io.StringIO(source.lines[0]), delimiter=delimiter), [])
    except csv.Error:  # a line longer than any header
        return []
    return [cell.strip() for cell in cells]


def csv_records(source: Source, delimiter: str = ",") -> Iterator[Record | Problem]:
    """Each row as a record of column -> cell; a row of the wrong length and broken quotes come as a Problem."""
    text = io.StringIO(source.text, newline="")
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True)
    line = 2  # where the row in hand begins
    try:
        names = [name.strip() for name in next(reader, [])]
        for row in reader:
            if not row:
                continue
            while line < len(source.lines) and not source.lines[line - 1]:  # the csv module passes empty lines over
                line += 1
            place, line = f"{source.name}:{line}", reader.line_num + 1
            cells = dict(zip(names, row, strict=False))
            if len(row) != len(names):  # told from the row alone: a header may be far wider
                if any(cell.strip() for cell in cells.values()):
                    what = "the row has more or fewer cells than the header"
                    yield Problem(what, place, "put a text that holds commas in quotes")
                continue
            yield Record(cells, place)
    except csv.Error as error:
        yield Problem(f"broken CSV: {error}", f"{source.name}:{line}", "check the quotes of the row that begins here")
