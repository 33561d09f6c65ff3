"""An evaluation as plain data and as files: results.json, predictions.jsonl, scores.jsonl, checks.jsonl, tables."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rolesum.atomic_io import atomic_write_text
from rolesum.evaluation.check_rates import RoleChecks
from rolesum.evaluation.evaluate import Evaluation
from rolesum.evaluation.prediction import Prediction
from rolesum.metrics import bootstrap
from rolesum.metrics.scorers import Score

PREDICTIONS_FILE, RESULTS_FILE, SCORES_FILE, CHECKS_FILE = (
    "predictions.jsonl",
    "results.json",
    "scores.jsonl",
    "checks.jsonl",
)


def evaluation_results(evaluation: Evaluation) -> dict[str, Any]:
    """What results.json holds."""
    roles = {}
    for role, score in evaluation.scores.items():
        found = {**score_results(score), **_endings(evaluation.predictions_for(role))}
        if role in evaluation.model_scores:
            found["models"] = {name: one.as_json() for name, one in evaluation.model_scores[role].items()}
        if role in evaluation.checks:
            found["checks"] = check_results(evaluation.checks[role])
        if evaluation.breakdown.get(role):
            found["breakdown"] = evaluation.breakdown[role]
        roles[role] = found
    return {**evaluation.metadata, "roles": roles, "predictions_sha256": predictions_digest(_predictions(evaluation))}


def score_results(found: Score) -> dict[str, Any]:
    """A score as plain data: recipe, versions, means, and the 95 % interval of every figure."""
    return {
        "scorer": found.scorer,
        "scorer_version": found.version,
        "libraries": dict(found.libraries),
        "multi_reference": found.multi_reference,
        "pairs": len(next(iter(found.per_pair.values()))),
        "means": {measure: round(value, 2) for measure, value in found.means.items()},
        "intervals": {
            measure: [round(bound, 2) for bound in interval]
            for measure, interval in bootstrap.bootstrap_intervals(found.statistics).items()
            if interval
        },
    }


def check_results(checks: RoleChecks) -> dict[str, Any]:
    """The rates of a role's checks and of its references, with intervals; None for a rate of no cases."""
    return {name: {key: _rounded(value) for key, value in asdict(rate).items()} for name, rate in checks.rates.items()}


def write_evaluation(evaluation: Evaluation, directory: Path) -> None:
    """Write predictions.jsonl, scores.jsonl, checks.jsonl where there were checks, and results.json last.

    results.json holds a digest of the predictions, so that what was cut short is not taken for a whole.
    """
    atomic_write_text(directory / PREDICTIONS_FILE, _predictions(evaluation))
    atomic_write_text(directory / SCORES_FILE, _lines(_scores(evaluation)))
    if evaluation.checks:
        atomic_write_text(directory / CHECKS_FILE, _lines(_checks(evaluation)))
    else:
        (directory / CHECKS_FILE).unlink(missing_ok=True)  # of an evaluation before this one
    results = evaluation_results(evaluation)
    atomic_write_text(directory / RESULTS_FILE, json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def _predictions(evaluation: Evaluation) -> str:
    return _lines(asdict(one) for one in evaluation.predictions)


def predictions_digest(predictions: str) -> str:
    """Of the text of predictions.jsonl."""
    return hashlib.sha256(predictions.encode()).hexdigest()


def _scores(evaluation: Evaluation) -> Sequence[dict[str, Any]]:
    """Each prediction's own values, of the measures that a pair has."""
    rows = []
    for role, score in evaluation.scores.items():
        values = {**score.per_pair}
        for name, of_model in evaluation.model_scores.get(role, {}).items():
            values |= {f"{name}.{measure}": each for measure, each in of_model.per_pair.items()}
        for place, one in enumerate(evaluation.predictions_for(role)):
            own = {measure: round(each[place], 4) for measure, each in values.items() if not math.isnan(each[place])}
            rows.append({"id": one.id, "role": role, **own})
    return rows


def _checks(evaluation: Evaluation) -> Sequence[dict[str, Any]]:
    """Each prediction's flags and evidence; turns are numbered from 0."""
    rows = []
    for role, checks in evaluation.checks.items():
        for one, checked in zip(evaluation.predictions_for(role), checks.checked, strict=True):
            flags = [{**asdict(flag), "text": one.prediction[flag.start : flag.end]} for flag in checked.flags]
            evidence = [asdict(each) for each in checked.evidence]
            rows.append({"id": one.id, "role": role, "flags": flags, "evidence": evidence})
    return rows


def _endings(predictions: Sequence[Prediction]) -> dict[str, int]:
    truncated = sum(one.finish_reason == "length" for one in predictions)
    return {"truncated_by_limit": truncated, "empty": sum(not one.prediction.strip() for one in predictions)}


def _rounded(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else round(value, 6)


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
