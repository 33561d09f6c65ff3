"""Which token comes next: the likeliest, a drawn one, or those of the best beams; and which texts have ended."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import torch

from rolesum.generation.decoding.sampling import sample
from rolesum.generation.engine import Decoding

BranchKey = tuple[int, int]  # number of the prompt, number of the branch


@dataclass(slots=True)
class Hypothesis:
    """A row's tokens so far, with the log-probability of each."""

    key: BranchKey
    begun: float
    decoding: Decoding
    random: Random | None = None
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def extended(self, token: int, logprob: float) -> "Hypothesis":
        return replace(self, ids=[*self.ids, token], logprobs=[*self.logprobs, logprob])

    @property
    def score(self) -> float:
        return sum(self.logprobs)


@dataclass(frozen=True, slots=True)
class Completion:
    """A text that has ended, `seconds` after its prompt was taken up: `stopped` by the model, or by the limit."""

    hypothesis: Hypothesis
    stopped: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class SearchStep:
    """After a token: the rows to go on with, by number, their texts, and what has ended."""

    rows: list[int]
    hypotheses: list[Hypothesis]
    completions: list[Completion]


OnToken = Callable[[Hypothesis], None]


def make_search(decoding: Decoding, stops: torch.Tensor, on_token: OnToken | None) -> "Search":
    """Beams, or one row a text; beams tell no tokens, since they change their minds."""
    return _Beams(decoding, stops) if decoding.beams > 1 else _Singles(decoding, stops, on_token)


class Search(ABC):
    """Chooses the next tokens of the texts that are decoded alike."""

    def __init__(self, decoding: Decoding, stops: torch.Tensor) -> None:
        self.decoding, self.stops = decoding, stops
        self.stop_set = set(stops.tolist())

    @abstractmethod
    def advance(self, texts: list[Hypothesis], scores: torch.Tensor) -> SearchStep:
        """`scores` (rows, words) are the logits behind each text's row; the rows of a beam search stand together."""

    def discard(self, owner: BranchKey) -> None:  # noqa: B027
        """Let go of what is kept of a text that nobody waits for any more."""

    def _allowed(self, texts: Sequence[Hypothesis], scores: torch.Tensor) -> torch.Tensor:
        """Without the stops where a text is too short to end."""
        short = [row for row, text in enumerate(texts) if len(text.ids) < self.decoding.min_new_tokens]
        if short:
            scores = scores.clone()
            scores[torch.tensor(short, device=scores.device)[:, None], self.stops] = float("-inf")
        return scores


class _Singles(Search):
    """One row a text: the likeliest token, or a drawn one."""

    def __init__(self, decoding: Decoding, stops: torch.Tensor, on_token: OnToken | None = None) -> None:
        super().__init__(decoding, stops)
        self.on_token = on_token

    def advance(self, texts: list[Hypothesis], scores: torch.Tensor) -> SearchStep:
        allowed = self._allowed(texts, scores)
        if self.decoding.temperature:
            chosen = sample(allowed, self.decoding, [text.random or Random(0) for text in texts])
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
            stopped = token in self.stop_set
            if stopped or len(text.ids) >= self.decoding.max_new_tokens:
                ended.append(Completion(text, stopped, now - text.begun))
            else:
                kept.append(row)
                going.append(text)
        return SearchStep(kept, going, ended)


class _Beams(Search):
    """Beam search as transformers' generate does it with early_stopping=False; each text is a group of rows."""

    def __init__(self, decoding: Decoding, stops: torch.Tensor) -> None:
        super().__init__(decoding, stops)
        self.done: dict[BranchKey, list[tuple[float, Hypothesis, bool]]] = {}  # the best so far of each group

    def advance(self, texts: list[Hypothesis], scores: torch.Tensor) -> SearchStep:
        logprobs = torch.log_softmax(self._allowed(texts, scores), dim=-1)
        groups: dict[BranchKey, list[int]] = {}
        for row, text in enumerate(texts):
            groups.setdefault(text.key, []).append(row)
        kept: list[int] = []
        going: list[Hypothesis] = []
        ended: list[Completion] = []
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
            ended.append(Completion(text, stopped, time.monotonic() - text.begun))
            del self.done[owner]
        return SearchStep(kept, going, ended)

    def forget(self, owner: BranchKey) -> None:
        self.done.pop(owner, None)

    def _forks(
        self, texts: Sequence[Hypothesis], logprobs: torch.Tensor, members: Sequence[int]
    ) -> list[tuple[int, Hypothesis]]:
        """The likeliest ways on of a group, twice as many as beams, each with the row that it goes on from."""
        totals = torch.tensor([texts[row].score for row in members], device=logprobs.device)[:, None]
        sums = (logprobs[members[0] : members[-1] + 1] + totals).flatten()
        best = sums.topk(min(2 * self.decoding.beams, len(sums))).indices.tolist()
        found = [(members[index // logprobs.shape[1]], index % logprobs.shape[1]) for index in best]
        return [(row, texts[row].extended(token, float(logprobs[row, token]))) for row, token in found]

    def _sift(self, owner: BranchKey, forks: Sequence[tuple[int, Hypothesis]]) -> list[tuple[int, Hypothesis]]:
        """Those that go on; those that ended are kept if they stand among the first."""
        done = self.done.setdefault(owner, [])
        on: list[tuple[int, Hypothesis]] = []
        for rank, (row, text) in enumerate(forks):
            if text.ids[-1] in self.stop_set:
                if rank < self.decoding.beams:
                    self._keep(done, text, stopped=True)
            elif len(on) < self.decoding.beams:
                on.append((row, text))
        return on

    def _keep(self, done: list[tuple[float, Hypothesis, bool]], text: Hypothesis, stopped: bool) -> None:
        done.append((text.score / len(text.ids) ** self.decoding.length_penalty, text, stopped))
        done.sort(key=lambda one: -one[0])
        del done[self.decoding.beams :]
