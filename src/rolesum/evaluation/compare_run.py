"""Comparing as a user asks for it: read the runs, score them by one scorer, test, and write the directory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rolesum.atomic_io import atomic_write_text, check_writable
from rolesum.errors import UsageError
from rolesum.evaluation.compare import CompareRow, compare, evaluate_runs, model_statistics
from rolesum.evaluation.report import System, write_report
from rolesum.evaluation.report.terminal import write_tables
from rolesum.evaluation.results import PREDICTIONS
from rolesum.evaluation.run_reader import dialogues_of, read_runs
from rolesum.metrics.bootstrap import SEED
from rolesum.metrics.scorers import MultiReference, get_scorer

COMPARISON = "comparison.json"


@dataclass(frozen=True)
class Compared:
    """All rows, and what was compared how."""

    rows: Sequence[CompareRow]
    about: Mapping[str, Any]

    def results(self) -> dict[str, Any]:
        """What comparison.json holds."""
        return {**self.about, "rows": [row.results() for row in self.rows]}


def compare_runs(
    directories: Sequence[Path],
    scorer: str | None = None,
    references: MultiReference | None = None,
    data: str | None = None,
    out: Path | None = None,
    command: str = "",
) -> Compared:
    """Every later run against every earlier one; with `out`, leave comparison.json, tables and a report."""
    if scorer:
        get_scorer(scorer)
    runs = read_runs(directories)
    if out:
        if (out / PREDICTIONS).is_file():
            raise UsageError(
                "--out is an evaluated run, whose report would be replaced", str(out), "name another --out"
            )
        check_writable(out / COMPARISON)
    dialogues = dialogues_of(runs, data)
    evaluations = evaluate_runs(runs, dialogues, scorer, references)
    names = [run.name for run in runs]
    rows = compare(names, evaluations, model_statistics(runs))
    about = {
        "runs": [str(run.directory) for run in runs],
        "data": data or runs[0].about.get("data"),
        "seed": SEED,
        "resamples": min(row.comparison.resamples for row in rows),
        "rolesum": metadata.version("rolesum"),
        **({"command": command} if command else {}),
    }
    done = Compared(rows, about)
    if out:
        atomic_write_text(out / COMPARISON, json.dumps(done.results(), indent=1, ensure_ascii=False) + "\n")
        systems = [System(name, evaluation) for name, evaluation in zip(names, evaluations, strict=True)]
        write_tables(out, {system.name: system.evaluation for system in systems})
        title = " against ".join(names)
        write_report(out / "report.html", title, systems, dialogues, about=about, comparisons=rows)
    return done
