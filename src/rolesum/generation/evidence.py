"""Scores the turns of a dialogue by how much each makes a causal model answer that the dialogue says a statement.

Scores are compared among the turns of one dialogue, for one statement. With z the log-odds of the answers,
z(yes) - z(no), as in verification.py, the methods are:

- "ngrams": the weighted share of the statement's n-grams that stand in the turn, without a model (checks/evidence.py).
- "left-out": z less that of the dialogue without the turn. What stands before the turn is computed once.
- "masked": z less that where the statement's branch does not attend to the turn. The prefix is computed once, so that
  later turns have still attended to this one.
- "attention": the attention weights that the branch gives to the turn's tokens.
- "gradient": the gradient of z with respect to the input embeddings times the embeddings, summed over the turn's
  tokens: how much z would drop, to first order, if they were zero (gradient × input, arXiv 1605.01713).
- "combined": "ngrams" and "attention", each divided by its sum over the turns, and weighted.

To the score of a turn, a share of its neighbors' may be added.

No command uses this: the turns that a summary's statements are shown with are those of n-grams and neighbors, by
checks/evidence.py. benchmarks/evidence_turns.py compares the methods.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal, get_args

import torch
from transformers import PreTrainedModel

from rolesum.checks.evidence import add_neighbors, ngram_scores
from rolesum.checks.index import DialogueIndex
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, ModelError, UsageError, did_you_mean
from rolesum.generation.decoding.decoder import EncodedPrompt
from rolesum.generation.decoding.prefix_reader import PrefixReader, Span
from rolesum.generation.decoding.prefix_shared import PrefixSharedDecoder
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.models.lm_head import apply_lm_head
from rolesum.models.prompt_model import LoadedModel

Method = Literal["ngrams", "left-out", "masked", "attention", "gradient", "combined"]
METHODS: tuple[Method, ...] = get_args(Method)
# Tokens of the texts that are read in one row. With more, more attention between texts is computed, only to be masked.
ROW_TOKENS = 1024

Scores = list[list[float]]  # for each statement, the score of each turn


@dataclass(frozen=True, slots=True)
class EvidenceOptions:
    """How scores are made: of attention weights, of two methods, of a turn's and its neighbors'.

    Attributes:
        queries: "answer" for the position whose logits give the answer, "question" for the mean of the branch's tokens.
        heads: The heads that count, as (layer, head) from 0; all of them if empty.
        reduce: The "mean" or the "max" of the heads' weights.
        per_token: Whether a turn's weight is divided by the number of its tokens.
        ngram_weight: The weight of n-grams in "combined", 0 to 1; that of attention is the rest.
        neighbor_weight: How much of the scores of the turns before and after it is added to a turn's, by any method.
    """

    queries: Literal["answer", "question"] = "answer"
    heads: tuple[tuple[int, int], ...] = ()
    reduce: Literal["mean", "max"] = "mean"
    per_token: bool = True
    ngram_weight: float = 0.5
    neighbor_weight: float = 0.0


@dataclass(frozen=True, slots=True)
class TurnAttention:
    """The attention weights of statements' branches, summed over each turn's tokens.

    Both tensors are float32 (statements, layers, heads, turns), on the CPU.
    """

    answer: torch.Tensor  # of the position whose logits give the answer
    question: torch.Tensor  # the mean over the branch's tokens

    def scores(self, spans: Sequence[Span], options: EvidenceOptions) -> Scores:
        """The score of each turn, whose tokens are `spans`. Raises UsageError for a head that the model has not."""
        weights = self.question if options.queries == "question" else self.answer
        layers, heads = weights.shape[1:3]
        for layer, head in options.heads:
            if not (0 <= layer < layers and 0 <= head < heads):
                what = f"no head {head} in layer {layer}: the model has {layers} layers of {heads} heads"
                raise UsageError(what, fix="count both from 0")
        places = [layer * heads + head for layer, head in options.heads] or slice(None)
        chosen = weights.flatten(1, 2)[:, places]  # (statements, heads, turns)
        reduced = chosen.amax(1) if options.reduce == "max" else chosen.mean(1)
        if options.per_token:
            reduced = reduced / torch.tensor([max(1, end - start) for start, end in spans])
        found: Scores = reduced.tolist()
        return found


@dataclass(frozen=True, slots=True)
class _Question:
    """An encoded dialogue with statements, and the ids of the answers (said, not said)."""

    prompt: EncodedPrompt
    answers: tuple[int, int]


class EvidenceFinder:
    """Scores the turns of dialogues by the model of an engine.

    Attributes:
        engine: The engine whose model and prompt layout are used.
        row_tokens: The maximum number of tokens of the branches that are read in one row.
    """

    def __init__(self, engine: TransformersEngine) -> None:
        """Raises ModelError for a model whose attention cannot be replaced, or whose branches cannot share a prefix."""
        self.engine, self.loaded, self.row_tokens = engine, engine.loaded, ROW_TOKENS
        if not isinstance(engine.new_decoder(), PrefixSharedDecoder):
            what = f"{self.loaded.name} does not tell which turns it takes an answer from: it shares no prefix"
            raise ModelError(what, fix='use another model, or the method "ngrams"')

    def scores(
        self, dialogue: Dialogue, statements: Sequence[str], method: Method, options: EvidenceOptions | None = None
    ) -> Scores:
        """The score of each turn for each statement by a method, see the module.

        Raises UsageError for an unknown method or head, DataError for a dialogue that does not fit the model,
        ModelError for a language that the model does not read and for answers that are not single tokens.
        """
        if method not in METHODS:
            raise UsageError(f'no method "{method}" to find evidence', fix=did_you_mean(method, METHODS))
        options = options or EvidenceOptions()
        found = self._scores(dialogue, statements, method, options) if statements else []
        return add_neighbors(found, options.neighbor_weight)

    def _scores(
        self, dialogue: Dialogue, statements: Sequence[str], method: Method, options: EvidenceOptions
    ) -> Scores:
        if method == "ngrams":
            return ngram_scores(statements, DialogueIndex(dialogue))
        if method == "left-out":
            return self.left_out(dialogue, statements)
        if method == "masked":
            return self.masked(dialogue, statements)
        spans = self.turn_spans(dialogue)
        if method == "gradient":
            products = self.gradient(dialogue, statements)
            return [[float(of[start:end].sum()) for start, end in spans] for of in products]
        found = self.attention(dialogue, statements).scores(spans, options)
        if method == "attention":
            return found
        return combine(ngram_scores(statements, DialogueIndex(dialogue)), found, options.ngram_weight)

    def turn_spans(self, dialogue: Dialogue) -> list[Span]:
        """The tokens of each turn within the dialogue's prefix; the line break behind a turn is its own."""
        layout, encoder = self.engine.layout, self.loaded.encoder
        segments = layout.prefix(dialogue)
        starts = encoder.token_starts(segments[-1])  # the dialogue is the last segment
        shared = len(encoder.encode(segments)) - len(starts)
        lengths = [len(text) + 1 for text in layout.instruction_set_for(dialogue).turn_texts(dialogue)]
        edges = [shared + bisect_left(starts, begin) for begin in accumulate(lengths, initial=0)]
        # What follows the last turn begins where the turn's own line break would.
        edges[-1] = shared + bisect_left(starts, sum(lengths) - 1)
        return list(pairwise(edges))

    def left_out(self, dialogue: Dialogue, statements: Sequence[str]) -> Scores:
        """How much the log-odds of each statement drop when a turn is left out of the dialogue."""
        asked = self._asked(dialogue, statements)
        prefix, branches = asked.prompt.prefix, asked.prompt.branches
        with torch.inference_mode():
            reader = PrefixReader(self.loaded, prefix)
            whole = self._log_odds(reader, asked, branches)
            drops = []
            for place in range(len(dialogue.turns)):
                without = dialogue.with_turns([*dialogue.turns[:place], *dialogue.turns[place + 1 :]])
                rest = self.loaded.encoder.encode(self.engine.layout.prefix(without))
                kept = _common_length(prefix, rest)
                odds = self._log_odds(reader, asked, branches, kept=kept, shared=rest[kept:])
                drops.append([one - other for one, other in zip(whole, odds, strict=True)])
        return [list(of) for of in zip(*drops, strict=True)]

    def masked(self, dialogue: Dialogue, statements: Sequence[str]) -> Scores:
        """How much the log-odds of each statement drop when its branch does not attend to a turn."""
        asked, spans = self._asked(dialogue, statements), self.turn_spans(dialogue)
        branches = asked.prompt.branches
        with torch.inference_mode():
            reader = PrefixReader(self.loaded, asked.prompt.prefix)
            whole = self._log_odds(reader, asked, branches)
            texts = [branch for branch in branches for _ in spans]
            odds = iter(self._log_odds(reader, asked, texts, hidden=spans * len(branches)))
        return [[one - next(odds) for _ in spans] for one in whole]

    def attention(self, dialogue: Dialogue, statements: Sequence[str]) -> TurnAttention:
        """The attention weights that the branch of each statement gives to each turn."""
        asked, spans = self._asked(dialogue, statements), self.turn_spans(dialogue)
        branches = asked.prompt.branches
        groups = torch.zeros(len(asked.prompt.prefix), len(spans), device=self.loaded.device)
        for turn, (start, end) in enumerate(spans):
            groups[start:end, turn] = 1
        answer, question = list[torch.Tensor](), list[torch.Tensor]()
        with torch.inference_mode():
            reader = PrefixReader(self.loaded, asked.prompt.prefix)
            for part in _rows(branches, self.row_tokens):
                _, layers = reader.read(branches[part], groups=groups)
                weights = torch.stack(layers)  # (layers, heads, tokens, turns)
                for of in torch.split(weights, [len(branch) for branch in branches[part]], dim=2):
                    answer.append(of[:, :, -1].cpu())
                    question.append(of.mean(2).cpu())
        return TurnAttention(torch.stack(answer), torch.stack(question))

    def gradient(self, dialogue: Dialogue, statements: Sequence[str]) -> torch.Tensor:
        """The gradient of each statement's log-odds times the input, float32 (statements, tokens of the prefix)."""
        asked = self._asked(dialogue, statements)
        ids = torch.tensor(asked.prompt.prefix, device=self.loaded.device)
        found = []
        with _frozen(self.loaded.language_model), torch.enable_grad():
            table: torch.nn.Module = self.loaded.language_model.get_input_embeddings()
            embeddings = table(ids).detach().requires_grad_()  # (tokens, hidden)
            reader = PrefixReader(self.loaded, asked.prompt.prefix, embeddings)
            for branch in asked.prompt.branches:
                odds = self._odds_of(reader.read([branch])[0], asked)
                (gradient,) = torch.autograd.grad(odds.sum(), embeddings, retain_graph=True)
                found.append((gradient.float() * embeddings.detach().float()).sum(-1).cpu())
        return torch.stack(found)

    def _asked(self, dialogue: Dialogue, statements: Sequence[str]) -> _Question:
        engine, loaded = self.engine, self.loaded
        loaded.check_languages([dialogue])
        prompt = engine.encode(0, engine.layout.verify_prompt(dialogue, statements))
        if (tokens := prompt.max_row_tokens(1)) > loaded.max_length:
            what = f"{tokens} tokens with a statement and its answer; {loaded.name} takes {loaded.max_length}"
            raise DataError(what, dialogue.location, "leave it out, or use a model that reads more")
        return _Question(prompt, loaded.encoder.answer_ids(engine.layout.instruction_set_for(dialogue).answer_pairs))

    def _log_odds(
        self,
        reader: PrefixReader,
        asked: _Question,
        texts: Sequence[list[int]],
        *,
        kept: int | None = None,
        shared: Sequence[int] = (),
        hidden: Sequence[Span] = (),
    ) -> list[float]:
        """The log-odds behind each text; see PrefixReader.read."""
        found = list[float]()
        for part in _rows(texts, self.row_tokens):
            last, _ = reader.read(texts[part], kept=kept, shared=shared, hidden=hidden[part])
            found += self._odds_of(last, asked).tolist()
        return found

    def _odds_of(self, last: torch.Tensor, asked: _Question) -> torch.Tensor:
        """The log-odds, float64 (texts,), behind hidden states (texts, hidden)."""
        logits = apply_lm_head(self.loaded.language_model, last)
        self.loaded.check_finite(logits)
        chosen = logits[:, list(asked.answers)].double()
        return chosen[:, 0] - chosen[:, 1]


