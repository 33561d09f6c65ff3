"""One row of a comparison: one figure of two systems on the same dialogues, with its tests."""

from dataclasses import asdict, dataclass
from typing import Any

from rolesum.checks import CHECKS
from rolesum.metrics.bootstrap import Comparison
from rolesum.metrics.scorers import HEADINGS

# In place of a scorer's name: rows of check rates, and of metrics that a model computed.
CHECKS_FAMILY = "checks"
MODELS_FAMILY = "models"


@dataclass(frozen=True)
class CompareRow:
    """One figure of two systems. `p_adjusted` is the randomization test's, by Holm over all rows of the same scorer."""

    role: str
    scorer: str
    measure: str
    a_name: str
    b_name: str
    comparison: Comparison
    p_adjusted: float

    @property
    def heading(self) -> str:
        """The heading of the row in tables."""
        return (
            CHECKS[self.measure].heading if self.scorer == CHECKS_FAMILY else HEADINGS.get(self.measure, self.measure)
        )

    def as_json(self) -> dict[str, Any]:
        """The row as plain data."""
        names = {"role": self.role, "scorer": self.scorer, "measure": self.measure, "a": self.a_name, "b": self.b_name}
        found = asdict(self.comparison)
        values = {"value_a": found.pop("a"), "value_b": found.pop("b"), **found, "p_adjusted": self.p_adjusted}
        return {**names, **{key: round(of, 5) if isinstance(of, float) else of for key, of in values.items()}}
