"""Rates of the model-free checks over a corpus: of the predictions, and of their references for comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rolesum.checks.index import DialogueIndex
from rolesum.checks.registry import CHECKS
from rolesum.checks.runner import check_indexed
from rolesum.checks.types import CheckedSummary
from rolesum.checks.words import tokenize
from rolesum.counts import counted
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError
from rolesum.evaluation.predictions import Prediction
from rolesum.metrics.bootstrap import Statistic, bootstrap_intervals, informative_interval, ratio


@dataclass(frozen=True)
class CheckRate:
    """A check's rate over a corpus, in the check's unit, with its 95 % interval.

    `reference` is the same rate over the reference summaries. `hits` and `cases` are the sums over the predictions. A
    rate of no cases is None.
    """

    value: float | None
    low: float | None
    high: float | None
    reference: float | None
    reference_low: float | None
    reference_high: float | None
    hits: float
    cases: float


@dataclass(frozen=True)
class RoleChecks:
    """One role's checked predictions and references, and the rates of all checks, in the order of CHECKS."""

    checked: tuple[CheckedSummary, ...] = field(repr=False)
    references: tuple[CheckedSummary, ...] = field(repr=False)
    rates: Mapping[str, CheckRate]


def check_predictions(predictions: Sequence[Prediction], dialogues: Sequence[Dialogue]) -> dict[str, RoleChecks]:
    """Check all predictions and all of their references, by role.

    Raises DataError where the dialogue of a prediction is not among `dialogues`.
    """
    by_id = {dialogue.id: dialogue for dialogue in dialogues}
    if missing := [one.id for one in predictions if one.id not in by_id]:
        what = f"no dialogue for {len(missing)} of {counted(len(predictions), 'prediction')}, first: {missing[0]}"
        raise DataError(what, fix="check against the data file that the predictions were made from")
    predicted: dict[str, list[CheckedSummary]] = {one.role: [] for one in predictions}
    references: dict[str, list[CheckedSummary]] = {one.role: [] for one in predictions}
    indexes: dict[str, DialogueIndex] = {}
    for one in predictions:
        index = indexes.get(one.id) or indexes.setdefault(one.id, DialogueIndex(by_id[one.id]))
        predicted[one.role].append(_with_length_ratio(check_indexed(index, one.role, one.prediction), one, index))
        references[one.role] += [check_indexed(index, one.role, reference) for reference in one.references]
    return {
        role: RoleChecks(tuple(predicted[role]), tuple(references[role]), _rates(predicted[role], references[role]))
        for role in predicted
    }


def _with_length_ratio(checked: CheckedSummary, one: Prediction, index: DialogueIndex) -> CheckedSummary:
    """Add the ratio of the summary's length to the mean length of its references, where there are any."""
    lengths = [len(tokenize(reference, index.language)) for reference in one.references]
    if not sum(lengths):
        return checked
    length_ratio = (checked.counts["length"][0], sum(lengths) / len(lengths))
    return CheckedSummary(checked.flags, checked.evidence, {**checked.counts, "length_ratio": length_ratio})


def _rates(predicted: Sequence[CheckedSummary], references: Sequence[CheckedSummary]) -> dict[str, CheckRate]:
    """Compute every check's rate; the bootstrap resamples summaries."""
    statistics, reference_statistics = check_statistics(predicted), check_statistics(references)
    intervals, reference_intervals = bootstrap_intervals(statistics), bootstrap_intervals(reference_statistics)

    def rate(name: str) -> CheckRate:
        hits, cases = (float(total) for total in statistics[name].rows.sum(axis=0))
        low, high = informative_interval(intervals[name], len(predicted)) or (None, None)
        reference_interval = informative_interval(reference_intervals.get(name), len(references))
        reference_low, reference_high = reference_interval or (None, None)
        of_references = reference_statistics.get(name)
        value = statistics[name].value if cases else None
        reference = of_references.value if of_references and of_references.rows[:, 1].sum() else None
        return CheckRate(value, low, high, reference, reference_low, reference_high, hits, cases)

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
