"""Comparing as a user asks for it: read the runs, score them by one scorer, test, and write the directory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rolesum.atomic_io import atomic_write_text, check_writable
from rolesum.errors import UsageError
from rolesum.evaluation.compare import CompareRow, compare_evaluations, model_statistics, rescore_runs
from rolesum.evaluation.report import ReportSystem, write_report
from rolesum.evaluation.report.terminal import write_tables
from rolesum.evaluation.results import PREDICTIONS_FILE
from rolesum.evaluation.run_reader import read_run_dialogues, read_runs
from rolesum.metrics.bootstrap import SEED
from rolesum.metrics.scorers import MultiReference, get_scorer

COMPARISON_FILE = "comparison.json"


@dataclass(frozen=True)
class RunComparison:
    """All rows, and what was compared how."""

    rows: Sequence[CompareRow]
    metadata: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """What comparison.json holds."""
        return {**self.metadata, "rows": [row.as_json() for row in self.rows]}


def compare_runs(
    directories: Sequence[Path],
    scorer: str | None = None,
    multi_reference: MultiReference | None = None,
    data: str | None = None,
    out: Path | None = None,
    command: str = "",
) -> RunComparison:
    """Every later run against every earlier one; with `out`, leave comparison.json, tables and a report."""
    if scorer:
        get_scorer(scorer)
    runs = read_runs(directories)
    if out:
        if (out / PREDICTIONS_FILE).is_file():
            raise UsageError(
                "--out is an evaluated run, whose report would be replaced", str(out), "name another --out"
            )
        check_writable(out / COMPARISON_FILE)
    dialogues = read_run_dialogues(runs, data)
    evaluations = rescore_runs(runs, dialogues, scorer, multi_reference)
    names = [run.name for run in runs]
    rows = compare_evaluations(names, evaluations, model_statistics(runs))
    about = {
        "runs": [str(run.directory) for run in runs],
        "data": data or runs[0].results.get("data"),
        "seed": SEED,
        "resamples": min(row.comparison.resamples for row in rows),
        "rolesum": metadata.version("rolesum"),
        **({"command": command} if command else {}),
    }
    done = RunComparison(rows, about)
    if out:
        atomic_write_text(out / COMPARISON_FILE, json.dumps(done.as_json(), indent=1, ensure_ascii=False) + "\n")
        systems = [ReportSystem(name, evaluation) for name, evaluation in zip(names, evaluations, strict=True)]
        write_tables(out, {system.name: system.evaluation for system in systems})
        title = " against ".join(names)
        write_report(out / "report.html", title, systems, dialogues, metadata=about, comparisons=rows)
    return done
