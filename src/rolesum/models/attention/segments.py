"""Attention on a CPU by segments: each segment of a packed row is multiplied with the keys it attends to and no others.

A batch of bundles is one row without padding. Its mask is not a boolean square but a table of segments, one per line: a
prefix, or a branch with the prefix that it continues. Queries are taken in blocks, so that a block's scores stay in the
CPU's cache and later keys are never multiplied; the backward computes the scores again instead of keeping them, so that
memory grows with the length and not with its square (FlashAttention, arXiv 2205.14135).

The table is passed in place of a ready 4D mask, so that every layer gets it without a change of the model.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rolesum.models.attention.masks import FULL, SLIDING, override_attention, supports_custom_masks

# The name of this attention in transformers.
IMPLEMENTATION = "rolesum_segments"
# Queries of one block: 128 keep the scores of a head group in a core's second-level cache.
BLOCK_SIZE = 128

# dtype of a segment table; it distinguishes a table from a float or a bool mask.
TABLE_DTYPE = torch.int64


def segment_table(branches: torch.Tensor) -> torch.Tensor:
    """The segments of `branches` (batch, length) after padding (-1) is removed and the rows are joined into one.

    The result is int64 (1, 1, segments, 4): start and end of the segment, start and end of the prefix that it continues
    (an empty range where it is a prefix itself). Branch 0 is a row's prefix, as in bundle_visibility. A row with one
    branch is one segment: a plain left-to-right text.
    """
    table: list[tuple[int, int, int, int]] = []
    end = 0
    for row in branches.tolist():
        lengths = Counter(branch for branch in row if branch >= 0)
        prefix = (end, end + lengths.pop(0, 0))
        if len(lengths) <= 1:
            lengths, prefix = Counter(), (end, prefix[1] + lengths.total())
        end = prefix[1]
        table.append((*prefix, prefix[0], prefix[0]))
        for length in lengths.values():
            table.append((end, end + length, *prefix))
            end += length
    return torch.tensor(table, dtype=TABLE_DTYPE)[None, None]


def segment_mask(config: Any, table: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
    """The table in the form of the model's mask: one for all layers, or one for each type of layer."""
    kinds = set(getattr(config, "layer_types", None) or ())
    return {FULL: table, SLIDING: table} if kinds == {FULL, SLIDING} else table


def supports_segment_attention(config: Any, device: torch.device) -> bool:
    """Whether segment attention can replace the model's own: on a CPU, for plain sdpa without dropout or ALiBi."""
    return (
        device.type == "cpu"
        and config._attn_implementation == "sdpa"
        and not getattr(config, "attention_dropout", 0.0)
        and not getattr(config, "alibi", False)
        and supports_custom_masks(config)
    )


