"""How sure a figure is: bootstrap intervals over the pairs."""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 1000
SEED = 1


def bootstrap_interval(values: Sequence[float], share: float = 0.95) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean, over 1,000 seeded resamples."""
    data = np.asarray(values, dtype=float)
    random = np.random.default_rng(SEED)
    means = np.array([data[random.integers(0, len(data), len(data))].mean() for _ in range(RESAMPLES)])
    tail = (1 - share) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
