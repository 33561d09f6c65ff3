"""How the next token is chosen: greedily, by sampling or by beam search; and which texts have ended."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Protocol

import torch

from rolesum.generation.decoding.sampling import sample
from rolesum.generation.engine import Decoding


class TokenConstraint(Protocol):
    """Says which tokens may come next in one text; see JSONConstraint."""

    def allowed(self, vocabulary: int) -> torch.Tensor:
        """Which tokens may come next, bool (vocabulary,)."""
        ...

    def accept(self, token: int) -> None:
        """Append a token to the text."""
        ...


BranchKey = tuple[int, int]  # number of the prompt, number of its branch


@dataclass(slots=True)
class Hypothesis:
    """The tokens of one row so far, with the log-probability of each. `begun` is when its prompt was started on.

    A text with a `constraint` has only tokens that it allows; beam search knows none.
    """

    key: BranchKey
    begun: float
    decoding: Decoding
    random: Random | None = None
    constraint: TokenConstraint | None = None
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def extended(self, token: int, logprob: float) -> "Hypothesis":
        return replace(self, ids=[*self.ids, token], logprobs=[*self.logprobs, logprob])

    @property
    def score(self) -> float:
        return sum(self.logprobs)


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished text, `seconds` after its prompt was started on: `stopped` by the model, else by the limit."""

    hypothesis: Hypothesis
    stopped: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class SearchStep:
    """The result of one token: the rows to go on with, by number, their hypotheses, and what was completed."""

    rows: list[int]
    hypotheses: list[Hypothesis]
    completions: list[Completion]


OnToken = Callable[[Hypothesis], None]


def make_search(decoding: Decoding, stop_ids: torch.Tensor, on_token: OnToken | None) -> "Search":
    """The search that a Decoding asks for. Beam search does not stream: its hypotheses may change."""
    return _BeamSearch(decoding, stop_ids) if decoding.beams > 1 else _TokenSearch(decoding, stop_ids, on_token)


class Search(ABC):
    """Chooses the next tokens of the texts that share one Decoding."""

    def __init__(self, decoding: Decoding, stop_ids: torch.Tensor) -> None:
        self.decoding, self.stop_ids = decoding, stop_ids
        self.stop_set = set(stop_ids.tolist())

    @abstractmethod
    def advance(self, hypotheses: list[Hypothesis], logits: torch.Tensor) -> SearchStep:
        """Choose a token for each row; `logits` (rows, vocabulary). The rows of one beam search are adjacent."""

    def discard(self, key: BranchKey) -> None:  # noqa: B027
        """Forget what is kept of a text that was canceled."""

    def _without_early_stops(self, hypotheses: Sequence[Hypothesis], logits: torch.Tensor) -> torch.Tensor:
        """The logits, with the stop ids at -inf for texts shorter than `min_new_tokens`."""
        short = [row for row, one in enumerate(hypotheses) if len(one.ids) < self.decoding.min_new_tokens]
        if short:
            logits = logits.clone()
            logits[torch.tensor(short, device=logits.device)[:, None], self.stop_ids] = float("-inf")
        return logits


class _TokenSearch(Search):
    """One row for each text: the likeliest token, or a sampled one."""

    def __init__(self, decoding: Decoding, stop_ids: torch.Tensor, on_token: OnToken | None = None) -> None:
        super().__init__(decoding, stop_ids)
        self.on_token = on_token

    def advance(self, hypotheses: list[Hypothesis], logits: torch.Tensor) -> SearchStep:
        allowed = _constrained(hypotheses, self._without_early_stops(hypotheses, logits))
        if self.decoding.temperature:
            chosen = sample(allowed, self.decoding, [one.random or Random(0) for one in hypotheses])
        else:
            chosen = allowed.argmax(-1)
        logprobs = logits.gather(-1, chosen[:, None])[:, 0] - logits.logsumexp(-1)
        rows, going, completions = [], [], []
        now = time.monotonic()
        for row, (one, token, logprob) in enumerate(zip(hypotheses, chosen.tolist(), logprobs.tolist(), strict=True)):
            one.ids.append(token)
            one.logprobs.append(logprob)
            if one.constraint:
                one.constraint.accept(token)
            if self.on_token:
                self.on_token(one)
            stopped = token in self.stop_set
            if stopped or len(one.ids) >= self.decoding.max_new_tokens:
                completions.append(Completion(one, stopped, now - one.begun))
            else:
                rows.append(row)
                going.append(one)
        return SearchStep(rows, going, completions)


