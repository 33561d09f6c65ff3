"""The result of a model-based metric: each pair's values, and the metadata that says how they were computed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rolesum.metrics.bootstrap import bootstrap_intervals, mean


@dataclass(frozen=True)
class ModelScore:
    """One metric of all pairs. `metadata` holds model, layer, settings and versions; metadata["unit"] is the unit.

    A pair for which the metric is undefined is NaN, and counts in no mean.
    """

    name: str
    metadata: Mapping[str, Any]
    per_pair: Mapping[str, Sequence[float]] = field(repr=False)

    @property
    def means(self) -> dict[str, float]:
        return {measure: mean(values).value for measure, values in self.per_pair.items()}

    def as_json(self) -> dict[str, Any]:
        """Plain data for results.json: facts, pairs, undefined pairs, means and 95 % bootstrap intervals."""
        spread = bootstrap_intervals(
            {measure: mean(values) for measure, values in self.per_pair.items() if len(values)}
        )
        return {
            "measure": self.name,
            **self.metadata,
            "pairs": max((len(values) for values in self.per_pair.values()), default=0),
            "undefined": {
                measure: sum(map(math.isnan, values))
                for measure, values in self.per_pair.items()
                if any(map(math.isnan, values))
            },
            "means": {measure: _rounded(value) for measure, value in self.means.items()},
            "intervals": {
                measure: None if bounds is None else [_rounded(bound) for bound in bounds]
                for measure, bounds in spread.items()
            },
        }

    def row(self) -> dict[str, str]:
        """The means with their intervals as cells of a table: "78.40 (77.9–78.9)"."""
        found = self.as_json()
        return {measure: _cell(value, found["intervals"].get(measure)) for measure, value in found["means"].items()}


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def _cell(value: float | None, bounds: list[float] | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f} ({bounds[0]:.2f}–{bounds[1]:.2f})" if bounds else f"{value:.2f}"
