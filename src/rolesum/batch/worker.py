"""Summarize one shard of dialogues, and report why a dialogue has no summary."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rolesum.dialogue import Dialogue, ExtractedFields, RoleSummary
from rolesum.errors import DataError, ModelError, Problem
from rolesum.generation.summarizer import Summarizer


@dataclass(frozen=True, slots=True)
class Failure:
    """A dialogue, or a position in a file, without a summary: the reason and the fix."""

    id: str | None
    where: str
    reason: str
    fix: str = ""


# What is written for one dialogue: the summaries of its roles, or its fields.
Written = Sequence[RoleSummary] | ExtractedFields


@dataclass(frozen=True, slots=True)
class ShardResult:
    """Summaries or fields of a shard, those of each dialogue in input order, and the failures."""

    summaries: tuple[Written, ...]
    failures: tuple[Failure, ...]


def summarize_shard(
    dialogues: Sequence[Dialogue], summarizer: Summarizer, on_done: Callable[[int], None] | None = None
) -> ShardResult:
    """Summarize dialogues for all their roles, or fill in the fields that the summarizer is configured for.

    A dialogue that cannot be summarized, or whose answer is no fields, becomes a Failure.

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
    written = _summarize(readable, summarizer, failures, on_done)
    for number, one in list(written.items()):
        if isinstance(one, ExtractedFields) and one.fields is None:
            failures[number] = _failure(dialogues[number], [Problem(one.problem)])
            del written[number]
    return ShardResult(
        tuple(written[number] for number in sorted(written)),
        tuple(failures[number] for number in sorted(failures)),
    )


def _summarize(
    dialogues: dict[int, Dialogue],
    summarizer: Summarizer,
    failures: dict[int, Failure],
    on_done: Callable[[int], None] | None,
) -> dict[int, Written]:
    """Summaries or fields by dialogue number.

    Dialogues that the engine rejects are moved to `failures`, and the rest retried. If an error names none of the
    dialogues, the cause is found by bisection.
    """
    while dialogues:
        try:
            return dict(zip(dialogues, _write(list(dialogues.values()), summarizer, on_done), strict=True))
        except DataError as error:
            of = {number: [p for p in error.problems if p.where == one.location] for number, one in dialogues.items()}
            faulty = {number: problems for number, problems in of.items() if problems}
            if not faulty and len(dialogues) > 1:
                numbers = list(dialogues)
                summaries = dict[int, Written]()
                for half in (numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]):
                    part = {number: dialogues[number] for number in half}
                    summaries |= _summarize(part, summarizer, failures, on_done)
                return summaries
            for number, problems in (faulty or {number: [*error.problems] for number in dialogues}).items():
                failures[number] = _failure(dialogues.pop(number), problems)
    return {}


def _write(
    dialogues: Sequence[Dialogue], summarizer: Summarizer, on_done: Callable[[int], None] | None
) -> Sequence[Written]:
    if summarizer.config.fields:
        return summarizer.extract_fields(dialogues, on_done)
    return [tuple(of) for of in summarizer.summarize(dialogues, on_done)]


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
