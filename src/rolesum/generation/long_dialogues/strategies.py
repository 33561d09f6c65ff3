"""Summaries of dialogues of any length: one that does not fit is refused, shortened, or read in chunks, as one says."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, get_args

from rolesum.dialogue import Coverage, Dialogue, RoleSummary
from rolesum.errors import DataError, Problem, UsageError, did_you_mean
from rolesum.generation.engine import Decoding, Engine, OnText
from rolesum.generation.long_dialogues.chunking import turn_spans
from rolesum.generation.long_dialogues.map_reduce import (
    CONTEXT_FIX,
    LongDialogueRunner,
    PartialSummary,
    chunks_for_all,
    map_reduce,
    refine,
)
from rolesum.generation.summarize import Reranker, check_roles, roles_of_each, summarize
from rolesum.instructions.fit import drop_middle

LongDialogueStrategy = Literal["refuse", "drop-middle", "map-reduce", "refine"]
STRATEGIES: tuple[str, ...] = get_args(LongDialogueStrategy)


def summarize_any_length(
    dialogues: Sequence[Dialogue],
    engine: Engine,
    roles: Sequence[str] | Sequence[Sequence[str]] | None = None,
    decoding: Decoding | None = None,
    *,
    long_dialogues: str = "refuse",
    samples: int = 1,
    reranker: Reranker | None = None,
    on_done: Callable[[int], None] | None = None,
    on_text: OnText | None = None,
) -> list[list[RoleSummary]]:
    """As `summarize`; dialogues that do not fit the model go by the strategy, and their summaries tell the coverage.

    "drop-middle" leaves whole turns out of the middle. "map-reduce" summarizes chunks of turns, and then the chunks'
    summaries; "refine" reads the chunks in order, each with the summary of all before it. A role's summary is made of
    the chunks in which somebody who plays it is heard; the turns of the others do not count as read for it. With
    `samples`, every text on the way is chosen too. Seconds are those of each round's slowest text, in sum; the other
    figures, and what `on_text` is told, are those of the last text.
    """
    check_strategy(long_dialogues)
    chosen = roles_of_each(dialogues, roles)
    check_roles(dialogues, chosen, engine.layout)
    desk = LongDialogueRunner(engine, decoding or Decoding(), samples, reranker, on_text)
    write = partial(
        summarize, engine=engine, decoding=desk.decoding, samples=samples, reranker=reranker, on_done=on_done
    )
    if long_dialogues == "refuse":
        return _or_refuse(write, desk, dialogues, chosen)
    long = [n for n, (one, wanted) in enumerate(zip(dialogues, chosen, strict=True)) if not desk.fits(one, one, wanted)]
    if long_dialogues == "drop-middle":
        return _without_middles(write, desk, dialogues, chosen, long)
    found = _in_chunks(write, desk, dialogues, chosen, long, long_dialogues)
    if on_done and long:
        on_done(len(long))
    return found


def check_strategy(name: str) -> None:
    """Raise UsageError for a name that is no strategy."""
    if name not in STRATEGIES:
        raise UsageError(f'unknown strategy "{name}" for long dialogues', fix=did_you_mean(name, STRATEGIES))


Write = Callable[..., list[list[RoleSummary]]]  # summarize, with all told but the dialogues, their roles and on_text
Roles = Sequence[Sequence[str]]


def _or_refuse(
    write: Write, desk: LongDialogueRunner, dialogues: Sequence[Dialogue], chosen: Roles
) -> list[list[RoleSummary]]:
    """The summaries, or the engine's refusal with the other strategies named."""
    try:
        return write(dialogues, roles=chosen, on_text=desk.on_text)
    except DataError as error:
        pairs = zip(dialogues, chosen, strict=True)
        long = {one.location for one, wanted in pairs if not desk.fits(one, one, wanted)}
        ways = f"add --long-dialogues {', '.join(STRATEGIES[1:-1])} or {STRATEGIES[-1]}"
        raise DataError(
            [replace(one, fix=f"{ways}; or {one.fix}") if one.where in long else one for one in error.problems]
        ) from None


def _without_middles(
    write: Write, desk: LongDialogueRunner, dialogues: Sequence[Dialogue], chosen: Roles, long: Iterable[int]
) -> list[list[RoleSummary]]:
    """Raises DataError with all the dialogues of which too little would be left, before any work."""
    shown, coverages, problems = list(dialogues), dict[int, Coverage](), list[Problem]()
    for number in long:
        whole, wanted = dialogues[number], chosen[number]
        cut = drop_middle(whole, lambda one, wanted=wanted: desk.fits(one, one, wanted))  # type: ignore[misc]
        if cut is None:
            what = "not even the first and the last turn fit"
            problems.append(
                Problem(what, whole.location, f"use --long-dialogues map-reduce or refine; or {CONTEXT_FIX}")
            )
            continue
        shown[number], dropped = cut
        lost = [role for role in wanted if whole.speakers(role) and not shown[number].speakers(role)]
        if lost:
            what = f"without the {dropped} turns in its middle, nobody who plays {', '.join(lost)} speaks"
            problems.append(
                Problem(what, whole.location, "use --long-dialogues map-reduce or refine, or leave the role out")
            )
        coverages[number] = Coverage("drop-middle", len(whole.turns), len(whole.turns) - dropped)
    if problems:
        raise DataError(problems)
    found = write(shown, roles=chosen, on_text=desk.on_text)
    return [[replace(one, coverage=coverages.get(n)) for one in summaries] for n, summaries in enumerate(found)]


def _in_chunks(
    write: Write,
    desk: LongDialogueRunner,
    dialogues: Sequence[Dialogue],
    chosen: Roles,
    long: Sequence[int],
    strategy: str,
) -> list[list[RoleSummary]]:
    """By map-reduce or refine; dialogues that fit go first, in one call."""
    summaries = [
        PartialSummary(number, place, dialogues[number], chosen[number], turn_spans(dialogues[number]))
        for number in long
        for place in range(len(chosen[number]))
    ]
    chunks = chunks_for_all(desk, summaries)
    short = sorted(set(range(len(dialogues))) - set(long))
    told = desk.on_text
    tell = (lambda number, place, added: told(short[number], place, added)) if told else None
    fitting = write([dialogues[n] for n in short], roles=[chosen[n] for n in short], on_text=tell)
    results = dict(zip(short, fitting, strict=True))
    if strategy == "map-reduce":
        map_reduce(desk, summaries, chunks)
    else:
        refine(desk, summaries)
    for one in summaries:
        results.setdefault(one.number, []).append(one.finished(strategy))
    return [results[number] for number in range(len(dialogues))]
