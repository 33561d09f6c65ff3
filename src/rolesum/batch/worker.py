"""The work of a bulk run: the summaries of one block of dialogues, and why some have none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rolesum.dialogue import Dialogue, RoleSummary
from rolesum.errors import DataError, ModelError, Problem
from rolesum.generation.summarizer import Summarizer


@dataclass(frozen=True, slots=True)
class Failure:
    """A dialogue, or a place in a file, that has no summary: why, and what to do about it."""

    id: str | None
    where: str
    reason: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class ShardResult:
    """The summaries of a block, dialogue by dialogue in its order, and the failures."""

    summaries: tuple[tuple[RoleSummary, ...], ...]
    failures: tuple[Failure, ...]


def summarize_shard(
    dialogues: Sequence[Dialogue], summarizer: Summarizer, on_done: Callable[[int], None] | None = None
) -> ShardResult:
    """Summarize dialogues, all roles of each together. What is wrong with one fails that one alone.

    Neither files nor globals: what it gives depends on the arguments alone. Only a DataError, or a language that the
    model does not read, is a dialogue's own fault; other errors go through. `on_done` is told how many were finished.
    """
    failures: dict[int, Failure] = {}
    readable = dict[int, Dialogue]()
    for number, dialogue in enumerate(dialogues):
        if problems := _unread(dialogue, summarizer):
            failures[number] = _failure(dialogue, problems)
        else:
            readable[number] = dialogue
    written = _summaries(readable, summarizer, failures, on_done)
    return ShardResult(
        tuple(tuple(written[number]) for number in sorted(written)),
        tuple(failures[number] for number in sorted(failures)),
    )


def _summaries(
    dialogues: dict[int, Dialogue],
    writer: Summarizer,
    failures: dict[int, Failure],
    on_done: Callable[[int], None] | None,
) -> dict[int, list[RoleSummary]]:
    """Number -> summaries. Where the engine refuses all for the sake of some, those fail and the rest are tried again.

    An error that does not say whose fault it is, is looked for in halves.
    """
    while dialogues:
        try:
            return dict(zip(dialogues, writer.summarize(list(dialogues.values()), on_done), strict=True))
        except DataError as error:
            of = {number: [p for p in error.problems if p.where == one.location] for number, one in dialogues.items()}
            faulty = {number: problems for number, problems in of.items() if problems}
            if not faulty and len(dialogues) > 1:
                numbers = list(dialogues)
                written = dict[int, list[RoleSummary]]()
                for half in (numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]):
                    written |= _summaries({number: dialogues[number] for number in half}, writer, failures, on_done)
                return written
            for number, problems in (faulty or {number: [*error.problems] for number in dialogues}).items():
                failures[number] = _failure(dialogues.pop(number), problems)
    return {}


def _unread(dialogue: Dialogue, writer: Summarizer) -> Sequence[Problem]:
    """What is wrong where the model does not read the dialogue's language."""
    try:
        if model := writer.engine.text_model:
            model.check_languages([dialogue])
    except ModelError as error:
        return error.problems
    return ()


def _failure(dialogue: Dialogue, problems: Sequence[Problem]) -> Failure:
    what, fixes = dict.fromkeys(one.what for one in problems), dict.fromkeys(one.fix for one in problems if one.fix)
    return Failure(dialogue.id, dialogue.source, "; ".join(what), "; ".join(fixes))
