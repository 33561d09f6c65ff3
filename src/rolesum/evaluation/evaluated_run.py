"""The directory that `rolesum evaluate --out` writes: how it is written, and how it is read again.

It holds predictions.jsonl, scores.jsonl (each prediction's own values), checks.jsonl (flags and evidence) and
results.json, which is written last.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text
from rolesum.console import log
from rolesum.counts import counted
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError
from rolesum.evaluation.check_rates import RoleChecks
from rolesum.evaluation.evaluation import Evaluation
from rolesum.evaluation.predictions import Prediction, read_predictions
from rolesum.evaluation.support_rates import SupportRates, support_rates
from rolesum.formats import ReadOptions, Source, open_source, read_dialogues
from rolesum.metrics import bootstrap
from rolesum.metrics.scorers import Score
from rolesum.os_errors import os_error

PREDICTIONS_FILE, RESULTS_FILE, SCORES_FILE, CHECKS_FILE = (
    "predictions.jsonl",
    "results.json",
    "scores.jsonl",
    "checks.jsonl",
)


def evaluation_results(evaluation: Evaluation) -> dict[str, Any]:
    """What results.json holds."""
    roles = {}
    support = support_rates(evaluation.predictions)
    for role, score in evaluation.scores.items():
        found = {**score_results(score), **_ending_counts(evaluation.predictions_for(role))}
        if support:
            found["support"] = support.roles[role].as_json()
        if role in evaluation.model_scores:
            found["models"] = {name: one.as_json() for name, one in evaluation.model_scores[role].items()}
        if role in evaluation.checks:
            found["checks"] = check_results(evaluation.checks[role])
        if evaluation.breakdown.get(role):
            found["breakdown"] = evaluation.breakdown[role]
        roles[role] = found
    return {
        **evaluation.metadata,
        **({"support": _support_results(support)} if support else {}),
        "roles": roles,
        "predictions_sha256": predictions_digest(_prediction_lines(evaluation)),
    }


def _support_results(found: SupportRates) -> dict[str, Any]:
    """The summaries of all roles without a doubtful statement, and by language; those of a role stand with it."""
    languages = {language: rate.as_json() for language, rate in found.languages.items()}
    return {"threshold": found.threshold, "total": found.total.as_json(), "languages": languages}


def score_results(found: Score) -> dict[str, Any]:
    """A score as plain data: recipe, versions, means, and the 95 % interval of every figure that has one."""
    pairs = len(next(iter(found.per_pair.values())))
    return {
        "scorer": found.scorer,
        "scorer_version": found.version,
        "libraries": dict(found.libraries),
        "equal_to": list(found.equal_to),
        "multi_reference": found.multi_reference,
        "pairs": pairs,
        "means": {measure: round(value, 2) for measure, value in found.means.items()},
        "intervals": {
            measure: [round(bound, 2) for bound in interval]
            for measure, interval in bootstrap.bootstrap_intervals(found.statistics).items()
            if bootstrap.informative_interval(interval, pairs) and interval
        },
    }


def check_results(checks: RoleChecks) -> dict[str, Any]:
    """The rates of a role's checks and of its references, with intervals; None for a rate of no cases."""
    return {name: {key: _rounded(value) for key, value in asdict(rate).items()} for name, rate in checks.rates.items()}


