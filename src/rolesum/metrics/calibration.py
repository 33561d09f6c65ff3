"""Calibration of a binary classifier's log-odds by one temperature."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

# The temperature is sought between these; a classifier without an error has its lowest negative log-likelihood at 0.
LOWEST, HIGHEST = 0.05, 20.0
_STEPS = 60  # of the bisection: more than a float's digits


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
