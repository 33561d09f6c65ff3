"""What the strategies for long dialogues share: prompts, samples and their choice, and summaries in the making."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rolesum.dialogue import Coverage, Dialogue, RoleSummary, Turn
from rolesum.generation.engine import Decoding, Engine, Generation, MakeFollowUp, OnText, takes_follow_ups
from rolesum.generation.long_dialogues.chunking import Chunk, Fits, new_spans
from rolesum.instructions import Prompt

if TYPE_CHECKING:
    from rolesum.generation.rerank import Reranker

# Makes the follow-up of prompts, given the dialogues that they show.
FollowUpOf = Callable[[Sequence[Dialogue]], MakeFollowUp]

# Called as long dialogues are read: how many of their parts the model has read, and how many there are.
OnPart = Callable[[int, int], None]


@dataclass
class PartialSummary:
    """A role's summary of a long dialogue while the dialogue is read.

    `number` and `place` are those of the dialogue in the input and of the role among `roles`. `texts` summarize what
    was read so far, `rest` is what was not, and `last` are the turns with which the next chunk begins. `read` holds the
    turns that the model was shown for this role, `passed` counts the chunks so far, `chunks` those that were read.
    """

    number: int
    place: int
    dialogue: Dialogue
    roles: Sequence[str]
    rest: Chunk
    last: Chunk = ()
    texts: list[Generation] = field(default_factory=list)
    read: set[int] = field(default_factory=set)
    passed: int = 0
    chunks: int = 0
    seconds: float = 0.0

    @property
    def role(self) -> str:
        return self.roles[self.place]

    def role_speaks_in(self, chunk: Chunk) -> bool:
        """Whether a speaker of the role speaks in turns that the chunk before does not have.

        True for a role that no speaker of the dialogue plays.
        """
        speakers = self.dialogue.speakers(self.role)
        return not speakers or any(span.turn.speaker in speakers for span in new_spans(chunk))

    def count_chunk(self, chunk: Chunk) -> bool:
        """Count a chunk, and its turns as read where the role speaks; returns whether it does."""
        self.passed += 1
        if is_read := self.role_speaks_in(chunk):
            self.chunks += 1
            self.read |= {span.index for span in chunk}
        return is_read

    def set_texts(self, texts: Sequence[Generation]) -> None:
        """Keep the texts that have words; the first one if none has."""
        self.texts = [one for one in texts if one.text.strip()] or list(texts[:1])

    def finished(self, strategy: str) -> RoleSummary:
        """The summary, once there is one text, with the coverage of the dialogue."""
        turns = len(self.dialogue.turns)
        coverage = Coverage(strategy, turns, len(self.read), self.chunks)
        return role_summary(self.dialogue, self.role, replace(self.texts[0], seconds=self.seconds), coverage)


@dataclass(frozen=True, slots=True)
class SummaryStep:
    """A text to generate for a summary: of the dialogue `shown`, asked about the dialogue `about`."""

    summary: PartialSummary
    shown: Dialogue
    about: Dialogue
    is_last: bool


@dataclass(frozen=True, slots=True)
class LongDialogueRunner:
    """Turns dialogues and steps into prompts, and takes the best of several samples for each text."""

    engine: Engine
    decoding: Decoding
    samples: int = 1
    reranker: "Reranker | None" = None
    on_text: OnText | None = None
    follow_up: FollowUpOf | None = None
    on_part: OnPart | None = None

    def prompt(self, shown: Dialogue, about: Dialogue, roles: Sequence[str]) -> Prompt:
        """The prompt that shows one dialogue and asks about another, after which the instruction names the speakers."""
        layout = self.engine.layout
        return Prompt(shown, tuple(roles), layout.prefix(shown), tuple(layout.branch(about, role) for role in roles))

    def fits(self, shown: Dialogue, about: Dialogue, roles: Sequence[str]) -> bool:
        return self.engine.fits(self.prompt(shown, about, roles), self.decoding.max_new_tokens)

    def chunk_fits(self, summary: PartialSummary, roles: Sequence[str], before: Sequence[Turn] = ()) -> Fits:
        """A function that says whether a chunk fits with the instructions of `roles` and the turns `before` it."""
        whole = summary.dialogue
        return lambda chunk: self.fits(whole.with_turns([*before, *(span.turn for span in chunk)]), whole, roles)

    def summarize(
        self,
        dialogues: Sequence[Dialogue],
        roles: Sequence[Sequence[str]],
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
    ) -> list[list[RoleSummary]]:
        """Summarize dialogues that fit the model, each for its roles, in one call of the engine."""
        prompts = [
            self.engine.layout.prompt(dialogue, self._repeated(wanted))
            for dialogue, wanted in zip(dialogues, roles, strict=True)
        ]
        on_text = on_text if self.samples == 1 else None
        if self.follow_up is not None and takes_follow_ups(self.engine):
            made = self.engine.generate(prompts, self.decoding, on_done, on_text, self.follow_up(dialogues))
        else:
            made = self.engine.generate(prompts, self.decoding, on_done, on_text)
        return [
            [role_summary(dialogue, role, self._best(dialogue, role, texts, n)) for n, role in enumerate(wanted)]
            for dialogue, wanted, texts in zip(dialogues, roles, made, strict=True)
        ]

    def run(self, steps: Sequence[SummaryStep], *, are_parts: bool = False) -> list[Generation]:
        """The texts of the steps, in order, in one call of the engine. Steps that show the same share a prompt.

        Where they `are_parts`, all those of the dialogues, `on_part` is called as each prompt is finished.
        """
        by_shown: dict[tuple[int, tuple[Turn, ...]], list[SummaryStep]] = {}
        for step in steps:
            by_shown.setdefault((step.summary.number, step.shown.turns), []).append(step)
        groups = list(by_shown.values())
        prompts = [
            self.prompt(group[0].shown, group[0].about, self._repeated([step.summary.role for step in group]))
            for group in groups
        ]
        on_done = self._count_parts(len(prompts)) if are_parts and prompts else None
        made = self.engine.generate(prompts, self.decoding, on_done, self._on_last_text(groups))
        best: dict[int, Generation] = {}
        slowest: dict[int, float] = {}
        for group, texts in zip(groups, made, strict=True):
            for n, step in enumerate(group):
                best[id(step)] = text = self._best(step.about, step.summary.role, texts, n)
                slowest[id(step.summary)] = max(slowest.get(id(step.summary), 0.0), text.seconds)
        for step in steps:
            step.summary.seconds += slowest.pop(id(step.summary), 0.0)
        return [best[id(step)] for step in steps]

    def _count_parts(self, total: int) -> Callable[[int], None] | None:
        on_part = self.on_part
        if on_part is None:
            return None
        finished = 0

        def count(prompts: int) -> None:
            nonlocal finished
            finished += prompts
            on_part(finished, total)

        return count

    def _repeated(self, roles: Sequence[str]) -> list[str]:
        return [role for role in roles for _ in range(self.samples)]

    def _best(self, dialogue: Dialogue, role: str, texts: Sequence[Generation], place: int) -> Generation:
        """The best of the samples of the role at `place`, with the seconds of the slowest of them."""
        samples = texts[place * self.samples : (place + 1) * self.samples]
        if len(samples) == 1 or self.reranker is None:
            return samples[0]
        seconds = max(one.seconds for one in samples)
        return replace(samples[self.reranker(dialogue, role, samples)], seconds=seconds)

    def _on_last_text(self, groups: Sequence[Sequence[SummaryStep]]) -> OnText | None:
        """Passes on how the last texts of summaries grow, with the numbers of the input; not with several samples."""
        on_text = self.on_text
        if on_text is None or self.samples > 1 or not any(step.is_last for group in groups for step in group):
            return None

        def pass_on(prompt: int, branch: int, added: str) -> None:
            step = groups[prompt][branch]
            if step.is_last:
                on_text(step.summary.number, step.summary.place, added)

        return pass_on


def role_summary(dialogue: Dialogue, role: str, one: Generation, coverage: Coverage | None = None) -> RoleSummary:
    """A generated text as the summary of a role."""
    statistics = (one.tokens, one.finish_reason, one.mean_logprob, one.lowest_logprob, one.seconds)
    return RoleSummary(dialogue.id, role, one.text, *statistics, coverage, token_logprobs=one.token_logprobs)
