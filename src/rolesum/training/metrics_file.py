"""metrics.jsonl, the losses of a run by optimizer step."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics file. A line that was cut short, as by a full disk, is passed over."""
    rows = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict) and "step" in row]
