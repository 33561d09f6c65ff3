"""Bootstrap intervals of corpus statistics, and paired tests of two systems, with a fixed seed.

Every statistic here is a function of sums over pairs: a mean of a sum and a count, a rate of two counts, BLEU of ten
sums. So one resampling of the pairs serves all statistics, and a resample is one row of a matrix product.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 1000
COMPARISON_RESAMPLES = 10_000  # resamples of a comparison, whose p-values need more
FEW = 30  # with fewer pairs, resamples are too much alike: intervals are too narrow and bootstrap p-values too small
SEED = 1
MAX_ELEMENTS_PER_STEP = 4_000_000  # numbers: the memory of one step
MAX_ELEMENTS = 400_000_000  # past this a comparison of many pairs makes do with fewer resamples

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Statistic:
    """A corpus statistic: `rows` is (pairs, k), `compute` turns sums of rows, (…, k), into values, (…).

    A value that is undefined (a rate of no cases) is NaN. `scale` is that of a ratio, None for other statistics.
    """

    rows: Floats = field(repr=False)
    compute: Callable[[Floats], Floats] = field(repr=False)
    scale: float | None = None

    @property
    def value(self) -> float:
        return float(self.compute(self.rows.sum(axis=0)))

    def subset(self, chosen: ArrayLike) -> "Statistic":
        """The same statistic over some of the pairs, given by their positions or by a boolean mask."""
        return replace(self, rows=self.rows[np.asarray(chosen)])


def ratio(numerators: ArrayLike, denominators: ArrayLike, scale: float = 100.0) -> Statistic:
    """The sum of `numerators` over the sum of `denominators`, times `scale`."""

    def figure(sums: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(sums[..., 1] > 0, scale * sums[..., 0] / sums[..., 1], np.nan)

    return Statistic(np.stack([np.asarray(numerators, float), np.asarray(denominators, float)], axis=1), figure, scale)


def mean(values: ArrayLike) -> Statistic:
    """The plain mean; pairs whose value is NaN are left out."""
    data = np.asarray(values, dtype=float)
    known = ~np.isnan(data)
    return ratio(np.where(known, data, 0.0), known, scale=1.0)


def bootstrap_mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean, over 1,000 seeded resamples."""
    interval = bootstrap_intervals({"mean": mean(values)}, confidence)["mean"]
    assert interval is not None
    return interval


def bootstrap_intervals(
    statistics: Mapping[str, Statistic], confidence: float = 0.95, resamples: int = RESAMPLES
) -> dict[str, tuple[float, float] | None]:
    """The percentile bootstrap interval of each statistic, all over the same resamples; None where undefined."""
    if not statistics:
        return {}
    drawn = _resampled(list(statistics.values()), resamples)
    return {name: percentile_interval(figures, confidence) for name, figures in zip(statistics, drawn, strict=True)}


