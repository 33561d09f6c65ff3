"""The loop: prompts join, every row gets a token, texts that have ended leave, until nothing waits and nothing runs."""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import torch

from rolesum.generation.encoded import Encoded, Rows
from rolesum.generation.engine import Decoding
from rolesum.generation.sampling import draw, stream

# Prompts join when so large a share of the rows is free, and so many at once: few are computed no faster than many.
JOIN_SHARE = 0.25

Owner = tuple[int, int]  # number of the prompt, number of the branch


@dataclass(slots=True)
class Text:
    """A row's tokens so far, with the log-probability of each."""

    owner: Owner
    begun: float
    random: Random | None = None
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def grown(self, token: int, logprob: float) -> "Text":
        return replace(self, ids=[*self.ids, token], logprobs=[*self.logprobs, logprob])

    @property
    def score(self) -> float:
        return sum(self.logprobs)


@dataclass(frozen=True, slots=True)
class Ended:
    """A text that has ended, `seconds` after its prompt was taken up: `stopped` by the model, or by the limit."""

    text: Text
    stopped: bool
    seconds: float


@dataclass
class Limits:
    """What ends a text, and what a batch may hold: keys, rows, and tokens of the prompts that join at once."""

    stops: torch.Tensor
    keys: int
    rows: int
    prompt_tokens: int

    def __post_init__(self) -> None:
        self.stop_set = set(self.stops.tolist())


def decode(
    rows: Rows,
    prompts: Sequence[Encoded],
    identities: Sequence[str],
    decoding: Decoding,
    limits: Limits,
    check_numbers: Callable[[torch.Tensor], None],
    on_token: Callable[[Text], None] | None = None,
) -> Iterator[Ended]:
    """The texts of all branches as they end. Sampling makes its streams of the dialogues' ids, `identities`."""
    waiting = deque(sorted(prompts, key=lambda one: (-len(one.prefix), one.index)))
    search: _Search = _Beams(decoding, limits) if decoding.beams > 1 else _Singles(decoding, limits, on_token)
    texts: list[Text] = []
    while waiting or texts:
        while waiting and (not texts or (rows.joins and len(texts) <= (1 - JOIN_SHARE) * limits.rows)):
            group = _that_join(waiting, rows, decoding, limits, running=bool(texts))
            if not group:
                break
            begun = time.monotonic()
            scores = rows.admit(group, decoding.beams)
            check_numbers(scores)
            new = [
                Text((one.index, number), begun, stream(decoding.seed, identities[one.index], number))
                for one in group
                for number in range(len(one.branches))
            ]
            before = len(texts)
            parents, grown, ended = search.advance(new, scores)
            yield from ended
            texts = [*texts, *grown]
            if parents != list(range(len(new))):
                rows.select([*range(before), *(before + parent for parent in parents)])
        if not texts:
            continue
        scores = rows.step([text.ids[-1] for text in texts])
        parents, texts, ended = search.advance(texts, scores)
        yield from ended
        if parents != list(range(len(scores))):
            rows.select(parents)


def _that_join(waiting: deque[Encoded], rows: Rows, decoding: Decoding, limits: Limits, running: bool) -> list[Encoded]:
    """Take off `waiting` what there is room for; where nothing runs, at least one."""
    group: list[Encoded] = []
    tokens = opened = 0
    while waiting:
        one = waiting[0]
        held = len(one.prefix) + sum(map(len, one.branches))
        new = decoding.beams * len(one.branches)
        if (group or running) and rows.keys([*group, one], decoding.beams, decoding.max_new_tokens) > limits.keys:
            break
        crowded = tokens + held > limits.prompt_tokens or opened + new > JOIN_SHARE * limits.rows
        if group and rows.joins and crowded:
            break
        group.append(waiting.popleft())
        tokens += held
        opened += new
    return group


class _Search(ABC):
    """Chooses the next tokens; gives the rows to go on with, by number and with their texts, and what has ended."""

    def __init__(self, decoding: Decoding, limits: Limits) -> None:
        self.decoding, self.limits = decoding, limits

    @abstractmethod
    def advance(self, texts: list[Text], scores: torch.Tensor) -> tuple[list[int], list[Text], list[Ended]]:
        """`scores` (rows, words) are the logits behind each text's row."""

    def _allowed(self, texts: Sequence[Text], scores: torch.Tensor) -> torch.Tensor:
        """Without the stops where a text is too short to end."""
        short = [row for row, text in enumerate(texts) if len(text.ids) < self.decoding.min_new_tokens]
        if short:
            scores = scores.clone()
            scores[torch.tensor(short, device=scores.device)[:, None], self.limits.stops] = float("-inf")
        return scores


