"""Continuous batches: prompts join, every row gets a token, texts that have ended leave; others may come meanwhile."""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf

import torch

from rolesum.errors import ResourceError
from rolesum.generation.decoding.decoder import Decoder, EncodedPrompt
from rolesum.generation.decoding.sampling import random_stream
from rolesum.generation.decoding.search import (
    BranchKey,
    Completion,
    Hypothesis,
    OnToken,
    Search,
    SearchStep,
    make_search,
)
from rolesum.generation.engine import Decoding

# Prompts join when so large a share of the rows is free, and so many at once: few are computed no faster than many.
JOIN_SHARE = 0.25
# Of rows and keys: up to where patient prompts join.
LOW_PRIORITY_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A prompt, and how its texts are chosen. Sampling makes its streams of `identity`, the dialogue's id.

    One that is `patient` has at most half of the rows and keys, with all that are: the others find room beside them.
    """

    prompt: EncodedPrompt
    decoding: Decoding
    dialogue_id: str
    low_priority: bool = False


@dataclass
class SchedulerConfig:
    """What ends a text, and what a batch may hold: keys, rows, and tokens of the prompts that join at once.

    A prompt of more than `whole` tokens is read piece by piece, for as long as the rows that run are given tokens in
    between: nobody waits until it is read. It costs throughput where all prompts are long.
    """

    stop_ids: torch.Tensor
    max_cache_tokens: int
    max_rows: int
    max_prefill_tokens: int
    chunked_prefill_threshold: float = inf


@dataclass
class _Long:
    """A long prompt that is being read."""

    wanted: GenerationRequest
    begun: float
    pieces: Iterator[torch.Tensor | None]
    next: float = 0.0  # when the next piece is due


class Scheduler:
    """Prompts that wait and texts that grow. Prompts are told apart by their `index`; their decoding may differ."""

    def __init__(
        self,
        new_rows: Callable[[], Decoder],
        limits: SchedulerConfig,
        check_numbers: Callable[[torch.Tensor], None],
        on_token: OnToken | None = None,
    ) -> None:
        self.config, self.check_numbers, self.on_token = limits, check_numbers, on_token
        self._new_rows = new_rows
        self._rows = new_rows()
        self._waiting: deque[GenerationRequest] = deque()
        self._patient: deque[GenerationRequest] = deque()
        self._long_ones: deque[GenerationRequest] = deque()  # that wait
        self._long: _Long | None = None
        self._running: dict[int, GenerationRequest] = {}
        self._done: set[BranchKey] = set()  # of prompts that run: the texts that have ended
        self._texts: list[Hypothesis] = []
        self._searches: dict[Decoding, Search] = {}

    def add(self, wanted: Iterable[GenerationRequest]) -> None:
        """Let prompts wait for their turn, behind those that wait already."""
        for one in wanted:
            is_long = one.prompt.cached_tokens() > self.config.chunked_prefill_threshold
            (self._long_ones if is_long else self._patient if one.low_priority else self._waiting).append(one)

    def cancel(self, indices: Collection[int]) -> None:
        """Forget prompts, waiting or running; their rows are free for others."""
        if not indices:
            return
        self._waiting = deque(one for one in self._waiting if one.prompt.index not in indices)
        self._patient = deque(one for one in self._patient if one.prompt.index not in indices)
        self._long_ones = deque(one for one in self._long_ones if one.prompt.index not in indices)
        if self._long and self._long.wanted.prompt.index in indices:
            self._long = None
        kept = [row for row, text in enumerate(self._texts) if text.key[0] not in indices]
        if len(kept) < len(self._texts):
            for text in self._texts:
                if text.key[0] in indices:
                    self._searches[text.decoding].discard(text.key)
            self._texts = [self._texts[row] for row in kept]
            self._rows.reorder(kept)
        for index in indices:
            self._close(index)

    @property
    def busy(self) -> bool:
        """Whether anything waits or runs."""
        return bool(self._waiting or self._patient or self._long_ones or self._long or self._texts)

    @property
    def num_rows(self) -> int:
        """Texts that grow now."""
        return len(self._texts)

    def step(self) -> list[Completion]:
        """Let prompts join while there is room, then give every row a token; the texts that have ended by that.

        Where the device's memory runs out, all begins anew in smaller batches, and no text is told twice. Raises
        ResourceError where a single prompt does not fit.
        """
        ended: list[Completion] = []  # what ended before the memory ran out counts
        try:
            with torch.inference_mode():
                for one in chain(self._read_on(), self._admitted(), self._grown()):
                    ended.append(one)
        except torch.OutOfMemoryError:
            self._shrink()
        return ended

    @property
    def _is_open(self) -> bool:
        """Whether rows are free for others to join."""
        return not self._texts or (self._rows.can_join and len(self._texts) <= (1 - JOIN_SHARE) * self.config.max_rows)

    def _read_on(self) -> Iterator[Completion]:
        """A piece of a long prompt, if it is due: as much time goes to the rows that run."""
        one = min(self._long_ones, key=lambda each: each.low_priority, default=None)
        if one and not self._long and self._is_open and self._fits([one]):
            self._long_ones.remove(one)
            self._running[one.prompt.index] = one
            self._long = _Long(one, time.monotonic(), self._rows.prefill_chunked(one.prompt, one.decoding.beams))
        if (long := self._long) and (not self._texts or time.monotonic() >= long.next):
            begun = time.monotonic()
            scores = next(long.pieces)
            if scores is None:
                now = time.monotonic()
                long.next = now + (now - begun)
            else:
                self._long = None
                yield from self._begin([long.wanted], scores, long.begun)

    def _admitted(self) -> Iterator[Completion]:
        while (self._waiting or self._patient) and self._is_open:
            group = self._that_join(self._waiting) or self._that_join(self._patient)
            if not group:
                return
            begun = time.monotonic()
            self._running |= {one.prompt.index: one for one in group}
            scores = self._rows.prefill([one.prompt for one in group], group[0].decoding.beams)
            yield from self._begin(group, scores, begun)

    def _begin(self, group: Sequence[GenerationRequest], scores: torch.Tensor, begun: float) -> Iterator[Completion]:
        """The first token of prompts that have been read."""
        self.check_numbers(scores)
        new = [
            Hypothesis(
                (one.prompt.index, number),
                begun,
                one.decoding,
                random_stream(one.decoding.seed, one.dialogue_id, number),
            )
            for one in group
            for number in range(len(one.prompt.branches))
        ]
        before = len(self._texts)
        found = self._advance(new, scores)
        self._texts += found.hypotheses
        if found.rows != list(range(len(new))):
            self._rows.reorder([*range(before), *(before + row for row in found.rows)])
        yield from self._told(found.completions)

    def _grown(self) -> Iterator[Completion]:
        if self._texts:
            scores = self._rows.step([text.ids[-1] for text in self._texts])
            found = self._advance(self._texts, scores)
            self._texts = found.hypotheses
            if found.rows != list(range(len(scores))):
                self._rows.reorder(found.rows)
            yield from self._told(found.completions)

    def _advance(self, texts: list[Hypothesis], scores: torch.Tensor) -> SearchStep:
        """A token for each text, by the search of its decoding; what goes on keeps the order of the rows."""
        by_decoding: dict[Decoding, list[int]] = {}
        for row, text in enumerate(texts):
            by_decoding.setdefault(text.decoding, []).append(row)
        if len(by_decoding) == 1:
            return self._search(texts[0].decoding).advance(texts, scores)
        first: dict[BranchKey, int] = {}
        for row, text in enumerate(texts):
            first.setdefault(text.key, row)
        going: list[tuple[int, Hypothesis]] = []
        ended: list[Completion] = []
        for decoding, rows in by_decoding.items():
            found = self._search(decoding).advance([texts[row] for row in rows], scores[rows])
            going += [(rows[row], text) for row, text in zip(found.rows, found.hypotheses, strict=True)]
            ended += found.completions
        going.sort(key=lambda one: first[one[1].key])
        return SearchStep([row for row, _ in going], [text for _, text in going], ended)

    def _search(self, decoding: Decoding) -> Search:
        if decoding not in self._searches:
            in_use = {one.decoding for one in self._running.values()}
            self._searches = {one: search for one, search in self._searches.items() if one in in_use}
            self._searches[decoding] = make_search(decoding, self.config.stop_ids, self.on_token)
        return self._searches[decoding]

    def _told(self, ended: Iterable[Completion]) -> Iterator[Completion]:
        """What has not been told before a batch was begun anew."""
        for one in ended:
            index = one.hypothesis.key[0]
            if one.hypothesis.key not in self._done:
                self._done.add(one.hypothesis.key)
                yield one
            if all((index, branch) in self._done for branch in range(len(self._running[index].prompt.branches))):
                self._close(index)

    def _close(self, index: int) -> None:
        if wanted := self._running.pop(index, None):
            self._done -= {(index, branch) for branch in range(len(wanted.prompt.branches))}

    def _shrink(self) -> None:
        """Put what runs back, to run again in smaller batches."""
        again = list(self._running.values())
        others = [*self._waiting, *self._patient, *self._long_ones]
        if self.config.max_cache_tokens < min(one.prompt.max_row_tokens(0) for one in [*again, *others]):
            raise ResourceError("one dialogue does not fit the device's memory", fix="use --device cpu") from None
        self._texts, self._rows, self._searches, self._long = [], self._new_rows(), {}, None
        for waiting in (self._waiting, self._patient, self._long_ones):
            waiting.clear()
        self.add([*again, *others])
        self.config.max_cache_tokens //= 2
        torch.cuda.empty_cache()

    def _fits(self, group: Sequence[GenerationRequest]) -> bool:
        """Whether the keys of prompts have room beside those that are there; one alone always has."""
        if len(group) == 1 and not self._texts and not self._long:
            return True
        share = 1.0
        if group[0].low_priority:
            share = LOW_PRIORITY_SHARE
            rows = sum(one.decoding.beams * len(one.prompt.branches) for one in (*group, *self._running.values()))
            if rows > share * self.config.max_rows:
                return False
        longest = max(one.decoding.max_new_tokens for one in (*group, *self._running.values()))
        lanes = group[0].decoding.beams
        return (
            self._rows.cache_size([one.prompt for one in group], lanes, longest) <= share * self.config.max_cache_tokens
        )

    def _that_join(self, waiting: deque[GenerationRequest]) -> list[GenerationRequest]:
        """Take off those that wait what there is room for; where nothing runs, at least one."""
        group: list[GenerationRequest] = []
        tokens = opened = 0
        while waiting:
            one = waiting[0]
            lanes = one.decoding.beams
            if group and lanes != group[0].decoding.beams:
                break
            if not self._fits([*group, one]):
                break
            held = len(one.prompt.prefix) + sum(map(len, one.prompt.branches))
            new = lanes * len(one.prompt.branches)
            crowded = tokens + held > self.config.max_prefill_tokens or opened + new > JOIN_SHARE * self.config.max_rows
            if group and self._rows.can_join and crowded:
                break
            group.append(waiting.popleft())
            tokens += held
            opened += new
        return group


def decode(batch: Scheduler, wanted: Sequence[GenerationRequest]) -> Iterator[Completion]:
    """All texts of the prompts as they end; the longest prompts go first: what is computed together is alike."""
    batch.add(sorted(wanted, key=lambda one: (-len(one.prompt.prefix), one.prompt.index)))
    while batch.busy:
        yield from batch.step()
