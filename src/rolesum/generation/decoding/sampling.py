"""Sampling of the next token by temperature, top-k and top-p."""

from collections.abc import Sequence
from random import Random

import torch

from rolesum.generation.engine import Decoding

# The tokens among which the top-p nucleus is looked for before the whole vocabulary is sorted.
NUCLEUS_CANDIDATES = 1024


def sample(logits: torch.Tensor, decoding: Decoding, generators: Sequence[Random]) -> torch.Tensor:
    """Sample a token for each row by inverting the cumulative distribution at a random number.

    `logits` (rows, vocabulary), one random generator for each row; returns token ids (rows,).
    """
    tokens = None
    if decoding.top_k:
        logits, tokens = _top_k(logits, decoding.top_k)
    scaled = logits / decoding.temperature
    if decoding.top_p < 1:
        scaled = _top_p(scaled, decoding.top_p)
    # In float64: float32 loses the rare tokens of a long sum.
    cumulative = torch.softmax(scaled.double(), dim=-1).cumsum(-1)  # (rows, candidates)
    drawn = torch.tensor([[one.random()] for one in generators], dtype=cumulative.dtype, device=cumulative.device)
    chosen = torch.searchsorted(cumulative, drawn * cumulative[:, -1:], right=True).clamp(max=logits.shape[-1] - 1)
    return (chosen if tokens is None else tokens.gather(-1, chosen))[:, 0]


def _top_k(logits: torch.Tensor, top_k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `top_k` highest logits of each row and their tokens, in the vocabulary's order (rows, candidates) each.

    Ties with the lowest of them are kept. What follows then works on some dozens of tokens a row, not on a quarter of
    a million.
    """
    lowest = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[:, -1:]
    best = logits.topk(int((logits >= lowest).sum(-1).max()), dim=-1)
    tokens, order = best.indices.sort(dim=-1)
    kept = best.values.gather(-1, order)
    return kept.masked_fill(kept < lowest, float("-inf")), tokens


def _top_p(scaled: torch.Tensor, top_p: float) -> torch.Tensor:
    """The likeliest tokens that together reach `top_p`, with the one that crosses it (arXiv 1904.09751); -inf else."""
    total = scaled.logsumexp(-1, keepdim=True)
    candidates = min(NUCLEUS_CANDIDATES, scaled.shape[-1])
    best = scaled.topk(candidates, dim=-1).values
    if candidates < scaled.shape[-1] and bool(((best - total).exp().sum(-1) < top_p).any()):
        best = scaled.sort(dim=-1, descending=True).values
    cumulative = (best - total).exp().cumsum(-1)
    kept = (cumulative - (best - total).exp() < top_p).sum(-1, keepdim=True).clamp(min=1)
    return scaled.masked_fill(scaled < best.gather(-1, kept - 1), float("-inf"))