def _constrained(hypotheses: Sequence[Hypothesis], logits: torch.Tensor) -> torch.Tensor:
    """The logits, with -inf for the tokens that a text's constraint does not allow."""
    if not any(one.constraint for one in hypotheses):
        return logits
    logits = logits.clone()
    for row, one in enumerate(hypotheses):
        if one.constraint:
            allowed = one.constraint.allowed(logits.shape[-1])
            logits[row].masked_fill_(~allowed.to(logits.device), float("-inf"))
    return logits


class _BeamSearch(Search):
    """Beam search as transformers' generate does it with early_stopping=False; each text is a group of rows."""

    def __init__(self, decoding: Decoding, stop_ids: torch.Tensor) -> None:
        super().__init__(decoding, stop_ids)
        self.finished: dict[BranchKey, list[tuple[float, Hypothesis, bool]]] = {}  # the best so far of each group

    def advance(self, hypotheses: list[Hypothesis], logits: torch.Tensor) -> SearchStep:
        logprobs = torch.log_softmax(self._without_early_stops(hypotheses, logits), dim=-1)
        groups: dict[BranchKey, list[int]] = {}
        for row, one in enumerate(hypotheses):
            groups.setdefault(one.key, []).append(row)
        rows: list[int] = []
        going: list[Hypothesis] = []
        completions: list[Completion] = []
        for key, members in groups.items():
            beams = self._select_beams(key, self._expand(hypotheses, logprobs, members))
            best = max((one.score for _, one in beams), default=float("-inf"))
            length = len(hypotheses[members[0]].ids) + 1
            finished = self.finished.setdefault(key, [])
            is_full = len(finished) >= self.decoding.beams
            if length >= self.decoding.max_new_tokens:
                for _, one in beams:
                    self._finish(finished, one, stopped=False)
            elif beams and not (is_full and finished[-1][0] >= best / length**self.decoding.length_penalty):
                rows += [row for row, _ in beams]
                going += [one for _, one in beams]
                continue
            _, one, stopped = finished[0]
            completions.append(Completion(one, stopped, time.monotonic() - one.begun))
            del self.finished[key]
        return SearchStep(rows, going, completions)

    def discard(self, key: BranchKey) -> None:
        self.finished.pop(key, None)

    def _expand(
        self, hypotheses: Sequence[Hypothesis], logprobs: torch.Tensor, members: Sequence[int]
    ) -> list[tuple[int, Hypothesis]]:
        """The likeliest continuations of a group, twice as many as beams, each with the row that it continues."""
        totals = torch.tensor([hypotheses[row].score for row in members], device=logprobs.device)[:, None]
        sums = (logprobs[members[0] : members[-1] + 1] + totals).flatten()  # (members * vocabulary,)
        best = sums.topk(min(2 * self.decoding.beams, len(sums))).indices.tolist()
        found = [(members[index // logprobs.shape[1]], index % logprobs.shape[1]) for index in best]
        return [(row, hypotheses[row].extended(token, float(logprobs[row, token]))) for row, token in found]

    def _select_beams(
        self, key: BranchKey, candidates: Sequence[tuple[int, Hypothesis]]
    ) -> list[tuple[int, Hypothesis]]:
        """The candidates that go on; those that ended are kept as finished if they rank within the beams."""
        finished = self.finished.setdefault(key, [])
        beams: list[tuple[int, Hypothesis]] = []
        for rank, (row, one) in enumerate(candidates):
            if one.ids[-1] in self.stop_set:
                if rank < self.decoding.beams:
                    self._finish(finished, one, stopped=True)
            elif len(beams) < self.decoding.beams:
                beams.append((row, one))
        return beams

    def _finish(self, finished: list[tuple[float, Hypothesis, bool]], one: Hypothesis, stopped: bool) -> None:
        finished.append((one.score / len(one.ids) ** self.decoding.length_penalty, one, stopped))
        finished.sort(key=lambda entry: -entry[0])
        del finished[self.decoding.beams :]
