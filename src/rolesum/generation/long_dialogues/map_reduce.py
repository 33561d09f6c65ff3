"""Reading a long dialogue in chunks of turns, for each of its roles: by map-reduce or by refining."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rolesum.dialogue import Coverage, Dialogue, RoleSummary, Turn
from rolesum.errors import DataError, Problem
from rolesum.generation.engine import Decoding, Engine, Generation, OnText
from rolesum.generation.long_dialogues.chunking import Chunk, Fits, next_chunk, split_into_chunks, turn_spans
from rolesum.generation.summarize import Reranker, role_summary
from rolesum.instructions import Prompt

CONTEXT_FIX = "lower --max-new-tokens, or use a model with a longer context"


@dataclass
class PartialSummary:
    """A role's summary of a long dialogue while it comes about.

    `number` and `place` are those of the dialogue in the input and of the role among `roles`. `texts` stand for what
    was read so far, `rest` is what was not, and `unread` holds the turns of chunks in which the role is not heard.
    """

    number: int
    place: int
    dialogue: Dialogue
    roles: Sequence[str]
    rest: Chunk
    texts: list[Generation] = field(default_factory=list)
    unread: set[int] = field(default_factory=set)
    chunks: int = 0
    seconds: float = 0.0

    @property
    def role(self) -> str:
        return self.roles[self.place]

    def role_speaks_in(self, chunk: Chunk) -> bool:
        """Whether somebody who plays the role speaks; where nobody in the dialogue does, it is of all speakers."""
        speakers = self.dialogue.speakers(self.role)
        return not speakers or any(piece.turn.speaker in speakers for piece in chunk)

    def count_chunk(self, chunk: Chunk) -> bool:
        """Count a chunk, as one to be read or as one in which the role is not heard; and tell which."""
        if heard := self.role_speaks_in(chunk):
            self.chunks += 1
        else:
            self.unread |= {piece.index for piece in chunk}
        return heard

    def set_texts(self, texts: Sequence[Generation]) -> None:
        """Only texts with words stand for anything; if none has, the first one says so."""
        self.texts = [one for one in texts if one.text.strip()] or list(texts[:1])

    def finished(self, strategy: str) -> RoleSummary:
        turns = len(self.dialogue.turns)
        coverage = Coverage(strategy, turns, turns - len(self.unread), self.chunks)
        return role_summary(self.dialogue, self.role, replace(self.texts[0], seconds=self.seconds), coverage)


@dataclass(frozen=True, slots=True)
class SummaryStep:
    """A text that is wanted on the way to a summary: what is shown, and the dialogue that it is about."""

    summary: PartialSummary
    shown: Dialogue
    about: Dialogue
    is_last: bool


@dataclass(frozen=True, slots=True)
class LongDialogueRunner:
    """The engine, and how it is asked."""

    engine: Engine
    decoding: Decoding
    samples: int = 1
    reranker: Reranker | None = None
    on_text: OnText | None = None

    def prompt(self, shown: Dialogue, about: Dialogue, roles: Sequence[str]) -> Prompt:
        """The prompt that shows one dialogue and asks about another, by which the instruction names the speakers."""
        layout = self.engine.layout
        return Prompt(shown, tuple(roles), layout.prefix(shown), tuple(layout.branch(about, role) for role in roles))

    def fits(self, shown: Dialogue, about: Dialogue, roles: Sequence[str]) -> bool:
        return self.engine.fits(self.prompt(shown, about, roles), self.decoding.max_new_tokens)

    def fitting(self, summary: PartialSummary, roles: Sequence[str], before: Sequence[Turn] = ()) -> Fits:
        """Whether a chunk fits, with turns before it, as the question is put for `roles`."""
        whole = summary.dialogue
        return lambda chunk: self.fits(whole.with_turns([*before, *(one.turn for one in chunk)]), whole, roles)

    def run(self, wanted: Sequence[SummaryStep]) -> list[Generation]:
        """The texts, in order. Those that are shown the same share a prompt, and all go to the engine at once."""
        together: dict[tuple[int, tuple[Turn, ...]], list[SummaryStep]] = {}
        for text in wanted:
            together.setdefault((text.summary.number, text.shown.turns), []).append(text)
        groups = list(together.values())
        prompts = [
            self.prompt(
                group[0].shown, group[0].about, [one.summary.role for one in group for _ in range(self.samples)]
            )
            for group in groups
        ]
        made = self.engine.generate(prompts, self.decoding, None, self._teller(groups))
        found: dict[int, Generation] = {}
        slowest: dict[int, float] = {}
        for group, texts in zip(groups, made, strict=True):
            for n, one in enumerate(group):
                several = texts[n * self.samples : (n + 1) * self.samples]
                found[id(one)] = self._pick(one, several)
                slowest[id(one.summary)] = max(slowest.get(id(one.summary), 0.0), *(text.seconds for text in several))
        for text in wanted:
            text.summary.seconds += slowest.pop(id(text.summary), 0.0)
        return [found[id(text)] for text in wanted]

    def _pick(self, wanted: SummaryStep, texts: Sequence[Generation]) -> Generation:
        return texts[self.reranker(wanted.about, wanted.summary.role, texts)] if self.reranker else texts[0]

    def _teller(self, groups: Sequence[Sequence[SummaryStep]]) -> OnText | None:
        """Hands on how last texts grow, where there is one text of each."""
        on_text = self.on_text
        if on_text is None or self.samples > 1 or not any(one.is_last for group in groups for one in group):
            return None

        def tell(prompt: int, branch: int, added: str) -> None:
            text = groups[prompt][branch]
            if text.is_last:
                on_text(text.summary.number, text.summary.place, added)

        return tell


def chunks_for_all(desk: LongDialogueRunner, summaries: Sequence[PartialSummary]) -> dict[int, list[Chunk]]:
    """Number of a dialogue -> its chunks, each of which fits with all of the dialogue's instructions.

    Raises DataError with all the dialogues of which not one turn fits.
    """
    found, problems = dict[int, list[Chunk]](), dict[int, Problem]()
    for one in summaries:
        if one.number in found or one.number in problems:
            continue
        chunks = split_into_chunks(one.rest, desk.fitting(one, one.roles))
        if chunks is None:
            what = f"not one turn fits beside its instruction and {desk.decoding.max_new_tokens} new tokens"
            problems[one.number] = Problem(what, one.dialogue.location, CONTEXT_FIX)
        else:
            found[one.number] = chunks
    if problems:
        raise DataError(list(problems.values()))
    return found


Plan = tuple[PartialSummary, list[SummaryStep | Generation]]


def map_reduce(desk: LongDialogueRunner, summaries: Sequence[PartialSummary], chunks: dict[int, list[Chunk]]) -> None:
    """Summarize each chunk, then the summaries of chunks, until one is left.

    Raises DataError where the model is too small for two summaries at once.
    """
    plans: list[Plan] = []
    for one in summaries:
        heard = [_part(one, chunk) for chunk in chunks[one.number] if one.count_chunk(chunk)]
        plans.append((one, [SummaryStep(one, part, part, len(heard) == 1) for part in heard]))
    _carry_out(desk, plans)
    while waiting := [one for one in summaries if len(one.texts) > 1]:
        _carry_out(desk, _joining(desk, waiting))


def _part(summary: PartialSummary, chunk: Chunk) -> Dialogue:
    """The chunk as a dialogue of its own, so that what is sampled for one chunk does not decide another's text."""
    name = f"{summary.dialogue.id}, turns {chunk[0].index + 1} to {chunk[-1].index + 1}"
    return replace(summary.dialogue, id=name, turns=tuple(piece.turn for piece in chunk))


