"""Rates of the model-free checks over a corpus: of the predictions, and of their references for comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rolesum.checks.index import DialogueIndex
from rolesum.checks.registry import CHECKS
from rolesum.checks.runner import check_indexed
from rolesum.checks.types import CheckedSummary
from rolesum.checks.words import tokenize
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError
from rolesum.evaluation.prediction import Prediction
from rolesum.metrics.bootstrap import Statistic, bootstrap_intervals, ratio


@dataclass(frozen=True)
class Rate:
    """A check's figure over a corpus, in the check's unit, with its 95 % interval; `gold` is the references' figure.

    `hits` and `cases` are the predictions' sums. A figure of no cases is None.
    """

    value: float | None
    low: float | None
    high: float | None
    gold: float | None
    gold_low: float | None
    gold_high: float | None
    hits: float
    cases: float


@dataclass(frozen=True)
class RoleChecks:
    """One role's predictions and references as the checks see them, and the rates of all checks, in their order."""

    checked: tuple[CheckedSummary, ...] = field(repr=False)
    gold: tuple[CheckedSummary, ...] = field(repr=False)
    rates: Mapping[str, Rate]


def check_predictions(predictions: Sequence[Prediction], dialogues: Sequence[Dialogue]) -> dict[str, RoleChecks]:
    """By role, all predictions and all of their references checked.

    Raises DataError where the dialogue of a prediction is not among `dialogues`.
    """
    by_id = {dialogue.id: dialogue for dialogue in dialogues}
    if missing := [one.id for one in predictions if one.id not in by_id]:
        what = f"no dialogue for {len(missing)} of {len(predictions)} predictions, first: {missing[0]}"
        raise DataError(what, fix="check against the data file that the predictions were made from")
    made: dict[str, list[CheckedSummary]] = {one.role: [] for one in predictions}
    gold: dict[str, list[CheckedSummary]] = {one.role: [] for one in predictions}
    prepared: dict[str, DialogueIndex] = {}
    for one in predictions:
        ready = prepared.get(one.id) or prepared.setdefault(one.id, DialogueIndex(by_id[one.id]))
        made[one.role].append(_with_ratio(check_indexed(ready, one.role, one.prediction), one, ready))
        gold[one.role] += [check_indexed(ready, one.role, reference) for reference in one.references]
    return {role: RoleChecks(tuple(made[role]), tuple(gold[role]), _rates(made[role], gold[role])) for role in made}


def _with_ratio(checked: CheckedSummary, one: Prediction, prepared: DialogueIndex) -> CheckedSummary:
    """With the length ratio to the mean of the references, where there are any."""
    lengths = [len(tokenize(reference, prepared.language)) for reference in one.references]
    if not sum(lengths):
        return checked
    ratio_ = (checked.counts["length"][0], sum(lengths) / len(lengths))
    return CheckedSummary(checked.flags, checked.evidence, {**checked.counts, "length_ratio": ratio_})


def _rates(made: Sequence[CheckedSummary], gold: Sequence[CheckedSummary]) -> dict[str, Rate]:
    """Every check's rate; the bootstrap draws summaries."""
    of_made, of_gold = check_statistics(made), check_statistics(gold)
    bounds_made, bounds_gold = bootstrap_intervals(of_made), bootstrap_intervals(of_gold)

    def rate(name: str) -> Rate:
        hits, cases = (float(total) for total in of_made[name].rows.sum(axis=0))
        low, high = bounds_made[name] or (None, None)
        gold_low, gold_high = bounds_gold.get(name) or (None, None)
        value = of_made[name].value if cases else None
        golden = of_gold[name].value if name in of_gold and of_gold[name].rows[:, 1].sum() else None
        return Rate(value, low, high, golden, gold_low, gold_high, hits, cases)

    return {name: rate(name) for name in CHECKS}


def check_statistics(checked: Sequence[CheckedSummary]) -> dict[str, Statistic]:
    """Every check's rate over these summaries, in the units of CHECKS, as a statistic that can be resampled."""
    if not checked:
        return {}
    found = {}
    for name, check in CHECKS.items():
        pairs = [one.counts.get(name, (0.0, 0.0)) for one in checked]
        scale = 100.0 if check.unit == "%" else 1.0
        found[name] = ratio([hits for hits, _ in pairs], [cases for _, cases in pairs], scale)
    return found