def write_evaluation(evaluation: Evaluation, directory: Path) -> None:
    """Write predictions.jsonl, scores.jsonl, checks.jsonl where there were checks, and results.json last.

    results.json holds a digest of the predictions, so that what was cut short is not taken for a whole.
    """
    atomic_write_text(directory / PREDICTIONS_FILE, _prediction_lines(evaluation))
    atomic_write_text(directory / SCORES_FILE, _lines(_score_rows(evaluation)))
    if evaluation.checks:
        atomic_write_text(directory / CHECKS_FILE, _lines(_check_rows(evaluation)))
    else:
        (directory / CHECKS_FILE).unlink(missing_ok=True)  # of an evaluation before this one
    results = evaluation_results(evaluation)
    atomic_write_text(directory / RESULTS_FILE, strict_json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def _prediction_lines(evaluation: Evaluation) -> str:
    return _lines(one.as_json() for one in evaluation.predictions)


def predictions_digest(predictions: str) -> str:
    """The SHA-256 digest of the text of predictions.jsonl."""
    return hashlib.sha256(predictions.encode()).hexdigest()


def _score_rows(evaluation: Evaluation) -> Sequence[dict[str, Any]]:
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


def _check_rows(evaluation: Evaluation) -> Sequence[dict[str, Any]]:
    """Each prediction's flags and evidence; turns are numbered from 0."""
    rows = []
    for role, checks in evaluation.checks.items():
        for one, checked in zip(evaluation.predictions_for(role), checks.checked, strict=True):
            flags = [{**asdict(flag), "text": one.prediction[flag.start : flag.end]} for flag in checked.flags]
            evidence = [asdict(each) for each in checked.evidence]
            rows.append({"id": one.id, "role": role, "flags": flags, "evidence": evidence})
    return rows


def _ending_counts(predictions: Sequence[Prediction]) -> dict[str, int]:
    truncated = sum(one.finish_reason == "length" for one in predictions)
    return {"truncated_by_limit": truncated, "empty": sum(not one.prediction.strip() for one in predictions)}


def _rounded(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else round(value, 6)


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(strict_json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@dataclass(frozen=True)
class EvaluatedRun:
    """One system's predictions. `about` is its results.json; `name` is its directory's."""

    name: str
    directory: Path
    predictions: tuple[Prediction, ...]
    results: Mapping[str, Any]

    @property
    def scorer(self) -> str | None:
        return next((str(of["scorer"]) for of in self.results.get("roles", {}).values()), None)


def read_run(directory: str | Path) -> EvaluatedRun:
    """The run in `directory`. Raises UsageError where there is none, DataError where its files are broken."""
    home = Path(directory)
    if not (home / PREDICTIONS_FILE).is_file():
        fix = f"name a directory that rolesum evaluate --out wrote; it holds {PREDICTIONS_FILE}"
        raise UsageError(f"no evaluated run in {home}", fix=fix)
    source = open_source(home / PREDICTIONS_FILE)  # read once, as an evaluation may be replacing it
    predictions = tuple(read_predictions(source))
    about = _read_results(home / RESULTS_FILE) if (home / RESULTS_FILE).is_file() else {}
    known = about.get("predictions_sha256")
    if known and known != predictions_digest(source.text):
        what = f"{PREDICTIONS_FILE} does not match the digest in {RESULTS_FILE}: interrupted, or edited since"
        raise DataError(what, str(home), f"run rolesum evaluate again, or remove {RESULTS_FILE}")
    return EvaluatedRun(home.resolve().name, home, predictions, about)


class _ResultsFile(BaseModel):
    """What is asked of a results.json; the rest of it is let be."""

    roles: dict[str, dict[str, Any]] = {}
    data: str | None = None
    data_sha256: str | None = None
    format: str | None = None
    encoding: str | None = None
    columns: dict[str, str] | None = None
    json_path: dict[str, str] | None = None
    unknown_speaker: str = "refuse"
    speakers: dict[str, str] = {}
    custom_roles: dict[str, list[str]] = {}
    verify: dict[str, Any] | None = None
    predictions_sha256: str | None = None


def _read_results(path: Path) -> Mapping[str, Any]:
    """A results.json. Raises DataError where it is broken, or was edited into something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        _ResultsFile.model_validate(found)
    except ValidationError as error:
        problem = Problem.from_pydantic(error.errors()[0], str(path))
        raise DataError(f"broken: {problem.what}", str(path), "run rolesum evaluate again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise os_error(error, "broken", path, "run rolesum evaluate again", kind=DataError) from None
    return dict(found)


def read_runs(directories: Sequence[str | Path]) -> list[EvaluatedRun]:
    """At least two runs of the same dialogues and roles, with names that differ, their predictions in one order.

    Raises DataError with what one has and another lacks.
    """
    runs = [read_run(directory) for directory in directories]
    if len({run.directory.resolve() for run in runs}) < max(2, len(runs)):
        raise UsageError("two or more different runs are needed", fix="rolesum compare runs/a runs/b")
    first, problems, aligned = runs[0], [], []
    names = _run_names(runs)
    wanted = {(one.id, one.role): one for one in first.predictions}
    for name, run in zip(names, runs, strict=True):
        found = {(one.id, one.role): one for one in run.predictions}
        if not found.keys() & wanted.keys():
            what = f"no summary of this run is of a dialogue and role of {first.directory}"
            raise DataError(what, str(run.directory), "evaluate both on the same data and roles")
        for have, lack, key in (
            *((first, run, key) for key in wanted if key not in found),
            *((run, first, key) for key in found if key not in wanted),
        ):
            what = f"id {key[0]}, role {key[1]} is in {have.directory} and not here"
            problems.append(Problem(what, str(lack.directory), "evaluate both on the same data and roles"))
        other = [key for key in wanted if key in found and found[key].references != wanted[key].references]
        problems += [
            Problem(f"id {key[0]}, role {key[1]}: not the references of {first.directory}", str(run.directory))
            for key in other
        ]
        if not problems:
            aligned.append(EvaluatedRun(name, run.directory, tuple(found[key] for key in wanted), run.results))
    if problems:
        raise DataError(problems)
    return aligned


def read_run_dialogues(runs: Sequence[EvaluatedRun], data: str | None = None) -> list[Dialogue]:
    """The dialogues that were summarized, in the order of the predictions: from `data`, or where the runs say they lie.

    An empty list where the file is not there any more and none was named.
    """
    where = data or next((str(run.results["data"]) for run in runs if run.results.get("data")), None)
    if where is None:
        return []
    if data is None and not where.startswith("sample:") and not Path(where).is_file():
        log(f"{where} is not there any more: no dialogues are shown or checked; name it with --data")
        return []
    ids = dict.fromkeys(one.id for one in runs[0].predictions)
    source_results: Mapping[str, Any] = next((run.results for run in runs if run.results.get("data")), {})
    source = open_source(where, source_results.get("encoding") if data is None else None)
    if data is None and (changed := _of_other_data(runs, source)):
        what = f"this is not the data that {changed} was made from: it has changed, or the runs are of different data"
        raise DataError(what, where, "name the dialogues that were summarized with --data")
    options = ReadOptions(
        format=source_results.get("format") if data is None else None,
        custom_roles=source_results.get("custom_roles", {}),
        speakers=source_results.get("speakers", {}),
        columns=source_results.get("columns") or {},
        json_path=source_results.get("json_path") or {},
        unknown_speaker=source_results.get("unknown_speaker", "refuse"),
    )
    found = {one.id: one for one in read_dialogues(source, options)}
    if missing := [identity for identity in ids if identity not in found]:
        what = f"it lacks {len(missing)} of the runs' {counted(len(ids), 'dialogue')}, such as {missing[0]}"
        raise DataError(what, where, "name the file that the runs were made from with --data")
    return [found[identity] for identity in ids]


def _of_other_data(runs: Sequence[EvaluatedRun], source: Source) -> str | None:
    """The first run that says it was made from another text than this."""
    found = hashlib.sha256(source.text.encode()).hexdigest()
    others = (str(run.directory) for run in runs if run.results.get("data_sha256") not in (None, found))
    return next(others, None)


def _run_names(runs: Sequence[EvaluatedRun]) -> list[str]:
    """The shortest ends of the directories' paths that differ."""
    parts = [run.directory.resolve().parts for run in runs]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(run.directory) for run in runs]
