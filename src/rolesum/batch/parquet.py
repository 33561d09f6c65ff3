"""Parquet files as dialogues: each row is taken as the JSON object of its columns (extra: parquet)."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rolesum.batch.inputs import LINE_FORMATS, Cursor, ItemStream, parse_record
from rolesum.errors import DataError, UsageError, first_line
from rolesum.formats import FORMATS, ReadOptions, Source
from rolesum.formats.jsonl import FIELDS

ROWS_AT_ONCE = 256


def read_rows(path: Path, options: ReadOptions, mark: Cursor) -> ItemStream:
    """The rows from a mark on; its offset counts rows. Raises DataError for what is no Parquet file of dialogues.

    The columns are those of a format with one dialogue a line, such as `id` and `turns` (structs of speaker and text)
    or `id` and `dialogue` (text). Beside `turns`, columns that are no field of rolesum's format are passed over.
    """
    name = options.format
    if name not in (None, *LINE_FORMATS):
        raise UsageError(f"Parquet holds no {name}", str(path), f"leave --format out, or: {', '.join(LINE_FORMATS)}")
    for number, row in enumerate(_rows(path, mark.offset), mark.offset + 1):
        text = json.dumps(row, ensure_ascii=False, default=str)
        if name is None:
            name = next((one for one in LINE_FORMATS if FORMATS[one].matches(Source(str(path), text))), None)
        if name is None:
            what = f"the columns are of no known format: {', '.join(row)}"
            raise DataError(what, str(path), "give it id and turns, or id and dialogue; see docs/formats.md")
        yield Cursor(number), parse_record(text, f"{path}, row", number, replace(options, format=name))


def _rows(path: Path, start: int) -> Iterator[dict[str, Any]]:
    """Row after row from number `start` (counted from 0) on, as JSON values."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError("reading Parquet needs pyarrow", str(path), "pip install 'rolesum[parquet]'") from None
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            columns = [name for name in names if name in FIELDS] if "turns" in names else None
            begin, groups = 0, list[int]()
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if groups or begin + rows > start:
                    groups.append(group)
                else:
                    begin += rows
            passed = start - begin
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, row_groups=groups, columns=columns):
                if passed >= batch.num_rows:
                    passed -= batch.num_rows
                    continue
                for row in batch.slice(passed).to_pylist(maps_as_pydicts="strict"):
                    yield {name: _filled(value) for name, value in row.items() if value is not None}
                passed = 0
    except (pyarrow.ArrowException, OSError) as error:
        what = f"not to be read as Parquet: {first_line(error)}"
        raise DataError(what, str(path), "check the file") from None


def _filled(value: Any) -> Any:
    """A struct without the fields that this row has not: in Parquet every row has all of them."""
    return {name: one for name, one in value.items() if one is not None} if isinstance(value, dict) else value