@contextmanager
def segment_attention(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the model's attention accepts segment tables; with any other mask it is transformers' sdpa."""
    with override_attention(model.config.get_text_config(), IMPLEMENTATION, _attention):
        yield


def uses_segment_attention(model: PreTrainedModel) -> bool:
    """Whether the model is inside `segment_attention` now."""
    return bool(model.config.get_text_config()._attn_implementation == IMPLEMENTATION)


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function as transformers calls it.

    `query` is (1, heads, queries, head dim), `key` and `value` are (1, KV heads, keys, head dim); fewer queries than
    keys are those of the last tokens. Returns (1, queries, heads, head dim).
    """
    if attention_mask is None or attention_mask.dtype != TABLE_DTYPE:
        kwargs |= {"scaling": scaling, "sliding_window": sliding_window}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    first = key.shape[2] - query.shape[2]
    plan = _blocks(tuple(map(tuple, attention_mask[0, 0].tolist())), sliding_window, value.dtype, first)
    with torch.autocast("cpu", enabled=False):
        out: torch.Tensor = SegmentAttention.apply(  # type: ignore[no-untyped-call]  # torch does not annotate it
            query.to(value.dtype), key.to(value.dtype), value, plan, scale
        )
    return out, None


class QueryBlock(NamedTuple):
    """A block of queries of one segment, the spans of keys that they attend to, and a mask for the last of these keys.

    `start` and `end` are indices of queries, `spans` ranges of keys. `bias` is (queries, 1, last keys), to be added to
    the scores: -inf where a query must not attend to a key, else 0.
    """

    start: int
    end: int
    spans: tuple[tuple[int, int], ...]
    bias: torch.Tensor

    def keys(self, states: torch.Tensor) -> torch.Tensor:
        """The block's keys or values (KV heads, block keys, head dim), out of all (KV heads, keys, head dim)."""
        parts = [states[:, start:end] for start, end in self.spans]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class SegmentAttention(torch.autograd.Function):
    """softmax(scale · q kᵀ + bias) v, by blocks of queries. Heads that share a KV head are one matrix product.

    Shapes are those of `_attention`; grouped queries are (KV heads, queries, groups, head dim) with groups = heads per
    KV head. The backward returns the gradients of query, key and value.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        blocks: tuple[QueryBlock, ...],
        scale: float,
    ) -> torch.Tensor:
        q, k, v = _grouped(query, key.shape[1], scale), key[0], value[0]
        heads, length, groups, _ = q.shape
        out = q.new_empty(length, heads, groups, v.shape[-1])
        for block in blocks:
            weights = _weights(q, block.keys(k), block)
            mixed = torch.unflatten(torch.bmm(weights, block.keys(v)), 1, (-1, groups))
            out[block.start : block.end] = mixed.transpose(0, 1)
        ctx.save_for_backward(q, k, v, out)
        ctx.blocks, ctx.scale = blocks, scale
        return out.flatten(1, 2)[None]  # (1, queries, heads, head dim)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, out = ctx.saved_tensors
        heads, _, groups, _ = q.shape
        # Sum over the keys of p dp, FlashAttention's D: (KV heads, queries, groups, 1).
        delta = (grads[0].view_as(out) * out).sum(-1, keepdim=True).transpose(0, 1)
        grad = _grouped(grads[0].transpose(1, 2), heads)
        q_grad = torch.empty_like(q)
        k_grad, v_grad = (torch.zeros(states.shape, dtype=torch.float32) for states in (k, v))
        for block in ctx.blocks:
            mine = slice(block.start, block.end)
            k_seen, v_seen = block.keys(k), block.keys(v)
            weights = _weights(q, k_seen, block)  # (KV heads, queries * groups, keys)
            one = grad[:, mine].flatten(1, 2)
            scores_grad = torch.bmm(one, v_seen.transpose(1, 2)).sub_(delta[:, mine].flatten(1, 2)).mul_(weights)
            q_grad[:, mine] = torch.unflatten(torch.bmm(scores_grad, k_seen), 1, (-1, groups))
            k_part = torch.bmm(scores_grad.transpose(1, 2), q[:, mine].flatten(1, 2))
            v_part = torch.bmm(weights.transpose(1, 2), one)
            at = 0
            for start, end in block.spans:
                k_grad[:, start:end] += k_part[:, at : at + end - start]
                v_grad[:, start:end] += v_part[:, at : at + end - start]
                at += end - start
        q_grad = q_grad.mul_(ctx.scale).transpose(1, 2).flatten(0, 1)[None]
        return q_grad, k_grad[None].to(k.dtype), v_grad[None].to(v.dtype), None, None


def _grouped(states: torch.Tensor, key_heads: int, scale: float = 1.0) -> torch.Tensor:
    """`scale` times (1, heads, length, head dim), contiguous as (KV heads, length, groups, head dim)."""
    grouped = torch.unflatten(states[0], 0, (key_heads, -1)).transpose(1, 2)
    return torch.mul(grouped, scale, out=states.new_empty(grouped.shape))


def _weights(q: torch.Tensor, keys: torch.Tensor, block: QueryBlock) -> torch.Tensor:
    """The block's attention weights, (KV heads, queries * groups, keys)."""
    scores = torch.bmm(q[:, block.start : block.end].flatten(1, 2), keys.transpose(1, 2))
    last = block.bias.shape[-1]
    torch.unflatten(scores, 1, (-1, q.shape[2]))[..., -last:].add_(block.bias)  # three times as fast as masked_fill_
    return torch.softmax(scores, dim=-1)


@lru_cache(maxsize=4)
def _blocks(
    table: tuple[tuple[int, ...], ...], window: int | None, dtype: torch.dtype = torch.float32, first: int = 0
) -> tuple[QueryBlock, ...]:
    """The query blocks of all segments; the first query is the row's token `first`.

    They are the same for every layer of a step and for its backward.
    """
    blocks = (
        _block(line, start, min(start + BLOCK_SIZE, line[1]), window, dtype)
        for line in table
        for start in range(max(line[0], first), line[1], BLOCK_SIZE)
    )
    return tuple(block._replace(start=block.start - first, end=block.end - first) for block in blocks)


def _block(line: tuple[int, ...], start: int, end: int, window: int | None, dtype: torch.dtype) -> QueryBlock:
    own, _, prefix_start, prefix_end = line
    shared = prefix_end - prefix_start
    first = shared + start - own  # the first query's position; a key's position is its place among the keys
    lost = max(0, first - window + 1) if window else 0  # keys that the window hides from the whole block
    spans = ((prefix_start + min(lost, shared), prefix_end), (own + max(0, lost - shared), end))
    keys = shared + end - own - lost
    seen = tuple(span for span in spans if span[0] < span[1])
    if not window or first + end - start <= window:
        return QueryBlock(start, end, seen, _causal_bias(end - start, dtype))
    back = torch.arange(first, first + end - start)[:, None] - torch.arange(lost, lost + keys)
    return QueryBlock(start, end, seen, _to_bias((back < 0) | (back >= window), dtype))


@lru_cache(maxsize=BLOCK_SIZE)
def _causal_bias(length: int, dtype: torch.dtype) -> torch.Tensor:
    """The causal bias within a block, (length, 1, length)."""
    return _to_bias(torch.ones(length, length, dtype=torch.bool).triu(1), dtype)


def _to_bias(hidden: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The additive bias (queries, 1, keys) of a bool mask (queries, keys): -inf where it is True, else 0."""
    return torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, float("-inf"))[:, None]
