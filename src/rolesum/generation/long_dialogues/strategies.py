"""Summarizing dialogues of any length: one that does not fit the model is refused, shortened or read in chunks."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

from rolesum.counts import counted
from rolesum.dialogue import Coverage, Dialogue, RoleSummary
from rolesum.errors import DataError, Problem, UsageError, did_you_mean
from rolesum.generation.engine import Decoding, Engine, OnText
from rolesum.generation.long_dialogues.chunking import turn_spans
from rolesum.generation.long_dialogues.map_reduce import CONTEXT_FIX, chunk_dialogues, map_reduce, refine
from rolesum.generation.long_dialogues.runner import FollowUpOf, LongDialogueRunner, OnPart, PartialSummary
from rolesum.instructions import PromptLayout
from rolesum.instructions.fit import drop_middle
from rolesum.roles import default_roles

if TYPE_CHECKING:
    from rolesum.generation.rerank import Reranker

LongDialogueStrategy = Literal["refuse", "drop-middle", "map-reduce", "refine"]
STRATEGIES: tuple[str, ...] = get_args(LongDialogueStrategy)

OnDone = Callable[[int], None]
Roles = Sequence[Sequence[str]]  # of each dialogue


def summarize(
    dialogues: Sequence[Dialogue],
    engine: Engine,
    roles: Sequence[str] | Roles | None = None,
    decoding: Decoding | None = None,
    *,
    long_dialogues: str = "refuse",
    samples: int = 1,
    reranker: "Reranker | None" = None,
    on_done: OnDone | None = None,
    on_text: OnText | None = None,
    follow_up: FollowUpOf | None = None,
    on_part: OnPart | None = None,
) -> list[list[RoleSummary]]:
    """Summarize each dialogue for each of its roles, through any engine.

    `roles` are those of all dialogues or of each; by default overall and the roles that the speakers play. What
    happens to a dialogue that does not fit the model is decided by `long_dialogues`:

    - "refuse" raises DataError.
    - "drop-middle" leaves whole turns out of the middle.
    - "map-reduce" summarizes chunks of turns, and then the chunks' summaries.
    - "refine" reads the chunks in order, each with the summary of all before it.

    By the last two, a role's summary is made of the chunks in which a speaker of the role speaks; the turns of the
    other chunks do not count as read. A chunk begins with the last turns of the one before it. A section that is a list
    is read by map-reduce in any case, and the lists of its chunks are merged.

    With `samples`, so many texts are sampled for each text needed, and `reranker` picks one. `on_done` is called with
    the number of dialogues that were finished since its last call, `on_text` with the numbers of the dialogue and of
    the role, and what was added to the text; not with several samples. `on_part` is called with how many parts of
    dialogues that do not fit were read, and how many there are. `follow_up` makes the questions about the texts of
    dialogues that are not read in chunks, given those dialogues as the model is shown them, for an engine that takes
    such questions.

    Returns the summaries in input order, with their coverage where a dialogue did not fit. Their seconds are the sum
    of each round's slowest text; their other statistics are those of the last text. Raises DataError with all the
    dialogues in which no speaker plays a requested role, or that do not fit the model, before any work.
    """
    check_strategy(long_dialogues)
    chosen = roles_of_each(dialogues, roles)
    check_roles(dialogues, chosen, engine.layout)
    runner = LongDialogueRunner(engine, decoding or Decoding(), samples, reranker, on_text, follow_up, on_part)
    check_samples(samples, runner.decoding, has_choice=reranker is not None)
    if long_dialogues == "refuse":
        return _refuse(runner, dialogues, chosen, on_done)
    pairs = enumerate(zip(dialogues, chosen, strict=True))
    long = [number for number, (one, wanted) in pairs if not runner.fits(one, one, wanted)]
    if long_dialogues == "drop-middle":
        return _drop_middles(runner, dialogues, chosen, long, on_done)
    return _read_in_chunks(runner, dialogues, chosen, long, long_dialogues, on_done)


def part_note(done: int, total: int) -> str:
    """How far long dialogues are read, as it is shown."""
    return f"part {done} of {total}"


def roles_of_each(dialogues: Sequence[Dialogue], roles: Sequence[str] | Roles | None) -> list[tuple[str, ...]]:
    """The roles to summarize of each dialogue; see summarize."""
    if not roles:
        return [default_roles(dialogue) for dialogue in dialogues]
    if isinstance(roles[0], str):
        return [tuple(map(str, roles))] * len(dialogues)
    return [tuple(each) for each in roles]


def check_strategy(name: str) -> None:
    """Raise UsageError for a name that is not a strategy."""
    if name not in STRATEGIES:
        raise UsageError(f'unknown strategy "{name}" for long dialogues', fix=did_you_mean(name, STRATEGIES))


def check_samples(samples: int, decoding: Decoding, *, has_choice: bool) -> None:
    """Raise UsageError for several samples that would be equal, or of which none is picked."""
    if samples > 1 and decoding.beams > 1:
        what = "beams and several samples do not go together: beam search finds one text, samples are drawn by chance"
        raise UsageError(what, fix="leave out --beams, or leave out --samples")
    if samples > 1 and not (has_choice and decoding.temperature):
        raise UsageError("several samples need a temperature and a choice", fix="add --temperature 0.7 --choose mbr")


def check_roles(dialogues: Sequence[Dialogue], roles: Roles, layout: PromptLayout) -> None:
    """Raise DataError with all the dialogues in which no speaker plays a requested role."""
    problems = []
    for dialogue, wanted in zip(dialogues, roles, strict=True):
        absent = [role for role in wanted if layout.needs_speaker(role) and not dialogue.speakers(role)]
        if absent:
            speakers = ", ".join(dialogue.speakers())
            fix = f'say who it is, as in --speaker "{dialogue.speakers()[0]}={absent[0]}", or ask for --roles overall'
            problems.append(
                Problem(f"no speaker plays {', '.join(absent)}; speakers: {speakers}", dialogue.location, fix)
            )
    if problems:
        raise DataError(problems)


def _refuse(
    runner: LongDialogueRunner, dialogues: Sequence[Dialogue], roles: Roles, on_done: OnDone | None
) -> list[list[RoleSummary]]:
    """The summaries, or the engine's refusal with the other strategies named."""
    try:
        return runner.summarize(dialogues, roles, on_done, runner.on_text)
    except DataError as error:
        pairs = zip(dialogues, roles, strict=True)
        long = {one.location for one, wanted in pairs if not runner.fits(one, one, wanted)}
        ways = f"add --long-dialogues {', '.join(STRATEGIES[1:-1])} or {STRATEGIES[-1]}"
        unnamed = [one.where in long and "--long-dialogues" not in one.fix for one in error.problems]
        raise DataError(
            [
                replace(one, fix=f"{ways}; or {one.fix}") if is_unnamed else one
                for one, is_unnamed in zip(error.problems, unnamed, strict=True)
            ]
        ) from None


