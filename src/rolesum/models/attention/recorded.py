"""Attention that also records how much of its weight each query gives to groups of keys, such as a dialogue's turns."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rolesum.models.attention.masks import override_attention

# The name of this attention in transformers.
IMPLEMENTATION = "rolesum_recorded"


@contextmanager
def recorded_attention(model: PreTrainedModel) -> Iterator[None]:
    """Inside, a forward takes `rolesum_groups` and `rolesum_weights`, the list that each attention layer appends to.

    `rolesum_groups` (keys, groups) holds 1 where a key belongs to a group, else 0. What a layer appends is float32
    (heads, queries, groups): the sum of the weights that a query gives to a group's keys. The batch is one row, and its
    mask is made inside.
    """
    with override_attention(model.config.get_text_config(), IMPLEMENTATION, _attention):
        yield


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    rolesum_groups: torch.Tensor | None = None,
    rolesum_weights: list[torch.Tensor] | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function as transformers calls it; its output is that of transformers' sdpa."""
    if rolesum_groups is not None and rolesum_weights is not None:
        assert attention_mask is not None  # a ready mask is given with the groups
        weights = _weights(query, key, attention_mask, scaling)
        rolesum_weights.append(weights @ rolesum_groups)
    out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    return out, None


def _weights(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor, scaling: float | None) -> torch.Tensor:
    """softmax(scale · q kᵀ + mask), float32 (heads, queries, keys).

    `query` is (1, heads, queries, head dim), `key` (1, KV heads, keys, head dim); `mask` is added to the scores.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    heads = key[0].repeat_interleave(query.shape[1] // key.shape[1], dim=0)
    scores = torch.matmul(query[0], heads.transpose(1, 2)) * scale + mask[0]
    return scores.float().softmax(-1)
