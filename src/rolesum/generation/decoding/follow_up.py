"""Follow-ups: questions about the finished texts of a prompt, each of them one more branch of its prefix.

A HoldingDecoder keeps the prefix in the KV cache until the questions are answered, so that it is not computed again. As
a pass over few questions costs a GPU as much as one over many, those of several prompts are answered together. Where a
prefix is not kept, with other decoders or because memory ran out, the questions are computed as a new prompt.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

from rolesum.generation.decoding.decoder import Decoder, EncodedPrompt, HoldingDecoder
from rolesum.generation.decoding.kv_cache import GROWTH_TOKENS, HeldPrefix
from rolesum.generation.decoding.search import Completion
from rolesum.models.allocator import is_out_of_memory

# Questions wait until they have this share of the tokens of a prefill, or for this many steps.
ANSWER_SHARE = 1 / 8
ANSWER_STEPS = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """A text behind a prompt's prefix; the hidden states behind a layer are wanted of its tokens at `places`."""

    ids: list[int]
    places: list[int]
    layer: int


class FollowUp(Protocol):
    """What is asked once all texts of a prompt are finished; an answer is the logits of a few ids.

    Where anything is asked, a text may be read afterwards, on a decoder that holds prefixes.
    """

    @property
    def answer_ids(self) -> Sequence[int]:
        """The ids whose logits behind each question are wanted."""
        ...

    def questions(self, prompt: EncodedPrompt, texts: Sequence[Sequence[int]]) -> list[list[int]]:
        """The ids of the questions, given those of the prompt's texts in the order of its branches; called once."""
        ...

    def add_answers(self, logits: Sequence[Sequence[float]]) -> None:
        """Take the logits of the `answer_ids` behind each question; called before the last text is returned."""
        ...

    def reading(self) -> Reading | None:
        """What is to be read, if anything; called once after `add_answers`."""
        ...

    def add_hidden_states(self, hidden: torch.Tensor) -> None:
        """Take the hidden states (places, hidden) of the `reading`; not called where memory does not suffice."""
        ...


@dataclass(eq=False)
class Questions:
    """The questions about one prompt's texts, of which `last` is returned when they are answered.

    `prompt` has the questions as its branches. `held` is None where its prefix is computed again.
    """

    follow_up: FollowUp
    prompt: EncodedPrompt
    last: Completion
    held: HeldPrefix | None
    logits: list[list[float]] = field(default_factory=list)  # of the first questions, as far as they are answered

    @property
    def unanswered(self) -> EncodedPrompt:
        return self.prompt.part(len(self.logits), len(self.prompt.branches))


Part = list[tuple[Questions, EncodedPrompt]]  # questions that are answered in one pass
Fits = Callable[[Sequence[EncodedPrompt]], bool]


