"""Extracted fields as the commands write them: one JSON object, or a JSON record for each dialogue."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text
from rolesum.console import log
from rolesum.dialogue import ExtractedFields, FieldValue
from rolesum.errors import DataError
from rolesum.generation.statement_notes import support_text
from rolesum.generation.summary_output import statistics_record


def write_fields(
    extracted: Sequence[ExtractedFields], *, as_json: bool, out: Path | None, write: Callable[[str], None]
) -> int:
    """Write the fields of dialogues to the file `out`, or by `write`. Returns the exit code.

    What is written is JSON alone; what is doubtful and what failed is said in notes. The code is that of a DataError if
    no dialogue has fields.
    """
    text = format_field_lines(extracted) if as_json else format_field_blocks(extracted)
    if out:
        atomic_write_text(out, text)
    else:
        write(text)
    for one in extracted:
        for note in field_notes(one):
            log(f"{one.dialogue_id}: {note}" if len(extracted) > 1 else note)
    return 0 if any(one.fields is not None for one in extracted) else DataError.exit_code


def format_field_blocks(extracted: Sequence[ExtractedFields]) -> str:
    """The fields alone, indented: an object, or null, for each dialogue; several are the items of one array."""
    fields = [one.fields for one in extracted]
    return strict_json.dumps(fields if len(fields) > 1 else fields[0], ensure_ascii=False, indent=2) + "\n"


def format_field_lines(extracted: Sequence[ExtractedFields]) -> str:
    """One line per dialogue, in input order; see field_record."""
    return "".join(strict_json.dumps(field_record(one), ensure_ascii=False) + "\n" for one in extracted)


def field_notes(one: ExtractedFields) -> list[str]:
    """What is to be said of the fields of a dialogue: that there are none, or which values are doubtful."""
    if one.fields is None:
        return [f"no fields: {one.problem}"]
    return [
        f"{value.path}: the dialogue may not say this (support {support_text(value.support, one.support_threshold)})"
        for value in one.doubtful
    ]


def field_record(one: ExtractedFields) -> dict[str, Any]:
    """The JSON record of a dialogue: id, fields, why there are none, values with turns and support, statistics."""
    record: dict[str, Any] = {"id": one.dialogue_id, "fields": one.fields}
    if one.problem:
        record["problem"] = one.problem
    record["values"] = [value_record(value, one.support_threshold) for value in one.values]
    if one.support_threshold is not None:
        record["support_threshold"] = one.support_threshold
    record["stats"] = statistics_record(one)
    return record


def value_record(value: FieldValue, threshold: float | None) -> dict[str, Any]:
    """A value as plain data; its support only where values are verified."""
    found: dict[str, Any] = {"path": value.path, "value": value.value, "turns": list(value.turns)}
    if threshold is not None:
        support = None if value.support is None else float(support_text(value.support, threshold, 4))
        found |= {"statement": value.statement, "support": support}
    return found
