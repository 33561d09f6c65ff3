"""The support of a statement that the model itself wrote: by its answer about it, and by how likely its tokens were.

Asked about its own text, a model says yes to most of its mistakes; but it was less sure of their tokens when it wrote
them. With p the support by the answer alone (verification.py), m the mean of the log-probabilities of the statement's
tokens, and u the number of those under UNLIKELY,

    support = sigmoid(constant + answer * logit(p) + mean_logprob * m + unlikely_tokens * u).

The weights are fitted to statements of the model's own summaries that readers labeled, and stand in the adapter's
metadata: see benchmarks/own_text_support.py. Where there are none, and for texts that the model did not write, the
support is that by the answer alone. Where the tokens of an own text are not known, it is by the answer alone too, moved
so that the threshold of answers lies at the threshold of own texts: what is doubtful stays so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from math import exp, isfinite, log
from statistics import fmean
from typing import Any

from rolesum.checks.statements import StatementSpan
from rolesum.dialogue import SummaryStatement
from rolesum.errors import ModelError
from rolesum.models.adapter_metadata import METADATA_FILE, AdapterMetadata

UNLIKELY = -1.0  # a log-probability: a share of 37 %
_SMALLEST = 1e-12  # of a probability and of its distance to 1: the logit is finite

TokenLogprobs = Sequence[tuple[str, float]]  # what each token adds to the text, and its log-probability


@dataclass(frozen=True, slots=True)
class OwnTextWeights:
    """The weights of the support of statements that the model wrote, see the module.

    Attributes:
        threshold: The support under which such a statement is doubtful.
    """

    constant: float
    answer: float
    mean_logprob: float
    unlikely_tokens: float
    threshold: float

    def support(self, by_answer: float, logprobs: Sequence[float]) -> float:
        """The support, 0 to 1, by that of the answer alone and the log-probabilities of the statement's tokens."""
        mean, unlikely = logprob_features(logprobs)
        odds = self.constant + self.answer * logit(by_answer)
        odds += self.mean_logprob * mean + self.unlikely_tokens * unlikely
        return _sigmoid(odds)

    def support_without_tokens(self, by_answer: float, answer_threshold: float) -> float:
        """The support of an own statement whose tokens are not known: at the threshold where the answer is at its."""
        return _sigmoid(logit(self.threshold) + self.answer * (logit(by_answer) - logit(answer_threshold)))


def _sigmoid(odds: float) -> float:
    return 1 / (1 + exp(-odds)) if odds > 0 else exp(odds) / (1 + exp(odds))


def logit(probability: float) -> float:
    """The log-odds of a probability; finite for 0 and 1 too."""
    kept = min(max(probability, _SMALLEST), 1 - _SMALLEST)
    return log(kept) - log(1 - kept)


def logprob_features(logprobs: Sequence[float]) -> tuple[float, int]:
    """The mean of the log-probabilities of a statement's tokens, and the number of those under UNLIKELY."""
    return fmean(logprobs), sum(one < UNLIKELY for one in logprobs)


def own_text_weights(metadata: AdapterMetadata) -> OwnTextWeights | None:
    """The weights in an adapter's metadata, None where it has none. Raises ModelError for what are no weights."""
    found = (metadata.get("verify") or {}).get("own_text")
    if found is None:
        return None
    names = [one.name for one in fields(OwnTextWeights)]
    numbers = isinstance(found, Mapping) and all(_is_number(found.get(name)) for name in names)
    if not numbers or not 0 <= found["threshold"] <= 1:
        what = f"verify.own_text: {', '.join(names)} are to be numbers, threshold one from 0 to 1; it is {found!r:.200}"
        raise ModelError(what, METADATA_FILE, "fit them again, or remove them")
    return OwnTextWeights(**{name: float(found[name]) for name in names})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def statement_logprobs(
    text: str, tokens: TokenLogprobs, spans: Sequence[StatementSpan | SummaryStatement]
) -> list[list[float]]:
    """The log-probabilities of each statement's tokens; none of any statement where the tokens are not the text's.

    A token counts for each statement that it shares a character with. Of a character in several tokens, all count.
    """
    if "".join(added for added, _ in tokens).strip() != text:
        return [[] for _ in spans]
    starts = list(accumulate((len(added) for added, _ in tokens), initial=0))
    ends = starts[1:]
    for place in range(len(tokens) - 2, -1, -1):
        if not tokens[place][0]:  # a part of the character that the next token completes
            ends[place] = ends[place + 1]
    return [
        [
            logprob
            for (_, logprob), start, end in zip(tokens, starts, ends, strict=False)
            if start < span.end and end > span.start
        ]
        for span in spans
    ]