class FollowUpQueue:
    """Questions that wait for their answers, and the passes that answer them."""

    def __init__(
        self,
        new_decoder: Callable[[], Decoder],
        max_prefill_tokens: int,
        check_logits: Callable[[torch.Tensor], None],
    ) -> None:
        self.new_decoder, self.max_prefill_tokens, self.check_logits = new_decoder, max_prefill_tokens, check_logits
        self._waiting: deque[Questions] = deque()
        self._steps = 0  # for which questions have waited

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def prompts(self) -> list[EncodedPrompt]:
        """The prompts whose branches are the questions."""
        return [one.prompt for one in self._waiting]

    @property
    def overdue(self) -> bool:
        """Whether questions wait for room longer than they should."""
        return self._steps > ANSWER_STEPS

    def add(self, one: Questions) -> None:
        self._waiting.append(one)

    def drop(self, indices: Collection[int], decoder: Decoder) -> None:
        """Forget the questions about these prompts, and release their prefixes."""
        for one in [one for one in self._waiting if one.prompt.index in indices]:
            self._leave(one, decoder)

    def lose_prefixes(self) -> None:
        """Go on without the prefixes in the cache, whose decoder is discarded."""
        for one in self._waiting:
            one.held = None

    def answer(self, decoder: Decoder, token_budget: int, growth: int) -> Iterator[Completion]:
        """Answer what is due, in parts that fit; yields the last text of each prompt whose questions are all answered.

        Called once a step. `growth` tokens of the `token_budget` are reserved for the rows of `decoder`; the questions
        may use the rest. With a growth of 0 no row is decoded, and all questions are answered, singly if no two fit.
        """
        is_idle = not growth
        self._steps += 1
        tokens = sum(_question_tokens(one.unanswered) for one in self._waiting)
        if is_idle or self._steps >= ANSWER_STEPS or tokens >= ANSWER_SHARE * self.max_prefill_tokens:
            if isinstance(decoder, HoldingDecoder):
                yield from self._answer_held(decoder, token_budget - decoder.cache_size([], 1, growth), is_idle)
            if is_idle:
                yield from self._answer_anew(decoder, token_budget)

    def _answer_held(self, decoder: HoldingDecoder, room: int, at_least_one: bool) -> Iterator[Completion]:
        """Answer questions whose prefixes are in the cache, within `room` cache positions."""

        def fits(prompts: Sequence[EncodedPrompt]) -> bool:
            tokens = sum(map(_question_tokens, prompts))
            return tokens <= self.max_prefill_tokens and decoder.held_size(prompts) <= room

        while part := self._next_part([one for one in self._waiting if one.held], fits, at_least_one):
            held = [one.held for one, _ in part if one.held]
            yield from self._take(part, decoder.prefill_held(held, [prompt for _, prompt in part]), decoder)

    def _answer_anew(self, decoder: Decoder, token_budget: int) -> Iterator[Completion]:
        """Answer questions whose prefixes must be computed again, prompt by prompt, while no row is decoded."""

        def fits(prompts: Sequence[EncodedPrompt]) -> bool:
            return len(prompts) == 1 and self.new_decoder().cache_size(prompts, 1, GROWTH_TOKENS) <= token_budget

        while part := self._next_part(self._waiting, fits, True):
            yield from self._take(part, self.new_decoder().prefill([prompt for _, prompt in part], 1), decoder)

    def _next_part(self, waiting: Collection[Questions], fits: Fits, at_least_one: bool) -> Part:
        """The first questions that fit together: those of whole prompts, or else some of the first prompt."""
        part: Part = []
        for one in waiting:
            prompts = [*(prompt for _, prompt in part), one.unanswered]
            if not fits(prompts):
                break
            part.append((one, prompts[-1]))
        if part or not waiting:
            return part
        first = next(iter(waiting))
        some = next(first.unanswered.split(lambda prompt: fits([prompt])))
        return [(first, some)] if at_least_one or fits([some]) else []

    def _take(self, part: Part, logits: torch.Tensor, decoder: Decoder) -> Iterator[Completion]:
        """Keep the answers of a pass, from its logits (questions, vocabulary)."""
        self.check_logits(logits)
        start = 0
        for one, prompt in part:
            end = start + len(prompt.branches)
            one.logits += logits[start:end, list(one.follow_up.answer_ids)].tolist()
            start = end
            if len(one.logits) == len(one.prompt.branches):
                one.follow_up.add_answers(one.logits)
                self._read(one, decoder)
                self._leave(one, decoder)
                yield one.last

    def _read(self, one: Questions, decoder: Decoder) -> None:
        """Read what is to be read, in a pass of its own; where memory does not suffice, nothing is."""
        if not isinstance(decoder, HoldingDecoder) or (reading := one.follow_up.reading()) is None:
            return
        try:
            hidden = decoder.read(replace(one.prompt, branches=[reading.ids]), reading.layer, one.held)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            torch.cuda.empty_cache()
            return
        one.follow_up.add_hidden_states(hidden[reading.places])

    def _leave(self, one: Questions, decoder: Decoder) -> None:
        self._waiting.remove(one)
        self._steps = self._steps if self._waiting else 0
        if one.held and isinstance(decoder, HoldingDecoder):
            decoder.release(one.held)


def _question_tokens(prompt: EncodedPrompt) -> int:
    return prompt.cached_tokens() - len(prompt.prefix)
