"""The figures of a detector against people's labels, with bootstrap intervals over dialogues.

A threshold is fitted on other summaries than those measured: on validation data, or by cross-fitting on two halves of
the dialogues. It is the one with the highest balanced accuracy there. The intervals hold the thresholds fixed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rolesum.counts import counted
from rolesum.errors import DataError
from rolesum.evaluation.detection.detectors import Detector
from rolesum.evaluation.detection.labels import TEST, VALIDATION, Labels
from rolesum.metrics.bootstrap import bootstrap_intervals, informative_interval
from rolesum.metrics.detection import auroc, auroc_interval, best_threshold, decision_statistics

SEED = 1  # of the halves
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Figure:
    """A figure and its 95 % interval; NaN where it is undefined, None for an interval that says nothing."""

    value: float
    interval: tuple[float, float] | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain data, rounded to four digits."""
        return {
            "value": None if math.isnan(self.value) else round(self.value, 4),
            "interval": None if self.interval is None else [round(end, 4) for end in self.interval],
        }


@dataclass(frozen=True)
class ThresholdProtocol:
    """How thresholds are fixed: `parts` are pairs of the summaries that one is fitted on, and those it is applied to.

    Each summary that is measured is in one part. `description` says it in words.
    """

    description: str
    parts: Sequence[tuple[Places, Places]] = field(repr=False)

    @property
    def measured(self) -> Places:
        return np.sort(np.concatenate([applied for _, applied in self.parts]))


@dataclass(frozen=True)
class KindFigures:
    """Of one kind of error: the number of summaries, their AUROC against all right ones, and their recall."""

    summaries: int
    auroc: float
    recall: Figure


@dataclass(frozen=True)
class DetectorFigures:
    """How well a detector finds the wrong summaries, all and by kind of error.

    `false_positive_rate` is the share of right summaries that it calls wrong. `undefined` summaries have no score and
    count in no figure.
    """

    name: str
    thresholds: tuple[float, ...]
    auroc: Figure
    balanced_accuracy: Figure
    precision: Figure
    recall: Figure
    false_positive_rate: Figure
    kinds: dict[str, KindFigures]
    undefined: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain data for the record."""
        names = ("auroc", "balanced_accuracy", "precision", "recall", "false_positive_rate")
        return {
            "detector": self.name,
            "thresholds": [round(one, 6) for one in self.thresholds],
            "undefined": self.undefined,
            **{name: getattr(self, name).as_json() for name in names},
            "kinds": {
                kind: {"summaries": of.summaries, "auroc": round(of.auroc, 4), "recall": of.recall.as_json()}
                for kind, of in self.kinds.items()
            },
        }


def split_protocol(labels: Labels) -> ThresholdProtocol:
    """Thresholds fitted on the validation split. Raises DataError for a dialogue in both splits, or without any."""
    splits = np.array([one.split for one in labels.summaries])
    if unnamed := [one for one in labels.summaries if not one.split]:
        what = f"no split is named for {counted(len(unnamed), 'summary', 'summaries')}, and one is for others"
        raise DataError(what, unnamed[0].location, "write validation or test under split, or leave it out everywhere")
    fitted, applied = np.flatnonzero(splits == VALIDATION), np.flatnonzero(splits == TEST)
    if shared := set(labels.groups[fitted]) & set(labels.groups[applied]):
        where = labels.dialogues[min(shared)].location
        what = f"validation and test have {counted(len(shared), 'dialogue')} in common"
        raise DataError(what, where, "keep all summaries of a dialogue in one of them")
    return ThresholdProtocol("fitted on validation", [(fitted, applied)])


def halves_protocol(labels: Labels) -> ThresholdProtocol:
    """Cross-fitted thresholds: each half of the dialogues is measured at the threshold of the other.

    The halves are drawn by a seed, with about as many wrong summaries in each. Raises DataError for fewer than two
    dialogues, and where a half would hold only right or only wrong summaries.
    """
    share = np.bincount(labels.groups, labels.errors) / np.bincount(labels.groups)
    drawn = np.random.default_rng(SEED).permutation(len(labels.dialogues))
    order = drawn[np.argsort(share[drawn], kind="stable")]
    half = np.zeros(len(order), dtype=np.int64)
    half[order[1::2]] = 1
    first, second = (np.flatnonzero(half[labels.groups] == one) for one in (0, 1))
    if any(len(set(labels.errors[one])) < 2 for one in (first, second)):
        what = "too few dialogues for thresholds: one half of them would have summaries of one kind only"
        raise DataError(what, fix="name other labels to fit them on: --labels-validation FILE")
    return ThresholdProtocol(
        "cross-fitted: in each half of the dialogues, the threshold is that of the other half",
        [(first, second), (second, first)],
    )


def detector_figures(detector: Detector, labels: Labels, protocol: ThresholdProtocol) -> DetectorFigures:
    """All figures of one detector. Raises DataError where it has scores for right or for wrong summaries only."""
    known = ~np.isnan(detector.scores)
    is_called, thresholds = _decisions(detector, labels, protocol, known)
    measured = protocol.measured[known[protocol.measured]]
    scores, errors, called = detector.scores[measured], labels.errors[measured], is_called[measured]
    _, groups = np.unique(labels.groups[measured], return_inverse=True)
    summaries = [labels.summaries[place] for place in measured]
    kinds = {
        kind: np.array([kind in one.kinds for one in summaries])
        for kind in sorted({kind for one in summaries for kind in one.kinds})
    }
    statistics = decision_statistics(called, errors, groups)
    by_kind = {kind: decision_statistics(called, has_kind, groups)["recall"] for kind, has_kind in kinds.items()}
    intervals = bootstrap_intervals(statistics | {f"kind {kind}": one for kind, one in by_kind.items()})
    dialogues = int(groups.max()) + 1

    def figure(value: float, interval: tuple[float, float] | None) -> Figure:
        return Figure(value, informative_interval(interval, dialogues))

    return DetectorFigures(
        name=detector.name,
        thresholds=thresholds,
        auroc=figure(auroc(scores[errors], scores[~errors]), auroc_interval(scores, errors, groups)),
        **{name: figure(one.value, intervals[name]) for name, one in statistics.items()},
        kinds={
            kind: KindFigures(
                int(has_kind.sum()),
                auroc(scores[has_kind], scores[~errors]),
                figure(by_kind[kind].value, intervals[f"kind {kind}"]),
            )
            for kind, has_kind in kinds.items()
        },
        undefined=len(protocol.measured) - len(measured),
    )


def _decisions(
    detector: Detector, labels: Labels, protocol: ThresholdProtocol, known: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], tuple[float, ...]]:
    """Whether each summary is called wrong, False outside the protocol, and the thresholds."""
    is_called, thresholds = np.zeros(len(known), dtype=bool), list[float]()
    for fitted, applied in protocol.parts:
        usable = fitted[known[fitted]]
        scores, errors = detector.scores[usable], labels.errors[usable]
        if len(set(errors)) < 2 or len(set(labels.errors[applied[known[applied]]])) < 2:
            what = f"{detector.name}: scores of right summaries only, or of wrong ones only"
            raise DataError(what, fix="run it again, or leave the detector out")
        fixed = detector.threshold
        thresholds.append(best_threshold(scores[errors], scores[~errors]) if fixed is None else fixed)
        is_called[applied] = detector.scores[applied] >= thresholds[-1]
    return is_called, tuple(dict.fromkeys(thresholds))
