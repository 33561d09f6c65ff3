"""What `rolesum evaluate --out` left, read again: predictions, what they were made of, and the dialogues if at hand."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from rolesum.console import log
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError
from rolesum.evaluation.pairs import read_predictions
from rolesum.evaluation.prediction import Prediction
from rolesum.evaluation.results import PREDICTIONS_FILE, RESULTS_FILE, predictions_digest
from rolesum.formats import ReadOptions, Source, open_source, read_dialogues


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
    predictions = tuple(read_predictions(home / PREDICTIONS_FILE))
    about = _about(home / RESULTS_FILE) if (home / RESULTS_FILE).is_file() else {}
    known = about.get("predictions_sha256")
    if known and known != predictions_digest((home / PREDICTIONS_FILE).read_text(encoding="utf-8")):
        what = f"{PREDICTIONS_FILE} does not match the digest in {RESULTS_FILE}: interrupted, or edited since"
        raise DataError(what, str(home), f"run rolesum evaluate again, or remove {RESULTS_FILE}")
    return EvaluatedRun(home.resolve().name, home, predictions, about)


class _Results(BaseModel):
    """What is asked of a results.json; the rest of it is let be."""

    roles: dict[str, dict[str, Any]] = {}
    data: str | None = None
    data_sha256: str | None = None
    format: str | None = None
    columns: dict[str, str] | None = None
    unknown_speaker: str = "refuse"
    speakers: dict[str, str] = {}
    custom_roles: dict[str, list[str]] = {}
    predictions_sha256: str | None = None


def _about(path: Path) -> Mapping[str, Any]:
    """A results.json. Raises DataError where it is broken, or was edited into something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        _Results.model_validate(found)
    except ValidationError as error:
        problem = Problem.from_pydantic(error.errors()[0], str(path))
        raise DataError(f"broken: {problem.what}", str(path), "run rolesum evaluate again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"broken: {error}", str(path), "run rolesum evaluate again") from None
    return dict(found)


def read_runs(directories: Sequence[str | Path]) -> list[EvaluatedRun]:
    """At least two runs of the same dialogues and roles, with names that differ, their predictions in one order.

    Raises DataError with what one has and another lacks.
    """
    runs = [read_run(directory) for directory in directories]
    if len({run.directory.resolve() for run in runs}) < max(2, len(runs)):
        raise UsageError("two or more different runs are needed", fix="rolesum compare runs/a runs/b")
    first, problems, aligned = runs[0], [], []
    names = _names(runs)
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
    how: Mapping[str, Any] = next((run.results for run in runs if run.results.get("data")), {})
    source = open_source(where)
    if data is None and (changed := _of_other_data(runs, source)):
        what = f"this is not the data that {changed} was made from: it has changed, or the runs are of different data"
        raise DataError(what, where, "name the dialogues that were summarized with --data")
    options = ReadOptions(
        format=how.get("format") if data is None else None,
        custom_roles=how.get("custom_roles", {}),
        speakers=how.get("speakers", {}),
        columns=how.get("columns") or {},
        unknown_speaker=how.get("unknown_speaker", "refuse"),
    )
    found = {one.id: one for one in read_dialogues(source, options)}
    if missing := [identity for identity in ids if identity not in found]:
        what = f"{len(missing)} of the runs' {len(ids)} dialogues are not in this file, first: {missing[0]}"
        raise DataError(what, where, "name the file that the runs were made from with --data")
    return [found[identity] for identity in ids]


def _of_other_data(runs: Sequence[EvaluatedRun], source: Source) -> str | None:
    """The first run that says it was made from another text than this."""
    found = hashlib.sha256(source.text.encode()).hexdigest()
    others = (str(run.directory) for run in runs if run.results.get("data_sha256") not in (None, found))
    return next(others, None)


def _names(runs: Sequence[EvaluatedRun]) -> list[str]:
    """The shortest ends of the directories' paths that differ."""
    parts = [run.directory.resolve().parts for run in runs]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(run.directory) for run in runs]