class _Singles(_Search):
    """One row a text: the likeliest token, or a drawn one."""

    def __init__(self, decoding: Decoding, limits: Limits, on_token: Callable[[Text], None] | None = None) -> None:
        super().__init__(decoding, limits)
        self.on_token = on_token

    def advance(self, texts: list[Text], scores: torch.Tensor) -> tuple[list[int], list[Text], list[Ended]]:
        allowed = self._allowed(texts, scores)
        if self.decoding.temperature:
            chosen = draw(allowed, self.decoding, [text.random or Random(0) for text in texts])
        else:
            chosen = allowed.argmax(-1)
        logprobs = scores.gather(-1, chosen[:, None])[:, 0] - scores.logsumexp(-1)
        kept, going, ended = [], [], []
        now = time.monotonic()
        for row, (text, token, logprob) in enumerate(zip(texts, chosen.tolist(), logprobs.tolist(), strict=True)):
            text.ids.append(token)
            text.logprobs.append(logprob)
            if self.on_token:
                self.on_token(text)
            stopped = token in self.limits.stop_set
            if stopped or len(text.ids) >= self.decoding.max_new_tokens:
                ended.append(Ended(text, stopped, now - text.begun))
            else:
                kept.append(row)
                going.append(text)
        return kept, going, ended


class _Beams(_Search):
    """Beam search as transformers' generate does it with early_stopping=False; each text is a group of rows."""

    def __init__(self, decoding: Decoding, limits: Limits) -> None:
        super().__init__(decoding, limits)
        self.done: dict[Owner, list[tuple[float, Text, bool]]] = {}  # the best so far of each group

    def advance(self, texts: list[Text], scores: torch.Tensor) -> tuple[list[int], list[Text], list[Ended]]:
        logprobs = torch.log_softmax(self._allowed(texts, scores), dim=-1)
        groups: dict[Owner, list[int]] = {}
        for row, text in enumerate(texts):
            groups.setdefault(text.owner, []).append(row)
        kept: list[int] = []
        going: list[Text] = []
        ended: list[Ended] = []
        for owner, members in groups.items():
            forks = self._forks(texts, logprobs, members)
            on = self._sift(owner, forks)
            best = max((text.score for _, text in on), default=float("-inf"))
            length = len(texts[members[0]].ids) + 1
            done = self.done.setdefault(owner, [])
            full = len(done) >= self.decoding.beams
            if length >= self.decoding.max_new_tokens:
                for _, text in on:
                    self._keep(done, text, stopped=False)
            elif on and not (full and done[-1][0] >= best / length**self.decoding.length_penalty):
                kept += [row for row, _ in on]
                going += [text for _, text in on]
                continue
            _, text, stopped = done[0]
            ended.append(Ended(text, stopped, time.monotonic() - text.begun))
            del self.done[owner]
        return kept, going, ended

    def _forks(self, texts: Sequence[Text], logprobs: torch.Tensor, members: Sequence[int]) -> list[tuple[int, Text]]:
        """The likeliest ways on of a group, twice as many as beams, each with the row that it goes on from."""
        totals = torch.tensor([texts[row].score for row in members], device=logprobs.device)[:, None]
        sums = (logprobs[members[0] : members[-1] + 1] + totals).flatten()
        best = sums.topk(min(2 * self.decoding.beams, len(sums))).indices.tolist()
        found = [(members[index // logprobs.shape[1]], index % logprobs.shape[1]) for index in best]
        return [(row, texts[row].grown(token, float(logprobs[row, token]))) for row, token in found]

    def _sift(self, owner: Owner, forks: Sequence[tuple[int, Text]]) -> list[tuple[int, Text]]:
        """Those that go on; those that ended are kept if they stand among the first."""
        done = self.done.setdefault(owner, [])
        on: list[tuple[int, Text]] = []
        for rank, (row, text) in enumerate(forks):
            if text.ids[-1] in self.limits.stop_set:
                if rank < self.decoding.beams:
                    self._keep(done, text, stopped=True)
            elif len(on) < self.decoding.beams:
                on.append((row, text))
        return on

    def _keep(self, done: list[tuple[float, Text, bool]], text: Text, stopped: bool) -> None:
        done.append((text.score / len(text.ids) ** self.decoding.length_penalty, text, stopped))
        done.sort(key=lambda one: -one[0])
        del done[self.decoding.beams :]
