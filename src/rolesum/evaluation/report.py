"""report.html: one self-contained page of scores, loss curve, and dialogues with their summaries side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rolesum.dialogue import Dialogue
from rolesum.evaluation.evaluate import Evaluation
from rolesum.evaluation.scorers import HEADINGS
from rolesum.files import write_whole
from rolesum.metrics import read_metrics

SHOWN_DIALOGUES = 6
CURVE_WIDTH, CURVE_HEIGHT, MARGIN = 640, 240, 62


@dataclass(frozen=True)
class System:
    """One column of the report: a name and what it scored."""

    name: str
    evaluation: Evaluation


def write_report(
    path: Path,
    title: str,
    systems: Sequence[System],
    dialogues: Sequence[Dialogue],
    *,
    metrics: Path | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write the page. `metrics` is a run's metrics.jsonl, for the loss curve; `about` a few facts for the foot."""
    environment = Environment(
        loader=PackageLoader("rolesum.evaluation", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    scored = {one.id for one in systems[0].evaluation.predictions}
    shown = _spread([dialogue for dialogue in dialogues if dialogue.id in scored])
    page = environment.get_template("report.html.jinja").render(
        title=title,
        tables=score_tables(systems),
        curve=_curve(metrics) if metrics and metrics.is_file() else None,
        cases=[_case(dialogue, systems) for dialogue in shown],
        shown=len(shown),
        total=len(scored),
        language="zh" if dialogues and dialogues[0].language == "zh" else "en",
        about=dict(about or {}),
    )
    write_whole(path, page)


def score_tables(systems: Sequence[System]) -> list[dict[str, Any]]:
    """For each role: which scorer, which measures, and each system's figures with the ends of their interval."""
    tables = []
    results = [system.evaluation.results()["roles"] for system in systems]
    for role, first in systems[0].evaluation.scores.items():
        measures = [measure for measure in HEADINGS if measure in first.means]
        rows = []
        for system, of_system in zip(systems, results, strict=True):
            found = of_system[role]
            cells = []
            for measure in measures:
                low, high = found["intervals"].get(measure, (None, None))
                cells.append({"mean": found["means"][measure], "low": low, "high": high})
            rows.append({"system": system.name, "cells": cells})
        libraries = ", ".join(f"{name} {version}" for name, version in first.libraries.items())
        tables.append(
            {
                "role": role,
                "scorer": f"{first.scorer} v{first.version}",
                "libraries": libraries,
                "references": first.references,
                "pairs": len(next(iter(first.per_pair.values()))),
                "headings": [HEADINGS[measure] for measure in measures],
                "rows": rows,
            }
        )
    return tables


def _case(dialogue: Dialogue, systems: Sequence[System]) -> dict[str, Any]:
    roles = []
    for role in systems[0].evaluation.scores:
        outputs = [
            (system.name, one.prediction)
            for system in systems
            for one in system.evaluation.predictions
            if one.id == dialogue.id and one.role == role
        ]
        if outputs:
            roles.append({"role": role, "references": dialogue.summaries.get(role, ()), "outputs": outputs})
    turns = [(turn.speaker, dialogue.roles.get(turn.speaker, ""), turn.text) for turn in dialogue.turns]
    return {"id": dialogue.id, "turns": turns, "roles": roles}


def _spread(dialogues: Sequence[Dialogue]) -> list[Dialogue]:
    """A few dialogues, evenly over the file: not the best ones."""
    shown = min(SHOWN_DIALOGUES, len(dialogues))
    return [dialogues[place * len(dialogues) // shown] for place in range(shown)]


def _curve(metrics: Path) -> dict[str, Any] | None:
    """The training and validation loss as SVG paths."""
    rows = read_metrics(metrics)
    train = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    valid = [(row["step"], row["eval_loss"]) for row in rows if "eval_loss" in row]
    if len(train) < 2:
        return None
    steps = [step for step, _ in train + valid]
    losses = [loss for _, loss in train + valid]
    low, high = min(losses), max(losses)
    pad = 0.05 * (high - low) or 0.1
    low, high = low - pad, high + pad

    def place(step: float, loss: float) -> tuple[float, float]:
        across = MARGIN + (step - min(steps)) / max(1, max(steps) - min(steps)) * (CURVE_WIDTH - MARGIN - 12)
        down = 10 + (high - loss) / (high - low) * (CURVE_HEIGHT - MARGIN - 10)
        return round(across, 1), round(down, 1)

    def path(points: Sequence[tuple[int, float]]) -> str:
        return "M" + " L".join("{} {}".format(*place(step, loss)) for step, loss in points)

    ticks = [low + (high - low) * share for share in (0.1, 0.5, 0.9)]
    return {
        "width": CURVE_WIDTH,
        "height": CURVE_HEIGHT,
        "left": MARGIN,
        "train": path(train),
        "valid": path(valid) if len(valid) > 1 else None,
        "points": [place(*point) for point in valid],
        "ticks": [(place(min(steps), tick)[1], f"{tick:.2f}") for tick in ticks],
        "first": min(steps),
        "last": max(steps),
    }
