"""Calibration of a binary classifier: how far its probabilities are right, and one temperature that corrects them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# The temperature is sought between these; a classifier without an error has its lowest negative log-likelihood at 0.
LOWEST, HIGHEST = 0.05, 20.0
_STEPS = 60  # of the bisection: more than a float's digits
BINS = 10  # of a reliability table


def fit_temperature(log_odds: ArrayLike, labels: Sequence[bool]) -> float:
    """Fit the temperature T with the lowest negative log-likelihood of labels under sigmoid(log_odds / T).

    `log_odds` (n,) are those of the label True. T lies from LOWEST to HIGHEST. The negative log-likelihood is convex in
    a = 1 / T, so that the root of its derivative, mean(z * (sigmoid(a z) - y)), is found by bisection. Raises
    ValueError unless both labels occur, and each has log-odds that are finite. Source: Guo et al. 2017, arXiv
    1706.04599.
    """
    z, y = np.asarray(log_odds, dtype=float), np.asarray(labels, dtype=float)
    if z.shape != y.shape or not np.isfinite(z).all():
        raise ValueError("a temperature needs finite log-odds, one for each label")
    if set(y.tolist()) != {0.0, 1.0}:
        raise ValueError("a temperature needs examples of both labels")
    low, high = 1 / HIGHEST, 1 / LOWEST
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if np.mean(z * (sigmoid(middle * z) - y)) > 0:
            high = middle
        else:
            low = middle
    return float(1 / ((low + high) / 2))


def sigmoid(log_odds: ArrayLike) -> NDArray[np.float64]:
    """The probabilities of log-odds, in double precision and without overflow."""
    z = np.asarray(log_odds, dtype=np.float64)
    return np.exp(-np.logaddexp(0.0, -z))


@dataclass(frozen=True)
class ReliabilityBin:
    """The examples whose probability lies from `low` up to `high`, which is outside but for the last bin.

    `probability` is their mean probability and `share` the share of those that are labeled True: equal, if calibrated.
    """

    low: float
    high: float
    count: int
    probability: float
    share: float


def reliability(probabilities: ArrayLike, labels: Sequence[bool], bins: int = BINS) -> list[ReliabilityBin]:
    """The reliability table: the examples (n,) in bins of one width from 0 to 1; empty bins are left out."""
    p, y = np.asarray(probabilities, dtype=float), np.asarray(labels, dtype=float)
    edges = np.arange(bins + 1) / bins
    place = np.searchsorted(edges[1:-1], p, "right")
    inside = [(number, place == number) for number in range(bins)]
    return [
        ReliabilityBin(
            float(edges[number]), float(edges[number + 1]), int(of.sum()), float(p[of].mean()), float(y[of].mean())
        )
        for number, of in inside
        if of.any()
    ]


def expected_calibration_error(table: Sequence[ReliabilityBin]) -> float:
    """The mean distance of probability and share over the examples of a reliability table; NaN of none.

    Source: Guo et al. 2017, arXiv 1706.04599.
    """
    total = sum(one.count for one in table)
    return sum(one.count * abs(one.probability - one.share) for one in table) / total if total else float("nan")
