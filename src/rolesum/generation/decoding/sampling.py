"""One token for each row: the likeliest, or one drawn by temperature, top-k and top-p."""

import hashlib
from collections.abc import Sequence
from random import Random

import torch

from rolesum.generation.engine import Decoding

# Words among which top-p is sought before all are sorted.
NUCLEUS_CANDIDATES = 1024


def random_stream(seed: int, identity: str, branch: int) -> Random:
    """The random numbers of one text: of its own dialogue and branch, whatever else is in the batch."""
    digest = hashlib.sha256(f"{seed}\0{identity}\0{branch}".encode("utf-8", "surrogatepass")).digest()
    return Random(digest)


def sample(scores: torch.Tensor, decoding: Decoding, streams: Sequence[Random]) -> torch.Tensor:
    """A token for each row of logits (rows, words), by the inverse of the distribution function at a random number."""
    words = None
    if decoding.top_k:
        scores, words = _likeliest(scores, decoding.top_k)
    scaled = scores / decoding.temperature
    if decoding.top_p < 1:
        scaled = _nucleus(scaled, decoding.top_p)
    heap = torch.softmax(scaled.double(), dim=-1).cumsum(-1)  # float32 loses the rare words of a long sum
    at = torch.tensor([[one.random()] for one in streams], dtype=heap.dtype, device=heap.device)
    chosen = torch.searchsorted(heap, at * heap[:, -1:], right=True).clamp(max=scores.shape[-1] - 1)
    return (chosen if words is None else words.gather(-1, chosen))[:, 0]


def _likeliest(scores: torch.Tensor, top_k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `top_k` highest logits of each row, and what is as high as the last; with their words, in their order.

    All that follows is then done on some dozens of words a row, and not on a quarter of a million.
    """
    least = scores.topk(min(top_k, scores.shape[-1]), dim=-1).values[:, -1:]
    best = scores.topk(int((scores >= least).sum(-1).max()), dim=-1)
    words, order = best.indices.sort(dim=-1)
    kept = best.values.gather(-1, order)
    return kept.masked_fill(kept < least, float("-inf")), words


def _nucleus(scaled: torch.Tensor, top_p: float) -> torch.Tensor:
    """Only the likeliest words that together reach `top_p` (arXiv 1904.09751), the one that crosses it among them."""
    total = scaled.logsumexp(-1, keepdim=True)
    some = min(NUCLEUS_CANDIDATES, scaled.shape[-1])
    best = scaled.topk(some, dim=-1).values
    if some < scaled.shape[-1] and bool(((best - total).exp().sum(-1) < top_p).any()):
        best = scaled.sort(dim=-1, descending=True).values
    heap = (best - total).exp().cumsum(-1)
    kept = (heap - (best - total).exp() < top_p).sum(-1, keepdim=True).clamp(min=1)
    return scaled.masked_fill(scaled < best.gather(-1, kept - 1), float("-inf"))
