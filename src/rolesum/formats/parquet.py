"""Parquet (extra: parquet): each row as the JSON object of its columns, as a line of JSON lines would hold it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rolesum import strict_json
from rolesum.errors import DataError, UsageError, error_summary

SUFFIX = ".parquet"
MAGIC = b"PAR1"  # the first bytes of a file
BATCH_ROWS = 256

# rolesum's own fields, which are read where there is a column of turns; other columns are not.
FIELDS = ("id", "turns", "roles", "summaries", "statements", "pairs", "language", "meta")
_TURN_FIELDS = ("speaker", "text", "time")
_ID_COLUMNS = ("id", "DialogueID", "fname")


def parquet_lines(path: Path, start: int = 0) -> Iterator[str]:
    """The rows from number `start` (counted from 0) on, each as a line of JSON.

    Of structs in `turns`, the fields speaker, text and time are read; a null text is a turn without text, and
    null turns are none. An id that is
    a whole number may be a float, as pandas writes a column with nulls. Raises DataError for a file that is not
    Parquet, UsageError where pyarrow is not installed.
    """
    for row in _rows(path, start):
        value = {name: _value(name, cell) for name, cell in row.items() if cell is not None}
        if "turns" in row:  # a row without turns is a problem of its own, also where it is the file's first
            value.setdefault("turns", [])
        yield strict_json.dumps(value, ensure_ascii=False, default=str)


def _rows(path: Path, start: int) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError("reading Parquet needs pyarrow", str(path), "pip install 'rolesum[parquet]'") from None
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            columns = [name for name in names if name in FIELDS] if "turns" in names else None
            first, groups = 0, list[int]()  # row groups before `start` are not read
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if groups or first + rows > start:
                    groups.append(group)
                else:
                    first += rows
            skipped = start - first
            for batch in file.iter_batches(batch_size=BATCH_ROWS, row_groups=groups, columns=columns):
                if skipped >= batch.num_rows:
                    skipped -= batch.num_rows
                    continue
                yield from batch.slice(skipped).to_pylist(maps_as_pydicts="strict")
                skipped = 0
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"cannot read it as Parquet: {error_summary(error)}", str(path), "check the file") from None


def _value(name: str, cell: Any) -> Any:
    """A cell as rolesum's formats have it."""
    if name in _ID_COLUMNS and isinstance(cell, float) and cell.is_integer():
        return int(cell)
    if name == "turns" and isinstance(cell, list) and all(turn is None or isinstance(turn, dict) for turn in cell):
        return [_turn(turn or {}) for turn in cell]
    return _without_nulls(cell)


def _turn(struct: dict[str, Any]) -> dict[str, Any]:
    turn = {name: struct[name] for name in _TURN_FIELDS if struct.get(name) is not None}
    if "text" in struct:
        turn.setdefault("text", "")
    if "time" in turn:
        turn["time"] = str(turn["time"])
    return turn


def _without_nulls(value: Any) -> Any:
    """Structs without their null fields: in Parquet every row has all fields."""
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
