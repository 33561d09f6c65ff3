"""Summarize one shard of dialogues, and report why a dialogue has no summary."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rolesum.dialogue import Dialogue, RoleSummary
from rolesum.errors import DataError, ModelError, Problem
from rolesum.generation.summarizer import Summarizer


@dataclass(frozen=True, slots=True)
class Failure:
    """A dialogue, or a position in a file, without a summary: the reason and the fix."""

    id: str | None
    where: str
    reason: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class ShardResult:
    """Summaries of a shard, one tuple per summarized dialogue in input order, and the failures."""

    summaries: tuple[tuple[RoleSummary, ...], ...]
    failures: tuple[Failure, ...]


def summarize_shard(
    dialogues: Sequence[Dialogue], summarizer: Summarizer, on_done: Callable[[int], None] | None = None
) -> ShardResult:
    """Summarize dialogues for all their roles; a dialogue that cannot be summarized becomes a Failure.

    The result depends on the arguments alone: no files, no globals. A DataError, or a language that the model does not
    support, fails the dialogue; any other error passes through. `on_done` receives the number of dialogues finished.
    """
    failures: dict[int, Failure] = {}
    readable = dict[int, Dialogue]()
    for number, dialogue in enumerate(dialogues):
        if problems := _language_problems(dialogue, summarizer):
            failures[number] = _failure(dialogue, problems)
        else:
            readable[number] = dialogue
    summaries = _summarize(readable, summarizer, failures, on_done)
    return ShardResult(
        tuple(tuple(summaries[number]) for number in sorted(summaries)),
        tuple(failures[number] for number in sorted(failures)),
    )


def _summarize(
    dialogues: dict[int, Dialogue],
    summarizer: Summarizer,
    failures: dict[int, Failure],
    on_done: Callable[[int], None] | None,
) -> dict[int, list[RoleSummary]]:
    """Summaries by dialogue number. Dialogues that the engine rejects are moved to `failures`, and the rest retried.

    If an error names none of the dialogues, the cause is found by bisection.
    """
    while dialogues:
        try:
            return dict(zip(dialogues, summarizer.summarize(list(dialogues.values()), on_done), strict=True))
        except DataError as error:
            of = {number: [p for p in error.problems if p.where == one.location] for number, one in dialogues.items()}
            faulty = {number: problems for number, problems in of.items() if problems}
            if not faulty and len(dialogues) > 1:
                numbers = list(dialogues)
                summaries = dict[int, list[RoleSummary]]()
                for half in (numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]):
                    part = {number: dialogues[number] for number in half}
                    summaries |= _summarize(part, summarizer, failures, on_done)
                return summaries
            for number, problems in (faulty or {number: [*error.problems] for number in dialogues}).items():
                failures[number] = _failure(dialogues.pop(number), problems)
    return {}


def _language_problems(dialogue: Dialogue, summarizer: Summarizer) -> Sequence[Problem]:
    """The problems of a dialogue in a language that the model does not support."""
    try:
        if model := summarizer.engine.text_model:
            model.check_languages([dialogue])
    except ModelError as error:
        return error.problems
    return ()


def _failure(dialogue: Dialogue, problems: Sequence[Problem]) -> Failure:
    """One Failure for all problems of a dialogue."""
    what, fixes = dict.fromkeys(one.what for one in problems), dict.fromkeys(one.fix for one in problems if one.fix)
    return Failure(dialogue.id, dialogue.source, "; ".join(what), "; ".join(fixes))
