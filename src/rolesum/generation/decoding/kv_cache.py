"""Blocks of slots: the keys and values of dialogues that joined together, each kept once for all of its rows.

A slot's keys are its prefix, its branches and whatever its rows have added, in the order in which they came. Which of
them a row sees stands in its line of the mask. So roles share the prefix, samples share their branch, and a beam that
forks costs a copied line: no key is ever copied for it. Dialogues that join together are about as long as each other,
so that little of a block is empty, and others that join later leave it where it is.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rolesum.models.attention.masks import AttentionMask, make_attention_mask, override_attention

ATTENTION_NAME = "rolesum_blocks"
# Each mask of a step begins at a multiple of so many numbers: GPUs' attention reads it from an address of 16 bytes.
MASK_ALIGNMENT = 16
# A block has room for so many new tokens of each row at first, and grows by as many, or by a quarter.
GROWTH_TOKENS = 64


class KVBlock:
    """The slots of prompts that joined together, and the rows over them."""

    def __init__(self, held: Sequence[int], lanes: int, device: torch.device) -> None:
        """`held`: the keys that each slot has to begin with; `lanes`: the most rows that a slot may come to have."""
        slots, self.capacity = len(held), max(held) + GROWTH_TOKENS * lanes
        self.used = list(held)  # keys of each slot
        self.longest_prompt = max(held)  # of a slot, before its rows grew
        self.layers: list[list[torch.Tensor]] = []  # keys and values, (slots, heads, keys, width) each
        self.slot: list[int] = []  # of each row
        self.lane: list[int] = []
        self.position = torch.zeros(0, dtype=torch.long, device=device)  # of each row's next token
        self.visible = torch.zeros(slots, lanes, self.capacity, dtype=torch.bool, device=device)
        self.visible[:, :, 0] = True  # a line that no row has sees something too
        self.key_positions = torch.zeros(slots, self.capacity, dtype=torch.long, device=device)

    def max_size(self, max_new_tokens: int) -> int:
        """Cache positions that it may come to take."""
        lanes = int(self.visible.shape[1])
        return len(self.used) * (self.longest_prompt + lanes * max_new_tokens)

    def write(self, layer: int, states: Sequence[torch.Tensor], slots: torch.Tensor, places: torch.Tensor) -> None:
        """Put a layer's new keys and values, (new, heads, width) each, where they belong."""
        if layer == len(self.layers):
            sizes = [(len(self.used), one.shape[1], self.capacity, one.shape[2]) for one in states]
            self.layers.append([one.new_zeros(size) for one, size in zip(states, sizes, strict=True)])
        for stored, one in zip(self.layers[layer], states, strict=True):
            stored[slots, :, places] = one

    def grow(self) -> torch.Tensor:
        """Room for one more key of every row, which sees it; returns its place in the row's slot."""
        places = []
        for slot in self.slot:
            places.append(self.used[slot])
            self.used[slot] += 1
        if (seen := max(self.used)) > self.capacity:
            self._resize(range(len(self.used)), seen + max(GROWTH_TOKENS * self.lanes, seen // 4))
        slot, lane, place = (self._index(each) for each in (self.slot, self.lane, places))
        self.visible[slot, lane, place] = True
        self.key_positions[slot, place] = self.position
        return place

    @property
    def lanes(self) -> int:
        """The most rows that a slot has."""
        return max(self.lane) + 1

    def view(self, start: int, config: Any, dtype: torch.dtype) -> "tuple[KVView, AttentionMask]":
        """How the rows, the first of which is the batch's row `start`, see their keys, and the mask for it."""
        seen, lanes = max(self.used[slot] for slot in self.slot), self.lanes
        slot, lane = self._index(self.slot), self._index(self.lane)
        query_positions = torch.zeros(len(self.used), lanes, dtype=torch.long, device=self.position.device)
        query_positions[slot, lane] = self.position
        visible = self.visible[:, None, :lanes, :seen]
        mask = make_attention_mask(config, visible, query_positions, self.key_positions[:, :seen], dtype)
        heads = config.num_attention_heads
        groups = heads // (getattr(config, "num_key_value_heads", None) or heads)
        return KVView(self, start, slot, lane, lanes, seen), _spread(mask, groups, dtype)

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows."""
        slot = [self.slot[row] for row in rows]
        taken: dict[int, int] = {}
        lane = []
        for each in slot:
            lane.append(taken.get(each, 0))
            taken[each] = taken.get(each, 0) + 1
        if lane != [self.lane[row] for row in rows]:
            slots, old = self._index(slot), self._index([self.lane[row] for row in rows])
            lines = self.visible[slots, old]
            self.visible[slots, self._index(lane)] = lines
        self.slot, self.lane, self.position = slot, lane, self.position[self._index(rows)]
        living = sorted(set(slot))
        if len(living) <= len(self.used) // 2:
            self._resize(living, self.capacity)

    def _resize(self, kept: Sequence[int], keys: int) -> None:
        """Only the slots `kept`, with room for so many keys."""
        places, seen = self._index(kept), min(keys, self.capacity)

        def moved(old: torch.Tensor, dim: int) -> torch.Tensor:
            shape = [len(kept), *old.shape[1:]]
            shape[dim] = keys
            new = old.new_zeros(shape)
            new.narrow(dim, 0, seen).copy_(old.narrow(dim, 0, seen)[places])
            return new

        for layer in self.layers:
            layer[:] = [moved(states, 2) for states in layer]
        self.visible, self.key_positions = moved(self.visible, 2), moved(self.key_positions, 1)
        to = {old: new for new, old in enumerate(kept)}
        self.slot = [to[slot] for slot in self.slot]
        self.used = [self.used[slot] for slot in kept]
        self.capacity = keys

    def _index(self, numbers: Sequence[int]) -> torch.Tensor:
        return torch.tensor(list(numbers), dtype=torch.long, device=self.position.device)


@dataclass(frozen=True)
class KVView:
    """What a block's rows see in one step."""

    block: KVBlock
    start: int  # number in the batch of the block's first row
    slot: torch.Tensor  # of each row
    lane: torch.Tensor
    lanes: int
    num_keys: int

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + len(self.slot))

    def attend(self, query: torch.Tensor, layer: int, mask: torch.Tensor, scaling: float | None) -> torch.Tensor:
        """query (rows, heads, width), mask (slots, 1 or key heads, queries, keys); returns (rows, heads, width).

        The heads that share a key head, and the rows of a slot, stand beside each other as queries of one product: keys
        are read once for all of them.
        """
        key, value = (states[:, :, : self.num_keys] for states in self.block.layers[layer])
        slots, key_heads = key.shape[:2]
        heads, width = query.shape[1:]
        grid = query.new_zeros(slots, self.lanes, heads, width)
        grid[self.slot, self.lane] = query
        asked = grid.view(slots, self.lanes, key_heads, -1, width).transpose(1, 2).flatten(2, 3)
        mixed = scaled_dot_product_attention(asked, key, value, attn_mask=mask, scale=scaling)
        by_lane = mixed.view(slots, key_heads, self.lanes, -1, mixed.shape[-1]).transpose(1, 2).flatten(2, 3)
        return by_lane[self.slot, self.lane]


@dataclass(frozen=True)
class KVWrite:
    """Where a forward's new keys go: those of its tokens `tokens`, in order, to these slots and places of a block."""

    block: KVBlock
    tokens: slice | torch.Tensor
    slots: torch.Tensor
    places: torch.Tensor


class KVCache:
    """In the place of transformers' cache: each layer's new keys and values go to the blocks."""

    def __init__(self) -> None:
        self.writes: list[KVWrite] = []  # of the forward under way
        self.layer = 0  # the one that is computed
        self.num_cached = 0  # tokens of a prompt that were read before, which those under way see too

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Called by a layer with its new keys and values (rows, heads, new, width); gives them back as they are.

        Of a prompt that is read in pieces, all that it has so far.
        """
        by_token = [new.transpose(1, 2).flatten(0, 1) for new in (key, value)]  # (rows * new, heads, width)
        for one in self.writes:
            one.block.write(layer, [states[one.tokens] for states in by_token], one.slots, one.places)
        self.layer = layer
        if self.num_cached:
            block, seen = self.writes[0].block, self.num_cached + key.shape[2]
            key, value = (states[:, :, :seen] for states in block.layers[layer])
        return key, value

    def get_seq_length(self, *_: Any) -> int:
        return 0


def block_attention(config: Any) -> AbstractContextManager[None]:
    """Inside, a model's attention takes `rolesum_store` and `rolesum_views`: one token a row, over the blocks."""
    inside: AbstractContextManager[None] = override_attention(config, ATTENTION_NAME, _attention)
    return inside


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    rolesum_store: KVCache | None = None,
    rolesum_views: Sequence[tuple[KVView, torch.Size, int]] = (),
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """query (1, heads, rows, width); the mask is that of `joined`, and its shape and start stand beside each view."""
    if rolesum_store is None or attention_mask is None:
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return out, None
    asked = query[0].transpose(0, 1)
    parts = []
    for view, shape, start in rolesum_views:
        mask = attention_mask[0, 0, 0, start : start + shape.numel()].view(shape)
        parts.append(view.attend(asked[view.rows], rolesum_store.layer, mask, scaling))
    return torch.cat(parts)[None], None  # (1, rows, heads, width)


def concat_masks(
    pairs: Sequence[tuple[KVView, AttentionMask]],
) -> tuple[AttentionMask, list[tuple[KVView, torch.Size, int]]]:
    """The masks of several views as one tensor (1, 1, 1, all), as a model takes only one; their shapes and starts.

    A mask's start is a multiple of ALIGNED.
    """
    first = pairs[0][1]
    if isinstance(first, dict):  # one for each kind of layer, all of one shape
        by_kind = {kind: [mask[kind] for _, mask in pairs if isinstance(mask, dict)] for kind in first}
        masks = next(iter(by_kind.values()))
        together: AttentionMask = {kind: _in_a_row(each) for kind, each in by_kind.items()}
    else:
        masks = [mask for _, mask in pairs if isinstance(mask, torch.Tensor)]
        together = _in_a_row(masks)
    starts = accumulate([0, *(mask.numel() + _filling(mask) for mask in masks[:-1])])
    return together, [(view, mask.shape, start) for (view, _), mask, start in zip(pairs, masks, starts, strict=True)]


def _in_a_row(masks: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([pad(mask.flatten(), (0, _filling(mask))) for mask in masks])[None, None, None]


def _filling(mask: torch.Tensor) -> int:
    """How many numbers behind a mask let the next one begin at a multiple of ALIGNED."""
    return int(-mask.numel() % MASK_ALIGNMENT)


def _spread(mask: AttentionMask, groups: int, dtype: torch.dtype) -> AttentionMask:
    """A mask (slots, 1 or heads, lanes, keys) for queries that are lanes times `groups` heads, as numbers to add."""
    if isinstance(mask, dict):
        return {kind: _as_added(one, groups, dtype) for kind, one in mask.items()}
    return _as_added(mask, groups, dtype)


def _as_added(mask: torch.Tensor, groups: int, dtype: torch.dtype) -> torch.Tensor:
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, float("-inf"))
    if mask.shape[1] == 1:
        return mask.repeat_interleave(groups, dim=2) if groups > 1 else mask
    return mask.unflatten(1, (-1, groups)).transpose(2, 3).flatten(2, 3)
