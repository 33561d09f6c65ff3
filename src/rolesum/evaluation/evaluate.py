"""Evaluate an engine: its predictions for dialogues that have references, and their scores per role."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any

from rolesum.dialogue import Dialogue
from rolesum.errors import DataError
from rolesum.evaluation.checks import RoleChecks, check_predictions
from rolesum.evaluation.groups import groups_of
from rolesum.evaluation.neural.model_score import ModelScore
from rolesum.evaluation.prediction import Prediction
from rolesum.evaluation.scorers import Score, Several, check_language, default_scorer, get_scorer, score
from rolesum.generation import Engine, summarise
from rolesum.progress import Meter, meter


@dataclass(frozen=True)
class Evaluation:
    """All predictions of a system, and its scores per role. `about` names system, data and versions.

    `checks` are the model-free checks and `groups` the scores by kind of dialogue, where the dialogues were at hand;
    `model_scores` are measures that a model computed, by role and measure.
    """

    predictions: tuple[Prediction, ...]
    scores: Mapping[str, Score]
    about: Mapping[str, Any]
    checks: Mapping[str, RoleChecks] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    model_scores: Mapping[str, Mapping[str, ModelScore]] = field(default_factory=dict)

    def of(self, role: str) -> list[Prediction]:
        """The predictions for one role, in order: what its scores' `per_pair` and checks stand beside."""
        return [one for one in self.predictions if one.role == role]


def evaluate(
    engine: Engine,
    dialogues: Sequence[Dialogue],
    *,
    roles: Sequence[str] | None = None,
    scorer: str | None = None,
    references: Several = "mean",
    max_new_tokens: int,
    about: Mapping[str, Any] | None = None,
    label: str = "summarise",
) -> Evaluation:
    """Summarise each dialogue for the roles that it has references for (of `roles`, if given), and score.

    The scorer follows the references' language unless named. Raises DataError where there is nothing to compare with.
    """
    groups: dict[tuple[str, ...], list[int]] = {}  # roles to write -> places in `dialogues`
    for place, dialogue in enumerate(dialogues):
        wanted = tuple(role for role in roles or dialogue.summaries if role in dialogue.summaries)
        if wanted:
            groups.setdefault(wanted, []).append(place)
    if not groups:
        has = sorted({role for dialogue in dialogues for role in dialogue.summaries}) or ["none"]
        what = f"no reference summaries for {', '.join(roles) if roles else 'any role'}; the data has: {', '.join(has)}"
        raise DataError(what, fix="ask for other --roles, or use rolesum summarize where there are no references")
    total = sum(map(len, groups.values()))
    pairs = [
        ("", dialogues[place].summaries[role])
        for wanted, places in groups.items()
        for place in places
        for role in wanted
    ]
    name = scorer or default_scorer(pairs)
    check_language(get_scorer(name), pairs)  # before hours of work, not after
    by_place: dict[int, list[Prediction]] = {}
    begin = time.monotonic()
    with meter(label, total) as bar:
        for wanted, places in groups.items():
            group = [dialogues[place] for place in places]
            by_place |= zip(places, _predict(engine, group, wanted, max_new_tokens, bar), strict=True)
    predictions = tuple(one for place in sorted(by_place) for one in by_place[place])
    told = {
        "engine": engine.name,
        "max_new_tokens": max_new_tokens,
        "dialogues": total,
        "dialogues_per_second": round(total / (time.monotonic() - begin), 3),
        "rolesum": metadata.version("rolesum"),
    }
    return Evaluation(predictions, score_roles(predictions, name, references), {**(about or {}), **told})


def score_roles(
    predictions: Sequence[Prediction], scorer: str | None = None, references: Several = "mean"
) -> dict[str, Score]:
    """Each role's score, in order of appearance; by the scorer of the references' language unless one is named."""
    by_role: dict[str, list[tuple[str, Sequence[str]]]] = {}
    for one in predictions:
        by_role.setdefault(one.role, []).append((one.prediction, one.references))
    name = scorer or default_scorer([pair for pairs in by_role.values() for pair in pairs])
    return {role: score(name, pairs, references) for role, pairs in by_role.items()}


def with_checks(evaluation: Evaluation, dialogues: Sequence[Dialogue]) -> Evaluation:
    """The evaluation with its model-free checks and its scores by kind of dialogue."""
    checks = check_predictions(evaluation.predictions, dialogues)
    return replace(evaluation, checks=checks, groups=groups_of(evaluation, dialogues))


def _predict(
    engine: Engine, group: Sequence[Dialogue], wanted: Sequence[str], max_new_tokens: int, bar: Meter
) -> list[list[Prediction]]:
    """For each dialogue of the group, a prediction per wanted role."""
    written = summarise(group, engine, wanted, max_new_tokens=max_new_tokens, on_done=bar.advance)
    return [
        [
            Prediction(
                dialogue.id, one.role, one.text, tuple(dialogue.summaries[one.role]), one.tokens, one.finish_reason
            )
            for one in summaries
        ]
        for dialogue, summaries in zip(group, written, strict=True)
    ]
