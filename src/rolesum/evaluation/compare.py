"""Systems against each other on the same dialogues: per role and measure, paired tests and the size of the effect."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from rolesum.checks import CHECKS
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError
from rolesum.evaluation.check_rates import check_statistics
from rolesum.evaluation.evaluate import Evaluation, add_checks, score_roles
from rolesum.evaluation.results import SCORES_FILE
from rolesum.evaluation.run_reader import EvaluatedRun
from rolesum.formats.source import Record, open_source
from rolesum.metrics import bootstrap
from rolesum.metrics.bootstrap import Comparison, Statistic
from rolesum.metrics.scorers import HEADINGS, MultiReference

CHECKS_FAMILY = "checks"  # stands in the place of a scorer
MODELS_FAMILY = "models"


@dataclass(frozen=True)
class CompareRow:
    """One figure of two systems. `p_adjusted` is the randomization test's, by Holm over all rows of the same scorer."""

    role: str
    scorer: str
    measure: str
    a_name: str
    b_name: str
    comparison: Comparison
    p_adjusted: float

    @property
    def heading(self) -> str:
        """How tables head the figure."""
        return (
            CHECKS[self.measure].heading if self.scorer == CHECKS_FAMILY else HEADINGS.get(self.measure, self.measure)
        )

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        names = {"role": self.role, "scorer": self.scorer, "measure": self.measure, "a": self.a_name, "b": self.b_name}
        found = asdict(self.comparison)
        values = {"value_a": found.pop("a"), "value_b": found.pop("b"), **found, "p_adjusted": self.p_adjusted}
        return {**names, **{key: round(of, 5) if isinstance(of, float) else of for key, of in values.items()}}


def rescore_runs(
    runs: Sequence[EvaluatedRun],
    dialogues: Sequence[Dialogue],
    scorer: str | None = None,
    multi_reference: MultiReference | None = None,
) -> list[Evaluation]:
    """The runs scored anew by one scorer: the named one, or that of their results.

    Raises UsageError where the results have different scorers, or joined several references differently.
    """
    name = scorer or _common(runs, "scorer", "different scorers", "--scorer")
    several = multi_reference or _common(runs, "multi_reference", "joined several references differently", "--several")
    chosen: MultiReference = "best" if several == "best" else "mean"
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
        for role, score in evaluations[a].scores.items():
            of_a = [(score.scorer, score.statistics), *_others(evaluations[a], role, models[a] if models else {})]
            other = evaluations[b]
            of_b = [(score.scorer, other.scores[role].statistics), *_others(other, role, models[b] if models else {})]
            for (kind, left), (_, right) in zip(of_a, of_b, strict=True):
                for measure, compared in bootstrap.compare_paired(left, right).items():
                    if np.isnan(compared.difference):  # a rate of nothing
                        continue
                    if kind == CHECKS_FAMILY:  # of a check's rate less may be better, or neither
                        compared = replace(compared, wins=None, ties=None, losses=None)
                    rows.append(CompareRow(role, kind, measure, names[a], names[b], compared, 1.0))
    return _adjusted(rows)


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
    """Holm's adjustment, over the rows of each scorer; checks and measures of models are families of their own."""
    answer = list(rows)
    for kind in dict.fromkeys(row.scorer for row in rows):
        places = [place for place, row in enumerate(rows) if row.scorer == kind]
        p_values = bootstrap.holm([rows[place].comparison.p_randomization for place in places])
        for place, p_value in zip(places, p_values, strict=True):
            answer[place] = replace(rows[place], p_adjusted=p_value)
    return answer


def _common(runs: Sequence[EvaluatedRun], key: str, otherwise: str, flag: str) -> str | None:
    """What all results say under `key`, or None where none says anything."""
    said = {str(of[key]): run for run in runs for of in run.results.get("roles", {}).values() if key in of}
    said.pop("single", None)
    if len(said) > 1:
        told = ", ".join(f"{run.directory}: {value}" for value, run in said.items())
        raise UsageError(f"the runs have {otherwise} ({told})", fix=f"say one for all: {flag}")
    return next(iter(said), None)


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
    told = []
    for run in runs:
        of_role = run.results.get("roles", {}).get(role, {})
        facts = of_role.get("models", {}).get(name)
        if facts is None:
            return False
        told.append({key: value for key, value in facts.items() if key not in own})
    return all(one == told[0] for one in told)