def _drop_middles(
    runner: LongDialogueRunner,
    dialogues: Sequence[Dialogue],
    roles: Roles,
    long: Iterable[int],
    on_done: OnDone | None,
) -> list[list[RoleSummary]]:
    """Shorten the `long` dialogues. Raises DataError with all those of which too little is left, before any work."""
    shown, coverages, problems = list(dialogues), dict[int, Coverage](), list[Problem]()
    for number in long:
        whole, wanted = dialogues[number], roles[number]
        cut = drop_middle(whole, lambda one, wanted=wanted: runner.fits(one, one, wanted))  # type: ignore[misc]
        if cut is None:
            fix = f"use --long-dialogues map-reduce or refine; or {CONTEXT_FIX}"
            problems.append(Problem("not even the first and the last turn fit", whole.location, fix))
            continue
        shown[number], dropped = cut
        lost = [role for role in wanted if whole.speakers(role) and not shown[number].speakers(role)]
        if lost:
            what = f"without {counted(dropped, 'turn')} in its middle, nobody who plays {', '.join(lost)} speaks"
            fix = "use --long-dialogues map-reduce or refine, or leave the role out"
            problems.append(Problem(what, whole.location, fix))
        coverages[number] = Coverage("drop-middle", len(whole.turns), len(whole.turns) - dropped)
    if problems:
        raise DataError(problems)
    found = runner.summarize(shown, roles, on_done, runner.on_text)
    return [[replace(one, coverage=coverages.get(n)) for one in summaries] for n, summaries in enumerate(found)]


def _read_in_chunks(
    runner: LongDialogueRunner,
    dialogues: Sequence[Dialogue],
    roles: Roles,
    long: Sequence[int],
    strategy: str,
    on_done: OnDone | None,
) -> list[list[RoleSummary]]:
    """Read the `long` dialogues by map-reduce or refine, after the others, which are one call of the engine."""
    summaries = [
        PartialSummary(number, place, dialogues[number], roles[number], turn_spans(dialogues[number]))
        for number in long
        for place in range(len(roles[number]))
    ]
    chunks = chunk_dialogues(runner, summaries)
    short = sorted(set(range(len(dialogues))) - set(long))
    on_text = runner.on_text
    on_short_text = (lambda number, place, added: on_text(short[number], place, added)) if on_text else None
    fitting = runner.summarize([dialogues[n] for n in short], [roles[n] for n in short], on_done, on_short_text)
    results = dict(zip(short, fitting, strict=True))
    layout = runner.engine.layout
    refined = [strategy == "refine" and not layout.is_list(one.role) for one in summaries]
    map_reduce(runner, [one for one, is_refined in zip(summaries, refined, strict=True) if not is_refined], chunks)
    refine(runner, [one for one, is_refined in zip(summaries, refined, strict=True) if is_refined], chunks)
    for one, is_refined in zip(summaries, refined, strict=True):
        results.setdefault(one.number, []).append(one.finished("refine" if is_refined else "map-reduce"))
    if on_done and long:
        on_done(len(long))
    return [results[number] for number in range(len(dialogues))]
