"""4D attention masks for packed branches and for KV caches with padding inside.

transformers uses a ready 4D mask as it is. rolesum makes one wherever a row is more than one left-to-right text: in
training, where branches share a prefix, and in generation, where a row's KV cache has padding in its middle.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

FULL, SLIDING = "full_attention", "sliding_attention"

# One mask (batch, 1 or heads, queries, keys) for all layers, or one for each type of layer.
AttentionMask = torch.Tensor | dict[str, torch.Tensor]


@contextmanager
def override_attention(config: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Inside, the model of this config computes attention with `function`, registered in transformers as `name`."""
    AttentionInterface.register(name, function)
    AttentionMaskInterface.register(name, sdpa_mask)
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


def supports_custom_masks(config: Any) -> bool:
    """Whether make_attention_mask can make the masks of all of the model's layer types."""
    return set(getattr(config, "layer_types", None) or (FULL,)) <= {FULL, SLIDING}


def bundle_visibility(branches: torch.Tensor) -> torch.Tensor:
    """Which keys each query of a packed row attends to: bool (batch, 1, length, length), queries before keys.

    `branches` (batch, length) holds 0 for the prefix, 1, 2, … for the branches in order, and -1 for padding on the
    right. A branch attends to the prefix and to itself, up to the query.
    """
    length = branches.shape[1]
    query, key = branches[:, :, None], branches[:, None, :]
    earlier = torch.ones(length, length, dtype=torch.bool, device=branches.device).tril()
    return (((key == 0) | (key == query)) & earlier)[:, None]


def make_attention_mask(
    config: Any, visible: torch.Tensor, query_positions: torch.Tensor, key_positions: torch.Tensor, dtype: torch.dtype
) -> AttentionMask:
    """The mask in the form that the model takes, from `visible`, bool (batch, 1, queries, keys).

    Sliding-window layers attend only to keys fewer than `sliding_window` positions back; positions are integers
    (batch, queries) and (batch, keys). The result is bool for sdpa and an additive float mask of `dtype` for other
    implementations, (batch, 1, queries, keys). A model with ALiBi gets its bias in it: (batch, heads, queries, keys).
    """
    if getattr(config, "alibi", False):  # of baichuan.BaichuanConfig
        bias = alibi_bias(config.num_attention_heads, query_positions, key_positions).to(dtype)
        fill = bias.masked_fill_ if len(bias) == len(visible) else bias.masked_fill  # in place: it may be gigabytes
        return fill(~visible, torch.finfo(dtype).min)
    kinds = set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None)
    if window is None or kinds == {FULL}:
        return _for_implementation(config, visible, dtype)
    near = (query_positions[:, None, :, None] - key_positions[:, None, None, :]) < window
    sliding = _for_implementation(config, visible & near, dtype)
    if kinds == {FULL, SLIDING}:
        return {FULL: _for_implementation(config, visible, dtype), SLIDING: sliding}
    return sliding


def alibi_slopes(heads: int) -> list[float]:
    """ALiBi's slope of each head (arXiv 2108.12409): 2^(-8 k / n) for n heads, a power of two.

    Other numbers of heads take the slopes of the power below, then every second one of the power above.
    """
    below = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * k / below) for k in range(1, below + 1)]
    return slopes + [2 ** (-4 * k / below) for k in range(1, 2 * (heads - below), 2)]


def alibi_bias(heads: int, query_positions: torch.Tensor, key_positions: torch.Tensor) -> torch.Tensor:
    """slope (j - i) for query i and key j, float32 (batch, heads, queries, keys)."""
    slopes = torch.tensor(alibi_slopes(heads), device=key_positions.device)
    distance = key_positions[:, None, :] - query_positions[:, :, None]
    return slopes[:, None, None] * distance[:, None]


def _for_implementation(config: Any, visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if config._attn_implementation == "sdpa":
        return visible
    return torch.zeros_like(visible, dtype=dtype).masked_fill(~visible, torch.finfo(dtype).min)
