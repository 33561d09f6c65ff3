"""Evaluate an engine: summarize dialogues that have references, and score the summaries by role."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from typing import Any

from rolesum.console import DIALOGUES_BEFORE_ETA, progress_bar
from rolesum.dialogue import Dialogue, RoleSummary
from rolesum.errors import DataError
from rolesum.evaluation.breakdown import breakdown_by_dialogue
from rolesum.evaluation.check_rates import check_predictions
from rolesum.evaluation.evaluation import Evaluation, score_roles
from rolesum.evaluation.predictions import Prediction
from rolesum.generation import Decoding, Engine, summarize
from rolesum.metrics.scorers import MultiReference, check_language, default_scorer, get_scorer

# How dialogues become summaries: generation.summarize, or a Summarizer, which verifies their statements too.
SummarizeFunction = Callable[..., list[list[RoleSummary]]]


def evaluate(
    engine: Engine,
    dialogues: Sequence[Dialogue],
    *,
    roles: Sequence[str] | None = None,
    scorer: str | None = None,
    multi_reference: MultiReference = "mean",
    decoding: Decoding,
    summarize_with: SummarizeFunction = summarize,
    about_system: Mapping[str, Any] | None = None,
    label: str = "summarize",
) -> Evaluation:
    """Summarize each dialogue for the roles that it has references for (of `roles`, if given), and score.

    The scorer follows the references' language unless named. Raises DataError where there is nothing to compare with.
    """
    wanted = {
        place: requested
        for place, dialogue in enumerate(dialogues)
        if (requested := tuple(role for role in roles or dialogue.summaries if role in dialogue.summaries))
    }
    check_references(dialogues, roles)
    total = len(wanted)
    pairs = [("", dialogues[place].summaries[role]) for place, requested in wanted.items() for role in requested]
    name = scorer or default_scorer(pairs)
    check_language(get_scorer(name), pairs)  # before hours of work, not after
    chosen = [dialogues[place] for place in wanted]
    begin = time.monotonic()
    with progress_bar(label, total, steps_before_eta=DIALOGUES_BEFORE_ETA) as bar:
        summaries_by_dialogue = summarize_with(chosen, engine, list(wanted.values()), decoding, on_done=bar.advance)
    predictions = tuple(
        make_prediction(one, dialogue)
        for dialogue, summaries in zip(chosen, summaries_by_dialogue, strict=True)
        for one in summaries
    )
    about_run = {
        "engine": engine.name,
        "max_new_tokens": decoding.max_new_tokens,
        "dialogues": total,
        "dialogues_per_second": round(total / (time.monotonic() - begin), 3),
        "rolesum": metadata.version("rolesum"),
    }
    return Evaluation(
        predictions, score_roles(predictions, name, multi_reference), {**(about_system or {}), **about_run}
    )


def make_prediction(summary: RoleSummary, dialogue: Dialogue) -> Prediction:
    """A summary of a dialogue beside its references."""
    return Prediction(
        dialogue.id,
        summary.role,
        summary.text,
        tuple(dialogue.summaries[summary.role]),
        summary.tokens,
        summary.finish_reason,
        summary.statements,
        summary.dropped,
        summary.support_threshold,
        summary.quotes,
    )


def check_references(dialogues: Sequence[Dialogue], roles: Sequence[str] | None) -> None:
    """Raise DataError if no dialogue has a reference for one of the roles, or for any role where none are given."""
    found = {role for dialogue in dialogues for role in dialogue.summaries}
    if not (found.intersection(roles) if roles else found):
        asked, has = ", ".join(roles) if roles else "any role", ", ".join(sorted(found)) or "none"
        what = f"no reference summaries for {asked}; the data has: {has}"
        raise DataError(what, fix="ask for other --roles, or use rolesum summarize where there are no references")


def add_checks(evaluation: Evaluation, dialogues: Sequence[Dialogue]) -> Evaluation:
    """The evaluation with its model-free checks and its scores by kind of dialogue."""
    checks = check_predictions(evaluation.predictions, dialogues)
    return replace(evaluation, checks=checks, breakdown=breakdown_by_dialogue(evaluation, dialogues))
