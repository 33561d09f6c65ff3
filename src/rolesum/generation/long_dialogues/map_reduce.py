"""Map-reduce and refine: a long dialogue is read in chunks of turns, for each of its roles."""

from collections.abc import Sequence
from dataclasses import replace

from rolesum.counts import counted
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError, Problem
from rolesum.generation.engine import Generation
from rolesum.generation.long_dialogues.chunking import Chunk, last_turns, next_chunk, split_into_chunks, turn_spans
from rolesum.generation.long_dialogues.merging import merge_lists
from rolesum.generation.long_dialogues.runner import LongDialogueRunner, PartialSummary, SummaryStep

CONTEXT_FIX = "lower --max-new-tokens, or use a model with a longer context"


def chunk_dialogues(runner: LongDialogueRunner, summaries: Sequence[PartialSummary]) -> dict[int, list[Chunk]]:
    """Number of a dialogue -> its chunks, each of which fits with all of the dialogue's instructions.

    Raises DataError with all the dialogues of which not one turn fits.
    """
    found, problems = dict[int, list[Chunk]](), dict[int, Problem]()
    for one in summaries:
        if one.number in found or one.number in problems:
            continue
        chunks = split_into_chunks(one.rest, runner.chunk_fits(one, one.roles), overlapping=True)
        if chunks is None:
            what = (
                f"not one turn fits beside its instruction and {counted(runner.decoding.max_new_tokens, 'new token')}"
            )
            problems[one.number] = Problem(what, one.dialogue.location, CONTEXT_FIX)
        else:
            found[one.number] = chunks
    if problems:
        raise DataError(list(problems.values()))
    return found


Plan = tuple[PartialSummary, list[SummaryStep | Generation]]


def map_reduce(runner: LongDialogueRunner, summaries: Sequence[PartialSummary], chunks: dict[int, list[Chunk]]) -> None:
    """Summarize each chunk, then the summaries of chunks, until one is left. Lists of chunks are merged.

    Raises DataError where no two summaries fit the model together.
    """
    plans: list[Plan] = []
    for one in summaries:
        parts = [_chunk_dialogue(one, chunk) for chunk in chunks[one.number] if one.count_chunk(chunk)]
        plans.append((one, [SummaryStep(one, part, part, len(parts) == 1) for part in parts]))
    _execute(runner, plans, are_parts=True)
    for one in summaries:
        if len(one.texts) > 1 and runner.engine.layout.is_list(one.role):
            one.texts = [merge_lists(one.texts, runner.engine.layout.instruction_set_for(one.dialogue).language)]
    while unjoined := [one for one in summaries if len(one.texts) > 1]:
        _execute(runner, _plan_joins(runner, unjoined))


def _chunk_dialogue(summary: PartialSummary, chunk: Chunk) -> Dialogue:
    """The chunk as a dialogue with an id of its own, so that sampled texts of two chunks have different seeds."""
    name = f"{summary.dialogue.id}, turns {chunk[0].index + 1} to {chunk[-1].index + 1}"
    return replace(summary.dialogue, id=name, turns=tuple(span.turn for span in chunk))


def _execute(runner: LongDialogueRunner, plans: Sequence[Plan], *, are_parts: bool = False) -> None:
    """Generate the texts of all steps in one call, and keep those that a plan takes over as they are."""
    steps = [text for _, texts in plans for text in texts if isinstance(text, SummaryStep)]
    made = iter(runner.run(steps, are_parts=are_parts))
    for summary, texts in plans:
        summary.set_texts([next(made) if isinstance(text, SummaryStep) else text for text in texts])


def _plan_joins(runner: LongDialogueRunner, summaries: Sequence[PartialSummary]) -> list[Plan]:
    """For each summary, the steps that join its texts into as few new ones as fit. Raises DataError."""
    plans, problems = list[Plan](), list[Problem]()
    for one in summaries:
        label = runner.engine.layout.instruction_set_for(one.dialogue).part_label
        turns = [Turn(label(n, len(one.texts)), _on_one_line(text)) for n, text in enumerate(one.texts, 1)]
        groups = split_into_chunks(
            turn_spans(one.dialogue.with_turns(turns)), runner.chunk_fits(one, [one.role]), whole=True
        )
        if groups is None or len(groups) == len(turns):
            size = counted(runner.decoding.max_new_tokens, "token")
            what = f"no two summaries of up to {size} fit together, to be joined"
            problems.append(Problem(what, one.dialogue.location, CONTEXT_FIX))
            continue
        texts: list[SummaryStep | Generation] = []
        for group in groups:
            shown = one.dialogue.with_turns([span.turn for span in group])
            joined = SummaryStep(one, shown, one.dialogue, len(groups) == 1)
            texts.append(joined if len(group) > 1 else one.texts[group[0].index])
        plans.append((one, texts))
    if problems:
        raise DataError(problems)
    return plans


def refine(runner: LongDialogueRunner, summaries: Sequence[PartialSummary], chunks: dict[int, list[Chunk]]) -> None:
    """Read the chunks in order, each with the summary of all that came before it.

    `chunks` are those of map-reduce, of which there are about as many. Raises DataError where that summary and one turn
    do not fit the model together.
    """
    while waiting := [one for one in summaries if one.rest]:
        steps = [_next_step(runner, one) for one in waiting]
        if lacking := [one for one, step in zip(waiting, steps, strict=True) if step is None]:
            what = f"no turn fits beside the summary so far and {counted(runner.decoding.max_new_tokens, 'new token')}"
            fix = f"use --long-dialogues map-reduce; or {CONTEXT_FIX}"
            raise DataError([Problem(what, one.dialogue.location, fix) for one in lacking])
        ready = [step for step in steps if step is not None]
        for step, text in zip(ready, runner.run(ready), strict=True):
            step.summary.set_texts([text, *step.summary.texts])
            del step.summary.texts[1:]
        if runner.on_part:
            runner.on_part(*_count_parts(summaries, chunks))


def _count_parts(summaries: Sequence[PartialSummary], chunks: dict[int, list[Chunk]]) -> tuple[int, int]:
    """The parts of all dialogues that were read, and an estimate of how many there are."""
    done, total = dict[int, int](), dict[int, int]()
    for one in summaries:
        done[one.number] = max(done.get(one.number, 0), one.passed)
        least = one.passed + bool(one.rest)
        total[one.number] = max(total.get(one.number, 0), least, len(chunks[one.number]) if one.rest else 0)
    return sum(done.values()), sum(total.values())


def _next_step(runner: LongDialogueRunner, one: PartialSummary) -> SummaryStep | None:
    """The step for the next chunk in which the role speaks, after the summary so far; None where no turn fits."""
    before = []
    if one.texts and one.texts[0].text.strip():
        before = [
            Turn(runner.engine.layout.instruction_set_for(one.dialogue).so_far_label(), _on_one_line(one.texts[0]))
        ]
    is_read = False
    while not is_read:
        taken = next_chunk(one.rest, runner.chunk_fits(one, one.roles, before), one.last)
        if taken is None:
            return None
        chunk, one.rest = taken
        one.last = last_turns(chunk)
        is_read = one.count_chunk(chunk)
    if not one.role_speaks_in(one.rest):
        one.count_chunk(one.rest)
        one.rest = ()
    part = _chunk_dialogue(one, chunk)
    shown = part.with_turns([*before, *part.turns])
    return SummaryStep(one, shown, one.dialogue if before else part, not one.rest)


def _on_one_line(text: Generation) -> str:
    return " ".join(text.text.split())