def combine(ngrams: Scores, attention: Scores, ngram_weight: float) -> Scores:
    """The weighted mean of both scores, each divided by its sum over the turns; one without any counts as 0."""
    return [
        [ngram_weight * one + (1 - ngram_weight) * other for one, other in zip(_shares(a), _shares(b), strict=True)]
        for a, b in zip(ngrams, attention, strict=True)
    ]


def turn_scores(
    dialogue: Dialogue,
    statements: Sequence[str],
    loaded: LoadedModel,
    method: Method = "attention",
    options: EvidenceOptions | None = None,
) -> Scores:
    """The score of each turn for each statement, higher for a turn that says more of it.

    For many dialogues use an EvidenceFinder. Raises as EvidenceFinder and its `scores` do.

    Example:
        >>> turn_scores(dialogue, ["Ben sends the iOS build today."], loaded, "left-out")
        [[0.1, 4.2, -0.3]]
    """
    return EvidenceFinder(TransformersEngine(loaded)).scores(dialogue, statements, method, options)


def _shares(scores: Sequence[float]) -> list[float]:
    whole = sum(scores)
    return [one / whole if whole > 0 else 0.0 for one in scores]


def _common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many numbers at the beginning of both are the same."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


def _rows(texts: Sequence[Sequence[int]], row_tokens: int) -> Iterator[slice]:
    """Runs of texts that are read in one row: of at most `row_tokens` tokens, or one text."""
    first = tokens = 0
    for place, text in enumerate(texts):
        if place > first and tokens + len(text) > row_tokens:
            yield slice(first, place)
            first, tokens = place, 0
        tokens += len(text)
    if texts:
        yield slice(first, len(texts))


@contextmanager
def _frozen(model: PreTrainedModel) -> Iterator[None]:
    """Inside, no weight takes a gradient, so that nothing is kept for it."""
    trained = [one for one in model.parameters() if one.requires_grad]
    for one in trained:
        one.requires_grad_(False)
    try:
        yield
    finally:
        for one in trained:
            one.requires_grad_(True)
