"""How well a score tells positives from negatives: area under the ROC curve, precision and recall."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def auroc(positives: ArrayLike, negatives: ArrayLike) -> float:
    """The probability that a positive scores above a negative, ties counted half: the area under the ROC curve.

    `positives` and `negatives` are the scores of the two groups, (n,) and (m,). NaN where a group is empty.
    Source: Hanley and McNeil 1982.
    """
    above, below = np.asarray(positives, dtype=float), np.sort(np.asarray(negatives, dtype=float))
    if not above.size or not below.size:
        return float("nan")
    lower, upper = np.searchsorted(below, above, "left"), np.searchsorted(below, above, "right")
    return float((lower + upper).sum() / (2 * above.size * below.size))


def best_threshold(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """The threshold with the highest balanced accuracy, where a score at or above it is called positive.

    Of equally good ones the lowest; it lies midway between two scores that occur. Raises ValueError for an empty group.
    """
    if not len(positives) or not len(negatives):
        raise ValueError("a threshold needs scores of both groups")
    values = np.unique([*positives, *negatives])
    tried = np.concatenate([[values[0]], (values[1:] + values[:-1]) / 2])
    above, below = np.asarray(positives, dtype=float), np.asarray(negatives, dtype=float)
    accuracy = [np.mean(above >= one) + np.mean(below < one) for one in tried]
    return float(tried[int(np.argmax(accuracy))])


def precision_recall(positives: ArrayLike, negatives: ArrayLike, threshold: float) -> tuple[float, float]:
    """The share of the scores at or above `threshold` that are positives', and the share of positives found.

    The precision is NaN where nothing is at or above the threshold.
    """
    found = int(np.sum(np.asarray(positives, dtype=float) >= threshold))
    called = found + int(np.sum(np.asarray(negatives, dtype=float) >= threshold))
    return (found / called if called else float("nan")), found / max(1, np.asarray(positives).size)
