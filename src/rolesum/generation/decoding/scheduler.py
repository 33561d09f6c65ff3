"""Continuous batching: prompts are admitted while others are decoded, and finished texts make room for new ones."""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import inf
from random import Random

import torch

from rolesum.errors import ResourceError
from rolesum.generation.decoding.decoder import Decoder, EncodedPrompt, HoldingDecoder
from rolesum.generation.decoding.follow_up import FollowUp, FollowUpQueue, Questions
from rolesum.generation.decoding.kept_prefix import KeptPrefix
from rolesum.generation.decoding.search import (
    BranchKey,
    Completion,
    Hypothesis,
    OnToken,
    Search,
    SearchStep,
    TokenConstraint,
    make_search,
)
from rolesum.generation.engine import Decoding

# Prompts are admitted when this share of the rows is free, and so many at once: a prefill of few costs as much as one
# of many.
JOIN_SHARE = 0.25
# Requests of low priority are admitted up to this share of the rows and of the cache.
LOW_PRIORITY_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A prompt and how its texts are decoded. `dialogue_id` seeds the texts that are sampled.

    Requests of `low_priority` are admitted after the others, and only into half of the rows and of the cache. With a
    `follow_up`, the prompt's last text is returned when the questions about its texts are answered. The keys that are
    `kept` of the prompt's prefix are not computed, and those of the whole prefix are kept there for the next request.
    `new_constraint` makes what each of the texts is held to, if anything.
    """

    prompt: EncodedPrompt
    decoding: Decoding
    dialogue_id: str
    low_priority: bool = False
    follow_up: FollowUp | None = None
    kept: KeptPrefix | None = None
    new_constraint: Callable[[], TokenConstraint] | None = None

    @property
    def tokens_to_compute(self) -> int:
        """Tokens of the prefill."""
        return self.prompt.cached_tokens() - (self.kept.matching(self.prompt.prefix) if self.kept else 0)


@dataclass
class SchedulerConfig:
    """The ids that end a text, and the most that a batch may hold: cache positions, rows, tokens of one prefill.

    A prompt of more than `chunked_prefill_threshold` tokens is prefilled in chunks, between which the other texts are
    decoded, so that they do not wait for it. Where all prompts are long, that costs throughput.
    """

    stop_ids: torch.Tensor  # (stop ids,)
    max_cache_tokens: int
    max_rows: int
    max_prefill_tokens: int
    chunked_prefill_threshold: float = inf


@dataclass
class _ChunkedPrefill:
    """A long prompt that is being prefilled in chunks."""

    request: GenerationRequest
    begun: float
    chunks: Iterator[torch.Tensor | None]
    next: float = 0.0  # when the next chunk is due


class Scheduler:
    """Decodes many prompts in one batch, into which waiting prompts are admitted as finished texts leave.

    Prompts are told apart by their `index`; each may have a Decoding of its own. `check_logits` raises for logits that
    are not finite. `on_token` is called with each hypothesis that has grown.
    """

    def __init__(
        self,
        new_decoder: Callable[[], Decoder],
        config: SchedulerConfig,
        check_logits: Callable[[torch.Tensor], None],
        on_token: OnToken | None = None,
    ) -> None:
        self.config, self.check_logits, self.on_token = config, check_logits, on_token
        self._new_decoder = new_decoder
        self._decoder = new_decoder()
        self._waiting: deque[GenerationRequest] = deque()
        self._waiting_low: deque[GenerationRequest] = deque()  # of low priority
        self._waiting_long: deque[GenerationRequest] = deque()  # to be prefilled in chunks
        self._chunked: _ChunkedPrefill | None = None
        self._running: dict[int, GenerationRequest] = {}
        self._completed: dict[BranchKey, Completion] = {}  # the finished texts of running prompts
        self._follow_ups = FollowUpQueue(new_decoder, config.max_prefill_tokens, check_logits)
        self._hypotheses: list[Hypothesis] = []  # of the decoder's rows, in their order
        self._searches: dict[Decoding, Search] = {}

    def run(self, requests: Sequence[GenerationRequest]) -> Iterator[Completion]:
        """Decode all requests, those with the longest prompts first; yields the texts as they finish."""
        self.add(sorted(requests, key=lambda one: (-len(one.prompt.prefix), one.prompt.index)))
        while self.busy:
            yield from self.step()

    def add(self, requests: Iterable[GenerationRequest]) -> None:
        """Queue requests behind those that wait already."""
        for one in requests:
            is_long = one.tokens_to_compute > self.config.chunked_prefill_threshold
            queue = self._waiting_long if is_long else self._waiting_low if one.low_priority else self._waiting
            queue.append(one)

    def cancel(self, indices: Collection[int]) -> None:
        """Drop prompts, waiting or running, and free their rows."""
        if not indices:
            return
        self._waiting = deque(one for one in self._waiting if one.prompt.index not in indices)
        self._waiting_low = deque(one for one in self._waiting_low if one.prompt.index not in indices)
        self._waiting_long = deque(one for one in self._waiting_long if one.prompt.index not in indices)
        if self._chunked and self._chunked.request.prompt.index in indices:
            self._chunked = None
        kept = [row for row, one in enumerate(self._hypotheses) if one.key[0] not in indices]
        if len(kept) < len(self._hypotheses):
            for one in self._hypotheses:
                if one.key[0] in indices:
                    self._searches[one.decoding].discard(one.key)
            self._hypotheses = [self._hypotheses[row] for row in kept]
            self._decoder.reorder(kept)
        self._follow_ups.drop(indices, self._decoder)
        for index in indices:
            self._close(index)

    @property
    def busy(self) -> bool:
        """Whether any request waits or runs."""
        waiting = self._waiting or self._waiting_low or self._waiting_long
        return bool(waiting or self._chunked or self._hypotheses or self._follow_ups)

    @property
    def num_rows(self) -> int:
        """Rows that are being decoded."""
        return len(self._hypotheses)

    def step(self) -> list[Completion]:
        """Answer questions, admit prompts while there is room, then decode a token for every row; the finished texts.

        Where the device runs out of memory, all running prompts start again in smaller batches, and no text is
        returned twice. Raises ResourceError where a single prompt does not fit.
        """
        completions: list[Completion] = []  # what finished before the memory ran out counts
        try:
            with torch.inference_mode():
                admission = chain(self._chunked_prefill_step(), self._prefill_step())
                for one in chain(self._follow_up_step(), admission, self._decode_step()):
                    completions.append(one)
        except torch.OutOfMemoryError:
            self._restart_smaller()
        return completions

    # Admission and prefill

    @property
    def _may_admit(self) -> bool:
        """Whether enough rows are free to admit prompts, and no questions need the room."""
        rows = len(self._hypotheses)
        has_rows = not rows or (self._decoder.can_join and rows <= (1 - JOIN_SHARE) * self.config.max_rows)
        return has_rows and not self._follow_ups.overdue

    def _chunked_prefill_step(self) -> Iterator[Completion]:
        """Prefill the next chunk of a long prompt, if it is due: the running rows get as much time in between."""
        one = min(self._waiting_long, key=lambda each: each.low_priority, default=None)
        if one and not self._chunked and self._may_admit and self._has_room([one]):
            self._waiting_long.remove(one)
            self._running[one.prompt.index] = one
            chunks = self._decoder.prefill_chunked(one.prompt, one.decoding.beams, one.kept)
            self._chunked = _ChunkedPrefill(one, time.monotonic(), chunks)
        if (chunked := self._chunked) and (not self._hypotheses or time.monotonic() >= chunked.next):
            begun = time.monotonic()
            logits = next(chunked.chunks)
            if logits is None:
                now = time.monotonic()
                chunked.next = now + (now - begun)
            else:
                self._chunked = None
                yield from self._start_decoding([chunked.request], logits, chunked.begun)

    def _prefill_step(self) -> Iterator[Completion]:
        """Admit waiting prompts as long as there is room."""
        while (self._waiting or self._waiting_low) and self._may_admit:
            group = self._select_admissible(self._waiting) or self._select_admissible(self._waiting_low)
            if not group:
                return
            begun = time.monotonic()
            self._running |= {one.prompt.index: one for one in group}
            prompts, beams = [one.prompt for one in group], group[0].decoding.beams
            if group[0].kept:
                *_, last = self._decoder.prefill_chunked(prompts[0], beams, group[0].kept)
                assert last is not None
                logits = last
            else:
                logits = self._decoder.prefill(prompts, beams)
            yield from self._start_decoding(group, logits, begun)

    def _select_admissible(self, waiting: deque[GenerationRequest]) -> list[GenerationRequest]:
        """Take from the front of a queue the requests that there is room for; where nothing runs, at least one."""
        group: list[GenerationRequest] = []
        tokens = rows = 0
        while waiting:
            one = waiting[0]
            beams = one.decoding.beams
            if group and (beams != group[0].decoding.beams or one.kept or group[0].kept):
                break  # a prompt whose keys are kept is prefilled by itself
            if not self._has_room([*group, one]):
                break
            new_tokens = len(one.prompt.prefix) + sum(map(len, one.prompt.branches))
            new_rows = beams * len(one.prompt.branches)
            too_many_tokens = tokens + new_tokens > self.config.max_prefill_tokens
            too_many_rows = rows + new_rows > JOIN_SHARE * self.config.max_rows
            if group and self._decoder.can_join and (too_many_tokens or too_many_rows):
                break
            group.append(waiting.popleft())
            tokens += new_tokens
            rows += new_rows
        return group

    def _has_room(self, group: Sequence[GenerationRequest]) -> bool:
        """Whether the cache has room for requests beside what runs; always for a single one where nothing runs."""
        if len(group) == 1 and not self._hypotheses and not self._chunked and not self._follow_ups:
            return True
        share = 1.0
        everything = (*group, *self._running.values())
        if group[0].low_priority:
            share = LOW_PRIORITY_SHARE
            rows = sum(one.decoding.beams * len(one.prompt.branches) for one in everything)
            if rows > share * self.config.max_rows:
                return False
        longest = max(one.decoding.max_new_tokens for one in everything)
        needed = self._decoder.cache_size([one.prompt for one in group], group[0].decoding.beams, longest)
        return needed <= share * self.config.max_cache_tokens

    # Decoding

    def _start_decoding(
        self, group: Sequence[GenerationRequest], logits: torch.Tensor, begun: float
    ) -> Iterator[Completion]:
        """Choose the first token of every branch of prompts that were prefilled; `logits` (branches, vocabulary)."""
        self.check_logits(logits)
        new = [
            Hypothesis(
                (one.prompt.index, branch),
                begun,
                one.decoding,
                Random(one.decoding.text_seed(one.dialogue_id, branch)),
                one.new_constraint() if one.new_constraint else None,
            )
            for one in group
            for branch in range(len(one.prompt.branches))
        ]
        yield from self._choose_tokens(len(self._hypotheses), new, logits)

    def _decode_step(self) -> Iterator[Completion]:
        """Decode one token for every row."""
        if self._hypotheses:
            logits = self._decoder.step([one.ids[-1] for one in self._hypotheses])
            yield from self._choose_tokens(0, self._hypotheses, logits)

    def _choose_tokens(self, first: int, hypotheses: list[Hypothesis], logits: torch.Tensor) -> Iterator[Completion]:
        """Choose a token for each of the decoder's last rows, from row `first` on; finished texts give up theirs."""
        found = self._advance(hypotheses, logits)
        row_of = {one.key: first + row for row, one in enumerate(hypotheses)}
        for one in found.completions:
            yield from self._complete(one, row_of[one.hypothesis.key])
        self._hypotheses = [*self._hypotheses[:first], *found.hypotheses]
        if found.rows != list(range(len(hypotheses))):
            self._decoder.reorder([*range(first), *(first + row for row in found.rows)])

    def _advance(self, hypotheses: list[Hypothesis], logits: torch.Tensor) -> SearchStep:
        """Choose a token for each row, by the search of its Decoding; the rows that go on keep their order."""
        by_decoding: dict[Decoding, list[int]] = {}
        for row, one in enumerate(hypotheses):
            by_decoding.setdefault(one.decoding, []).append(row)
        if len(by_decoding) == 1:
            return self._search(hypotheses[0].decoding).advance(hypotheses, logits)
        first_row: dict[BranchKey, int] = {}
        for row, one in enumerate(hypotheses):
            first_row.setdefault(one.key, row)
        going: list[tuple[int, Hypothesis]] = []
        completions: list[Completion] = []
        for decoding, rows in by_decoding.items():
            found = self._search(decoding).advance([hypotheses[row] for row in rows], logits[rows])
            going += [(rows[row], one) for row, one in zip(found.rows, found.hypotheses, strict=True)]
            completions += found.completions
        going.sort(key=lambda pair: first_row[pair[1].key])
        return SearchStep([row for row, _ in going], [one for _, one in going], completions)

    def _search(self, decoding: Decoding) -> Search:
        """The search of a Decoding, which is kept for as long as prompts with that Decoding run."""
        if decoding not in self._searches:
            in_use = {one.decoding for one in self._running.values()}
            self._searches = {one: search for one, search in self._searches.items() if one in in_use}
            self._searches[decoding] = make_search(decoding, self.config.stop_ids, self.on_token)
        return self._searches[decoding]

    def _complete(self, one: Completion, row: int) -> Iterator[Completion]:
        """A text of this row, unless it was finished before a restart. A prompt is closed with its last text.

        A prompt with a follow-up stays, and its last text is held back, until the questions are answered.
        """
        index = one.hypothesis.key[0]
        request = self._running.get(index)
        if request is None or one.hypothesis.key in self._completed:
            return
        self._completed[one.hypothesis.key] = one
        if all((index, branch) in self._completed for branch in range(len(request.prompt.branches))):
            if request.follow_up is not None and self._ask(request, request.follow_up, one, row):
                return
            self._close(index)
        yield one

    def _close(self, index: int) -> None:
        if request := self._running.pop(index, None):
            for branch in range(len(request.prompt.branches)):
                self._completed.pop((index, branch), None)

    # Follow-ups

    def _ask(self, request: GenerationRequest, follow_up: FollowUp, last: Completion, row: int) -> bool:
        """Queue the questions about a prompt's texts and hold its prefix; False where there are none.

        `last` is the text to return when they are answered, and `row` one of the prompt's rows.
        """
        prompt = request.prompt
        texts = [self._completed[prompt.index, branch].hypothesis.ids for branch in range(len(prompt.branches))]
        questions = follow_up.questions(prompt, texts)
        if not questions:
            follow_up.add_answers([])
            return False
        held = self._decoder.hold(row, len(prompt.prefix)) if isinstance(self._decoder, HoldingDecoder) else None
        self._follow_ups.add(Questions(follow_up, replace(prompt, branches=questions), last, held))
        return True

    def _follow_up_step(self) -> Iterator[Completion]:
        """Answer the questions that are due, as far as the cache has room for them."""
        if not self._follow_ups:
            return
        is_idle = not self._hypotheses and not self._chunked
        growth = 0 if is_idle else max(one.decoding.max_new_tokens for one in self._running.values())
        for one in self._follow_ups.answer(self._decoder, self.config.max_cache_tokens, growth):
            self._close(one.hypothesis.key[0])
            yield one

    def _restart_smaller(self) -> None:
        """Queue everything that runs again, for batches of half the cache. Raises ResourceError where none is left."""
        asked = self._follow_ups.prompts
        done = {one.index for one in asked}
        again = [one for index, one in self._running.items() if index not in done]
        others = [*self._waiting, *self._waiting_low, *self._waiting_long]
        prompts = [*(one.prompt for one in [*again, *others]), *asked]
        if self.config.max_cache_tokens < min(one.max_row_tokens(0) for one in prompts):
            raise ResourceError("one dialogue does not fit the device's memory", fix="use --device cpu") from None
        self._hypotheses, self._decoder, self._searches, self._chunked = [], self._new_decoder(), {}, None
        self._follow_ups.lose_prefixes()
        for waiting in (self._waiting, self._waiting_low, self._waiting_long):
            waiting.clear()
        self.add([*again, *others])
        self.config.max_cache_tokens //= 2
        torch.cuda.empty_cache()
