"""How far annotators agree beyond chance: Krippendorff's alpha."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rolesum.evaluation.human.store import Judgment
from rolesum.metrics.bootstrap import RESAMPLES, SEED
from rolesum.metrics.krippendorff import alpha_from_counts

Counts = NDArray[np.int64]
Level = Literal["ordinal", "nominal"]


@dataclass(frozen=True)
class AnnotatorAgreement:
    """`alpha` is 1 for perfect agreement, 0 for chance, below 0 for worse; None, with a `note`, where undefined.

    `interval` is the 95 % percentile bootstrap interval over dialogues; `units` counts what at least two annotators
    judged, which is all that alpha sees.
    """

    alpha: float | None
    interval: tuple[float, float] | None
    level: Level
    units: int
    note: str = ""


def annotator_agreement(judgments: Sequence[Judgment], values: Sequence[int], ordinal: bool) -> AnnotatorAgreement:
    """Krippendorff's alpha (Krippendorff 2019, chapter 12) of one criterion, whose answers are among `values`.

    Ordinal for ratings, where 1 against 5 is a worse quarrel than 4 against 5; nominal for preferences.
    """
    level: Level = "ordinal" if ordinal else "nominal"
    column = {value: place for place, value in enumerate(values)}
    units: dict[tuple[str, ...], Counts] = defaultdict(lambda: np.zeros(len(values), dtype=np.int64))
    for one in judgments:
        units[one.unit][column[one.value]] += 1
    shared = {unit: counts for unit, counts in units.items() if counts.sum() > 1}
    if not shared:
        return AnnotatorAgreement(None, None, level, 0, "no two annotators judged the same output")
    counts = np.stack(list(shared.values()))
    if np.count_nonzero(counts.sum(axis=0)) < 2:
        return AnnotatorAgreement(None, None, level, len(shared), "all answers are the same")
    dialogues = defaultdict(list)
    for place, unit in enumerate(shared):
        dialogues[unit[0]].append(place)
    interval = _interval(counts, list(dialogues.values()), values, level)
    return AnnotatorAgreement(alpha_from_counts(counts, values, level), interval, level, len(shared))


def _interval(
    counts: Counts, groups: Sequence[Sequence[int]], values: Sequence[int], level: Level
) -> tuple[float, float] | None:
    if len(groups) < 2:
        return None
    random, found = np.random.default_rng(SEED), []
    for _ in range(RESAMPLES):
        drawn = counts[[place for group in random.integers(0, len(groups), len(groups)) for place in groups[group]]]
        if (alpha := alpha_from_counts(drawn, values, level)) is not None:
            found.append(alpha)
    if not found:
        return None
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)