@dataclass(frozen=True)
class Comparison:
    """System B against system A on the same pairs: `difference` is B - A, in the figure's own unit.

    `p_bootstrap` and `p_randomization` are two-sided; the former may be None where it would mislead, see FEW. `effect`
    is d_z, the mean difference of a pair over its standard deviation; it and `wins` (of B), `ties`, `losses` are None
    for figures of a corpus, which pairs do not have.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p_bootstrap: float | None
    p_randomization: float
    pairs: int
    resamples: int
    effect: float | None = None
    wins: int | None = None
    ties: int | None = None
    losses: int | None = None


def compare_paired(
    a: Mapping[str, Statistic],
    b: Mapping[str, Statistic],
    resamples: int = COMPARISON_RESAMPLES,
    confidence: float = 0.95,
) -> dict[str, Comparison]:
    """Paired bootstrap (Koehn 2004) and approximate randomization (Riezler and Maxwell 2005) of all figures of both.

    Under chance, the randomization test has the two outputs of each pair change sides; of a ratio, what each pair adds
    to the difference, because two systems with one rate may well differ in their cases.
    Row i of every statistic must be of the same pair. The p-values are (1 + hits) / (1 + resamples): none is ever 0.
    """
    names = [name for name in a if name in b]
    if not names:
        return {}
    count = len(a[names[0]].rows)
    if odd := {len(one[name].rows) for one in (a, b) for name in names} - {count}:
        raise ValueError(f"{odd.pop()} pairs against {count}")
    resamples = max(1000, min(resamples, MAX_ELEMENTS // count))
    drawn = _resampled([one[name] for one in (a, b) for name in names], resamples)
    swapped = _swapped([a[name] for name in names], [b[name] for name in names], resamples)
    found = {}
    for place, name in enumerate(names):
        gaps = drawn[len(names) + place] - drawn[place]
        found[name] = _comparison(a[name], b[name], gaps[~np.isnan(gaps)], swapped[place], confidence)
    return found


def _comparison(a: Statistic, b: Statistic, gaps: Floats, swapped: Floats, share: float) -> Comparison:
    """Of the resampled differences, and those with sides swapped by chance."""
    difference = b.value - a.value
    tail = min(int((gaps <= 0).sum()), int((gaps >= 0).sum()))
    low, high = percentile_interval(gaps, share) or (np.nan, np.nan)
    hits = int((np.abs(swapped) >= abs(difference) - 1e-9).sum())
    effect, wins, ties, losses = _by_pair(a, b)
    return Comparison(
        a=a.value,
        b=b.value,
        difference=difference,
        low=low,
        high=high,
        p_bootstrap=min(1.0, 2 * (1 + tail) / (1 + len(gaps))),
        p_randomization=(1 + hits) / (1 + len(swapped)),
        pairs=len(a.rows),
        resamples=len(swapped),
        effect=effect,
        wins=wins,
        ties=ties,
        losses=losses,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number by Holm's step-down method."""
    count, adjusted, largest = len(p_values), [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(count), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (count - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def _resampled(statistics: Sequence[Statistic], resamples: int) -> list[Floats]:
    """The values of each statistic, (resamples,), all over the same resamples."""
    count = len(statistics[0].rows)
    rows = np.concatenate([one.rows for one in statistics], axis=1)
    edges = np.cumsum([0, *(one.rows.shape[1] for one in statistics)])
    sums = np.concatenate([weights @ rows for weights in draw_resamples(count, resamples)])
    return [one.compute(sums[:, edges[place] : edges[place + 1]]) for place, one in enumerate(statistics)]


def draw_resamples(count: int, resamples: int = RESAMPLES, width: int = 0) -> Iterator[Floats]:
    """How often each of `count` pairs occurs in each resample, in batches of (resamples, count).

    The draws are the same every time, whatever the batches: `width`, the numbers that the caller makes of a resample,
    only makes them smaller.
    """
    random = np.random.default_rng(SEED)
    step = max(1, MAX_ELEMENTS_PER_STEP // max(count, width))
    for begin in range(0, resamples, step):
        many = min(step, resamples - begin)
        places = random.integers(0, count, (many, count)) + count * np.arange(many)[:, None]
        yield np.bincount(places.ravel(), minlength=many * count).reshape(many, count).astype(float)


def _swapped(a: Sequence[Statistic], b: Sequence[Statistic], resamples: int) -> list[Floats]:
    """For each figure its differences B - A, (resamples,), when each pair's outputs change sides by a coin's toss."""
    random = np.random.default_rng(SEED)
    changes = [_change(left, right) for left, right in zip(a, b, strict=True)]
    edges = np.cumsum([0, *(one.shape[1] for one in changes)])
    count, moved = len(a[0].rows), []
    step = max(1, MAX_ELEMENTS_PER_STEP // count)
    for begin in range(0, resamples, step):
        coins = random.integers(0, 2, (min(step, resamples - begin), count), dtype=np.int8)
        moved.append(coins.astype(float) @ np.concatenate(changes, axis=1))
    sums, found = np.concatenate(moved), []
    for place, (left, right) in enumerate(zip(a, b, strict=True)):
        of_figure = sums[:, edges[place] : edges[place + 1]]
        if left.scale is None:
            gaps = right.compute(right.rows.sum(axis=0) - of_figure) - left.compute(left.rows.sum(axis=0) + of_figure)
        else:
            gaps = changes[place].sum() - 2 * of_figure[:, 0]
        found.append(gaps)
    return found


def _change(a: Statistic, b: Statistic) -> Floats:
    """What a pair moves when its outputs change sides: rows of B less those of A, (pairs, k).

    Of a ratio, (pairs, 1), the pair's share in the difference: what its hits are above the common rate, over all cases.
    """
    if a.scale is None:
        return b.rows - a.rows
    hits, cases = (a.rows + b.rows).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = [(one.rows[:, 0] - hits / cases * one.rows[:, 1]) / one.rows[:, 1].sum() for one in (a, b)]
    share: Floats = a.scale * (shares[1] - shares[0])[:, None]
    return share


def _by_pair(a: Statistic, b: Statistic) -> tuple[float | None, int | None, int | None, int | None]:
    """d_z, wins of B, ties, losses over the pairs that have a value of their own in both; None for corpus figures.

    d_z is undefined where all pairs differ by the same amount.
    """
    if not _is_mean(a) or not _is_mean(b):
        return None, None, None, None
    known = (a.rows[:, 1] > 0) & (b.rows[:, 1] > 0)
    gap = b.rows[known, 0] - a.rows[known, 0]
    if not len(gap):
        return None, None, None, None
    spread = float(gap.std(ddof=1)) if len(gap) > 1 else 0.0
    wins, losses = int((gap > 1e-9).sum()), int((gap < -1e-9).sum())
    effect = float(gap.mean()) / spread if spread > 1e-12 else None if wins or losses else 0.0
    return effect, wins, len(gap) - wins - losses, losses


def _is_mean(statistic: Statistic) -> bool:
    return statistic.scale is not None and bool(np.isin(statistic.rows[:, 1], (0.0, 1.0)).all())


def percentile_interval(figures: Floats, share: float = 0.95) -> tuple[float, float] | None:
    """The interval that holds `share` of the resampled figures, cut evenly at both ends; None if all are undefined."""
    known = figures[~np.isnan(figures)]
    if not len(known):
        return None
    tail = (1 - share) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def informative_interval(interval: tuple[float, float] | None, pairs: int) -> tuple[float, float] | None:
    """The interval, or None for one of few pairs without any width: it would say that the figure is certain."""
    return None if interval is None or (pairs < FEW and interval[1] - interval[0] < 1e-9) else interval
