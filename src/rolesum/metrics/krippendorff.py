"""Krippendorff's alpha: agreement of raters beyond chance, for any number of raters and missing ratings.

Krippendorff, Content Analysis (2019), chapter 12. Our own few lines, because the package of that name is under the GPL.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Level = Literal["nominal", "ordinal", "interval"]


def alpha_from_counts(counts: ArrayLike, values: ArrayLike, level: Level) -> float | None:
    """1 for perfect agreement, 0 for chance, below 0 for worse; None where fewer than two values were given.

    `counts` is (units, values): how many raters gave each unit each value. A unit with one rating counts nothing.
    `values`, (values,), are in order, and their distances count on the level "interval".
    """
    table = np.asarray(counts, dtype=float)
    table = table[table.sum(axis=1) > 1]
    totals = table.sum(axis=0)
    if np.count_nonzero(totals) < 2:
        return None
    raters = table.sum(axis=1)
    # Pairs of ratings of one unit, each unit weighted so that its ratings count once.
    coincidences = (table / (raters - 1)[:, None]).T @ table - np.diag((table / (raters - 1)[:, None]).sum(axis=0))
    distances = _distances(totals, np.asarray(values, dtype=float), level)
    observed = float((coincidences * distances).sum())
    expected = float((np.outer(totals, totals) * distances).sum()) / (totals.sum() - 1)
    return float(1 - observed / expected)


def alpha_from_ratings(ratings: ArrayLike, level: Level) -> float | None:
    """The same of (raters, units), NaN where a rater gave none."""
    table = np.asarray(ratings, dtype=float)
    values = np.unique(table[~np.isnan(table)])
    return alpha_from_counts((table[:, :, None] == values).sum(axis=0), values, level) if len(values) else None


def _distances(totals: NDArray[np.float64], values: NDArray[np.float64], level: Level) -> NDArray[np.float64]:
    """Squared distances between values, (values, values)."""
    if level == "nominal":
        return 1 - np.eye(len(totals))
    if level == "ordinal":  # by how many ratings lie between two values, half of their own included
        values = np.cumsum(totals) - totals / 2
    squared: NDArray[np.float64] = (values[:, None] - values[None, :]) ** 2
    return squared
