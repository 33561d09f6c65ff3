"""Compare evaluated runs: score all by one scorer, test every pair of systems, and write the comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text, check_writable
from rolesum.console import log
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError
from rolesum.evaluation.check_rates import check_statistics
from rolesum.evaluation.comparison import ALL_ROLES, CHECKS_FAMILY, MODELS_FAMILY, SUPPORT_FAMILY, CompareRow
from rolesum.evaluation.evaluate import add_checks
from rolesum.evaluation.evaluated_run import PREDICTIONS_FILE, SCORES_FILE, EvaluatedRun, read_run_dialogues, read_runs
from rolesum.evaluation.evaluation import Evaluation, score_roles
from rolesum.evaluation.report import ReportSystem, write_report
from rolesum.evaluation.report.terminal import write_tables
from rolesum.evaluation.support_rates import same_verifier, support_statistic
from rolesum.formats.source import Record, open_source
from rolesum.metrics import bootstrap
from rolesum.metrics.bootstrap import SEED, Comparison, Statistic
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
        atomic_write_text(out / COMPARISON_FILE, strict_json.dumps(done.as_json(), indent=1, ensure_ascii=False) + "\n")
        systems = [ReportSystem(name, evaluation) for name, evaluation in zip(names, evaluations, strict=True)]
        write_tables(out, {system.name: system.evaluation for system in systems})
        title = " against ".join(names)
        write_report(out / "report.html", title, systems, dialogues, metadata=about, comparisons=rows)
    return done


def rescore_runs(
    runs: Sequence[EvaluatedRun],
    dialogues: Sequence[Dialogue],
    scorer: str | None = None,
    multi_reference: MultiReference | None = None,
) -> list[Evaluation]:
    """The runs scored again by one scorer: the named one, or that of their results.

    Raises UsageError where the results have different scorers, or joined several references differently.
    """
    name = scorer or _common(runs, "scorer", "different scorers", "--scorer")
    joined = multi_reference or _common(
        runs, "multi_reference", "joined several references differently", "--multi-reference"
    )
    chosen: MultiReference = "best" if joined == "best" else "mean"
    found = []
    for run in runs:
        evaluation = Evaluation(run.predictions, score_roles(run.predictions, name, chosen), run.results)
        found.append(add_checks(evaluation, dialogues) if dialogues else evaluation)
    return found


def compare_evaluations(
    names: Sequence[str],
    evaluations: Sequence[Evaluation],
    models: Sequence[Mapping[str, Mapping[str, Statistic]]] = (),
) -> list[CompareRow]:
    """Every later system against every earlier one, for each role and figure.

    Row i of all evaluations must be of the same dialogue and role, as `read_runs` gives them. `models`, one per system,
    holds by role the statistics of measures that a model computed.
    """
    rows: list[CompareRow] = []
    for a, b in combinations(range(len(names)), 2):
        rows += _support_rows((names[a], names[b]), evaluations[a], evaluations[b])
        for role, score in evaluations[a].scores.items():
            of_a = [(score.scorer, score.statistics), *_others(evaluations[a], role, models[a] if models else {})]
            other = evaluations[b]
            of_b = [(score.scorer, other.scores[role].statistics), *_others(other, role, models[b] if models else {})]
            for (kind, left), (_, right) in zip(of_a, of_b, strict=True):
                for measure, compared in bootstrap.compare_paired(left, right).items():
                    if np.isnan(compared.difference):  # a rate of nothing
                        continue
                    compared = _without_few_bootstrap(compared)
                    if kind == CHECKS_FAMILY:  # of a check's rate less may be better, or neither
                        compared = replace(compared, wins=None, ties=None, losses=None)
                    rows.append(CompareRow(role, kind, measure, names[a], names[b], compared, 1.0))
    return _adjusted(rows)


def _support_rows(names: tuple[str, str], a: Evaluation, b: Evaluation) -> list[CompareRow]:
    """The shares of summaries without a doubtful statement: of all roles, where there are several, and of each.

    None where one model did not verify both, or at different thresholds: that would compare the judges.
    """
    if not all(any(each.support_threshold is not None for each in one.predictions) for one in (a, b)):
        return []
    if not same_verifier(a.metadata, b.metadata):
        log(f"{names[0]} and {names[1]} were not verified by one model at one threshold: that is not compared")
        return []
    groups = {role: (a.predictions_for(role), b.predictions_for(role)) for role in a.scores}
    if len(groups) > 1:
        groups = {ALL_ROLES: (list(a.predictions), list(b.predictions)), **groups}
    rows = []
    for role, sides in groups.items():
        left, right = ({"without_doubt": support_statistic(side)} for side in sides)
        compared = bootstrap.compare_paired(left, right)["without_doubt"]
        if not np.isnan(compared.difference):
            compared = _without_few_bootstrap(compared)
            rows.append(CompareRow(role, SUPPORT_FAMILY, "without_doubt", *names, compared, 1.0))
    return rows


def _without_few_bootstrap(compared: Comparison) -> Comparison:
    return replace(compared, p_bootstrap=None) if compared.pairs < bootstrap.FEW else compared


def model_statistics(runs: Sequence[EvaluatedRun]) -> list[dict[str, dict[str, Statistic]]]:
    """By run and role the measures of a model that all runs were scored with under the same settings."""
    found = [_own_scores(run) for run in runs]
    answer: list[dict[str, dict[str, Statistic]]] = [{} for _ in runs]
    roles = dict.fromkeys(one.role for one in runs[0].predictions)
    for role in roles:
        keys = [(one.id, one.role) for one in runs[0].predictions if one.role == role]
        measures = dict.fromkeys(measure for rows in found for key in keys for measure in rows.get(key, ()))
        for measure in measures:
            if "." in measure and _same_settings(runs, role, measure.partition(".")[0]):
                for place, rows in enumerate(found):
                    values = [rows.get(key, {}).get(measure, np.nan) for key in keys]
                    answer[place].setdefault(role, {})[measure] = bootstrap.mean(values)
    return answer


def _own_scores(run: EvaluatedRun) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The rows of scores.jsonl by id and role. Raises DataError for a broken file."""
    path = run.directory / SCORES_FILE
    if not path.is_file():
        return {}
    rows: dict[tuple[str, str], Mapping[str, Any]] = {}
    problems = []
    for record in open_source(path).records():
        value = record.value if isinstance(record, Record) else None
        if isinstance(record, Problem):
            problems.append(record)
        elif (
            not isinstance(value, dict)
            or not isinstance(value.get("id"), str)
            or not isinstance(value.get("role"), str)
        ):
            problems.append(Problem("no id and role", record.location, "run rolesum evaluate again"))
        else:
            rows[value["id"], value["role"]] = value
    if problems:
        raise DataError(problems)
    return rows