def _carry_out(desk: LongDialogueRunner, plans: Sequence[Plan]) -> None:
    """Write the texts that are wanted; those that are there already pass on in their places."""
    made = iter(desk.run([text for _, texts in plans for text in texts if isinstance(text, SummaryStep)]))
    for summary, texts in plans:
        summary.set_texts([next(made) if isinstance(text, SummaryStep) else text for text in texts])


def _joining(desk: LongDialogueRunner, summaries: Sequence[PartialSummary]) -> list[Plan]:
    """What each summary's texts are to be joined to: as few new ones as fit."""
    plans, problems = list[Plan](), list[Problem]()
    for one in summaries:
        label = desk.engine.layout.instruction_set_for(one.dialogue).part_label
        turns = [Turn(label(n, len(one.texts)), _on_one_line(text)) for n, text in enumerate(one.texts, 1)]
        groups = split_into_chunks(
            turn_spans(one.dialogue.with_turns(turns)), desk.fitting(one, [one.role]), whole=True
        )
        if groups is None or len(groups) == len(turns):
            what = f"no two summaries of up to {desk.decoding.max_new_tokens} tokens fit together, to be joined"
            problems.append(Problem(what, one.dialogue.location, CONTEXT_FIX))
            continue
        texts: list[SummaryStep | Generation] = []
        for group in groups:
            shown = one.dialogue.with_turns([piece.turn for piece in group])
            joined = SummaryStep(one, shown, one.dialogue, len(groups) == 1)
            texts.append(joined if len(group) > 1 else one.texts[group[0].index])
        plans.append((one, texts))
    if problems:
        raise DataError(problems)
    return plans


def refine(desk: LongDialogueRunner, summaries: Sequence[PartialSummary]) -> None:
    """Read the chunks in order, each with the summary of all that came before it.

    Raises DataError where the model is too small for that summary and a turn.
    """
    while waiting := [one for one in summaries if one.rest]:
        texts = [_next_text(desk, one) for one in waiting]
        if lacking := [one for one, text in zip(waiting, texts, strict=True) if text is None]:
            what = f"no turn fits beside the summary so far and {desk.decoding.max_new_tokens} new tokens"
            fix = f"use --long-dialogues map-reduce; or {CONTEXT_FIX}"
            raise DataError([Problem(what, one.dialogue.location, fix) for one in lacking])
        wanted = [text for text in texts if text is not None]
        for text, made in zip(wanted, desk.run(wanted), strict=True):
            text.summary.set_texts([made, *text.summary.texts])
            del text.summary.texts[1:]


def _next_text(desk: LongDialogueRunner, one: PartialSummary) -> SummaryStep | None:
    """The text for the next chunk in which the role is heard, beside the summary so far; None where no turn fits."""
    before = []
    if one.texts and one.texts[0].text.strip():
        before = [Turn(desk.engine.layout.instruction_set_for(one.dialogue).so_far_label(), _on_one_line(one.texts[0]))]
    heard = False
    while not heard:
        taken = next_chunk(one.rest, desk.fitting(one, one.roles, before))
        if taken is None:
            return None
        chunk, one.rest = taken
        heard = one.count_chunk(chunk)
    if not one.role_speaks_in(one.rest):
        one.count_chunk(one.rest)
        one.rest = ()
    part = _part(one, chunk)
    shown = part.with_turns([*before, *part.turns])
    return SummaryStep(one, shown, one.dialogue if before else part, not one.rest)


def _on_one_line(text: Generation) -> str:
    return " ".join(text.text.split())
