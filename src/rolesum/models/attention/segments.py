"""Attention on a processor as plain products: each segment of a packed row with the keys that it sees, and no others.

A batch of bundles is one row without padding. Its mask is not a square of yes and no but a table of segments, a line
each: a prefix, or a branch with the prefix that it goes on from. Queries are taken in blocks, so that a block's scores
stay in the processor's cache and keys behind the block are never multiplied; the backward computes the scores again
rather than keep them, so that memory grows with the length and not with its square (FlashAttention, arXiv 2205.14135).

The table travels where transformers expects a ready 4D mask, so that every layer gets it without a change of the model.
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

IMPLEMENTATION = "rolesum_segments"
# Queries of one block: 128 keep the scores of a head group in a core's second-level cache.
BLOCK_SIZE = 128

# dtype of a table: by it, a table is told from a mask of scores or of booleans.
TABLE_DTYPE = torch.int64


def segment_table(branches: torch.Tensor) -> torch.Tensor:
    """The segments of `branches` (rows, length) once padding (-1) is taken out and the rows are joined into one.

    (1, 1, segments, 4): start and end of the segment, start and end of the prefix that it goes on from (the same
    number twice where it is a prefix itself). Branch 0 is a row's prefix, as in bundle_visibility. A row of one branch
    is one segment: a text that is read from left to right.
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
    """The table as the model takes its mask: one for all layers, or one for each kind of layer."""
    kinds = set(getattr(config, "layer_types", None) or ())
    return {FULL: table, SLIDING: table} if kinds == {FULL, SLIDING} else table


def supports_segment_attention(config: Any, device: torch.device) -> bool:
    """Whether a model's attention can be computed so: on a processor, where it would be plain sdpa without dropout."""
    return (
        device.type == "cpu"
        and config._attn_implementation == "sdpa"
        and not getattr(config, "attention_dropout", 0.0)
        and not getattr(config, "alibi", False)
        and supports_custom_masks(config)
    )


@contextmanager
def segment_attention(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the model's attention takes tables of segments; with any other mask it is the library's sdpa."""
    with override_attention(model.config.get_text_config(), IMPLEMENTATION, _attention):
        yield


def uses_segment_attention(model: PreTrainedModel) -> bool:
    """Whether this is inside `segment_attention`."""
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
    """As transformers calls it: query (1, heads, length, width), key and value (1, key heads, length, width).

    Fewer queries than keys are those of the last tokens.
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
    """Queries start…end of a segment, the spans of keys that they see, and what hides the last of these from some.

    Queries are counted among the queries, keys among the keys.
    """

    start: int
    end: int
    spans: tuple[tuple[int, int], ...]
    bias: torch.Tensor  # (queries, 1, last keys), -inf where a query must not see a key, else 0: to be added

    def keys(self, states: torch.Tensor) -> torch.Tensor:
        """(heads, keys, width) of the block's keys or values, from those of the whole row."""
        parts = [states[:, start:end] for start, end in self.spans]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class SegmentAttention(torch.autograd.Function):
    """softmax(s q k') v by blocks of queries. Heads that share a key head stand beside each other in one product."""

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
        return out.flatten(1, 2)[None]  # (1, length, heads, width)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, out = ctx.saved_tensors
        heads, _, groups, _ = q.shape
        # Each query's gradient times its output: the sum over the keys of p dp, (key heads, length, groups, 1).
        through = (grads[0].view_as(out) * out).sum(-1, keepdim=True).transpose(0, 1)
        grad = _grouped(grads[0].transpose(1, 2), heads)
        q_grad = torch.empty_like(q)
        k_grad, v_grad = (torch.zeros(states.shape, dtype=torch.float32) for states in (k, v))
        for block in ctx.blocks:
            mine = slice(block.start, block.end)
            k_seen, v_seen = block.keys(k), block.keys(v)
            weights = _weights(q, k_seen, block)  # (key heads, queries * groups, keys)
            one = grad[:, mine].flatten(1, 2)
            scores_grad = torch.bmm(one, v_seen.transpose(1, 2)).sub_(through[:, mine].flatten(1, 2)).mul_(weights)
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
    """`scale` times (1, heads, length, width), as (key heads, length, groups, width) in this order in memory."""
    grouped = torch.unflatten(states[0], 0, (key_heads, -1)).transpose(1, 2)
    return torch.mul(grouped, scale, out=states.new_empty(grouped.shape))


def _weights(q: torch.Tensor, keys: torch.Tensor, block: QueryBlock) -> torch.Tensor:
    """The block's attention weights, (key heads, queries * groups, keys)."""
    scores = torch.bmm(q[:, block.start : block.end].flatten(1, 2), keys.transpose(1, 2))
    last = block.bias.shape[-1]
    torch.unflatten(scores, 1, (-1, q.shape[2]))[..., -last:].add_(block.bias)  # three times as fast as masked_fill_
    return torch.softmax(scores, dim=-1)


@lru_cache(maxsize=4)
def _blocks(
    table: tuple[tuple[int, ...], ...], window: int | None, dtype: torch.dtype = torch.float32, first: int = 0
) -> tuple[QueryBlock, ...]:
    """The blocks of all segments, whose queries begin with the row's token `first`.

    They are the same for every layer of a step, and for its backward.
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
        return QueryBlock(start, end, seen, _later(end - start, dtype))
    back = torch.arange(first, first + end - start)[:, None] - torch.arange(lost, lost + keys)
    return QueryBlock(start, end, seen, _hiding((back < 0) | (back >= window), dtype))


@lru_cache(maxsize=BLOCK_SIZE)
def _later(length: int, dtype: torch.dtype) -> torch.Tensor:
    """What hides the keys that come after a query of the same block."""
    return _hiding(torch.ones(length, length, dtype=torch.bool).triu(1), dtype)


def _hiding(hidden: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """-inf where (queries, keys) is True, as Block wants it."""
    return torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, float("-inf"))[:, None]
