"""How many summaries have no doubtful statement: all, by role and by language, with intervals over dialogues."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rolesum.dialogue import detect_language
from rolesum.evaluation.predictions import Prediction
from rolesum.metrics.bootstrap import Statistic, bootstrap_intervals, ratio


@dataclass(frozen=True)
class SupportRate:
    """The verified summaries of a group.

    Attributes:
        summaries: Those of which it is known whether they have a doubtful statement.
        without_doubt: Those of them that have none.
        share: `without_doubt` over `summaries`, 0 to 1; None of no summaries.
        interval: The 95 % bootstrap interval of the share, over dialogues; None where all dialogues are alike.
        dialogues: What the interval is over.
        statements: All statements that were verified.
        doubtful: Those whose support is under the threshold.
        unknown: Further summaries, with no statement, or with none that is doubtful and one that was not verified.
        dropped: Statements that were left out of the summaries.
    """

    summaries: int
    without_doubt: int
    share: float | None
    interval: tuple[float, float] | None
    dialogues: int
    statements: int
    doubtful: int
    unknown: int
    dropped: int

    def as_json(self) -> dict[str, Any]:
        """Plain data, rounded to four digits."""
        found = asdict(self)
        found["share"] = None if self.share is None else round(self.share, 4)
        found["interval"] = None if self.interval is None else [round(end, 4) for end in self.interval]
        return found


@dataclass(frozen=True)
class SupportRates:
    """The verified summaries of a system: all of them, by role, and by the language of their references."""

    threshold: float
    total: SupportRate
    roles: Mapping[str, SupportRate]
    languages: Mapping[str, SupportRate]


def has_doubt(one: Prediction) -> bool | None:
    """Whether a summary has a doubtful statement; None where that is not known, as not all of it was verified."""
    if one.doubtful:
        return True
    known = one.support_threshold is not None and all(each.support is not None for each in one.statements)
    return False if known and one.statements else None


def support_rates(predictions: Sequence[Prediction]) -> SupportRates | None:
    """The rates of a system's summaries; None where none was verified."""
    threshold = next((one.support_threshold for one in predictions if one.support_threshold is not None), None)
    if threshold is None:
        return None
    languages = [detect_language(" ".join(one.references)) for one in predictions]
    return SupportRates(
        threshold,
        support_rate(predictions),
        _by_group(predictions, [one.role for one in predictions]),
        _by_group(predictions, languages),
    )


def _by_group(predictions: Sequence[Prediction], groups: Sequence[str]) -> dict[str, SupportRate]:
    pairs = list(zip(predictions, groups, strict=True))
    return {group: support_rate([one for one, own in pairs if own == group]) for group in dict.fromkeys(groups)}


def support_rate(predictions: Sequence[Prediction]) -> SupportRate:
    """The rate of these summaries."""
    doubts = [has_doubt(one) for one in predictions]
    statistic = support_statistic(predictions)
    known = statistic.rows[:, 1] > 0
    interval = bootstrap_intervals({"share": statistic.subset(known)})["share"] if known.any() else None
    verified = [each for one in predictions for each in one.statements if each.support is not None]
    return SupportRate(
        summaries=sum(one is not None for one in doubts),
        without_doubt=sum(one is False for one in doubts),
        share=statistic.value / 100 if known.any() else None,
        interval=(interval[0] / 100, interval[1] / 100) if interval and interval[0] < interval[1] else None,
        dialogues=int(known.sum()),
        statements=len(verified),
        doubtful=sum(len(one.doubtful) for one in predictions),
        unknown=sum(one is None for one in doubts),
        dropped=sum(len(one.dropped) for one in predictions),
    )


def support_statistic(predictions: Iterable[Prediction]) -> Statistic:
    """The percentage of summaries without a doubtful statement, of those where it is known; a row for each dialogue."""
    rows: dict[str, list[int]] = {}  # by dialogue: without doubt, known
    for one in predictions:
        row, doubt = rows.setdefault(one.id, [0, 0]), has_doubt(one)
        row[0] += doubt is False
        row[1] += doubt is not None
    return ratio([row[0] for row in rows.values()], [row[1] for row in rows.values()])


def same_verifier(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two results say that one model verified both, at one threshold and temperature."""
    known = [{key: value for key, value in (of.get("verify") or {}).items() if key != "mode"} for of in (one, other)]
    return bool(known[0]) and known[0] == known[1]
