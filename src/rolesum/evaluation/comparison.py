"""One row of a comparison: one figure of two systems on the same dialogues, with its tests."""

from dataclasses import asdict, dataclass
from typing import Any

from rolesum.checks import CHECKS
from rolesum.metrics.bootstrap import Comparison
from rolesum.metrics.scorers import HEADINGS

# In place of a scorer's name: rows of check rates, of metrics that a model computed, and of the support of statements.
CHECKS_FAMILY = "checks"
MODELS_FAMILY = "models"
SUPPORT_FAMILY = "support"
ALL_ROLES = "all roles"  # in place of a role: rows of all summaries of a dialogue together
_HEADINGS = {**HEADINGS, "without_doubt": "no doubtful statement, %"}


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
        if self.scorer == CHECKS_FAMILY:
            return CHECKS[self.measure].heading
        return _HEADINGS.get(self.measure, self.measure)

    def as_json(self) -> dict[str, Any]:
        """The row as plain data."""
        names = {"role": self.role, "scorer": self.scorer, "measure": self.measure, "a": self.a_name, "b": self.b_name}
        found = asdict(self.comparison)
        values = {"value_a": found.pop("a"), "value_b": found.pop("b"), **found, "p_adjusted": self.p_adjusted}
        return {**names, **{key: round(of, 5) if isinstance(of, float) else of for key, of in values.items()}}
