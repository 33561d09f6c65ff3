"""All judgments as a CSV or JSON lines file, with the systems' names."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rolesum.atomic_io import atomic_write_text
from rolesum.errors import UsageError
from rolesum.evaluation.human.store import Judgment

EXPORT_SUFFIXES = (".csv", ".jsonl")


def check_export_suffix(path: Path) -> None:
    """Raise UsageError for a name that says no form."""
    if path.suffix.lower() not in EXPORT_SUFFIXES:
        raise UsageError(f"cannot tell the form of {path}", fix=f"end its name in {' or '.join(EXPORT_SUFFIXES)}")


def export_judgments(judgments: Sequence[Judgment], path: Path) -> None:
    """Write one row per judgment, with the fields of Judgment. Raises UsageError, ResourceError."""
    check_export_suffix(path)
    rows = [asdict(one) for one in judgments]
    if path.suffix.lower() == ".jsonl":
        atomic_write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, Judgment.__dataclass_fields__, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic_write_text(path, text.getvalue())
