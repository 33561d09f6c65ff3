"""The result of an evaluation, and the scores of its predictions by role."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rolesum.evaluation.check_rates import RoleChecks
from rolesum.evaluation.model_metrics.model_score import ModelScore
from rolesum.evaluation.predictions import Prediction
from rolesum.metrics.scorers import MultiReference, Score, default_scorer, score


@dataclass(frozen=True)
class Evaluation:
    """All predictions of a system, and its scores per role. `about` names system, data and versions.

    `checks` are the model-free checks and `groups` the scores by kind of dialogue, where the dialogues were at hand;
    `model_scores` are measures that a model computed, by role and measure.
    """

    predictions: tuple[Prediction, ...]
    scores: Mapping[str, Score]
    metadata: Mapping[str, Any]
    checks: Mapping[str, RoleChecks] = field(default_factory=dict)
    breakdown: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    model_scores: Mapping[str, Mapping[str, ModelScore]] = field(default_factory=dict)

    def predictions_for(self, role: str) -> list[Prediction]:
        """The predictions for one role, in order: what its scores' `per_pair` and checks stand beside."""
        return [one for one in self.predictions if one.role == role]


def score_roles(
    predictions: Sequence[Prediction], scorer: str | None = None, multi_reference: MultiReference = "mean"
) -> dict[str, Score]:
    """Each role's score, in order of appearance; by the scorer of the references' language unless one is named."""
    by_role: dict[str, list[tuple[str, Sequence[str]]]] = {}
    for one in predictions:
        by_role.setdefault(one.role, []).append((one.prediction, one.references))
    name = scorer or default_scorer([pair for pairs in by_role.values() for pair in pairs])
    return {role: score(name, pairs, multi_reference) for role, pairs in by_role.items()}