def _others(
    evaluation: Evaluation, role: str, models: Mapping[str, Mapping[str, Statistic]]
) -> list[tuple[str, Mapping[str, Statistic]]]:
    checks = evaluation.checks.get(role)
    return [(CHECKS_FAMILY, check_statistics(checks.checked) if checks else {}), (MODELS_FAMILY, models.get(role, {}))]


def _adjusted(rows: Sequence[CompareRow]) -> list[CompareRow]:
    """Holm's adjustment, over the rows of each scorer; support, checks and models' measures are own families."""
    answer = list(rows)
    for kind in dict.fromkeys(row.scorer for row in rows):
        places = [place for place, row in enumerate(rows) if row.scorer == kind]
        p_values = bootstrap.holm([rows[place].comparison.p_randomization for place in places])
        for place, p_value in zip(places, p_values, strict=True):
            answer[place] = replace(rows[place], p_adjusted=p_value)
    return answer


def _common(runs: Sequence[EvaluatedRun], key: str, otherwise: str, flag: str) -> str | None:
    """What all results say under `key`, or None where none says anything."""
    values = {str(of[key]): run for run in runs for of in run.results.get("roles", {}).values() if key in of}
    values.pop("single", None)
    if len(values) > 1:
        listed = ", ".join(f"{run.directory}: {value}" for value, run in values.items())
        raise UsageError(f"the runs have {otherwise} ({listed})", fix=f"choose one for all with {flag}")
    return next(iter(values), None)


def _same_settings(runs: Sequence[EvaluatedRun], role: str, name: str) -> bool:
    """Whether all runs were measured with the same model and settings; figures and times may differ."""
    own = (
        "pairs",
        "undefined",
        "means",
        "intervals",
        "failures",
        "usage",
        "usage_cached",
        "prices_per_million",
        "cost",
    )
    settings = []
    for run in runs:
        of_role = run.results.get("roles", {}).get(role, {})
        facts = of_role.get("models", {}).get(name)
        if facts is None:
            return False
        settings.append({key: value for key, value in facts.items() if key not in own})
    return all(one == settings[0] for one in settings)
