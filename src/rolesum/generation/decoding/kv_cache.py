"""The key-value cache of the shared-prefix decoder: blocks of slots, in which each prompt's keys are kept once.

Prompts that are prefilled together form a block, each of them in a slot. A slot holds the keys and values of its
prefix, its branches and the tokens that its rows have generated, in the order in which they came; a visibility mask
says which of them each row sees. So the roles of a dialogue share the prefix, samples share their branch, and a beam
that forks costs a copied row of the mask: no key is ever copied for it. Prompts of one block have about the same
length, so that little of it is empty, and blocks that are added later leave it where it is. A slot whose rows have left
stays while its prefix is held.

Shapes: a block's keys and values are (slots, key heads, capacity, head size) per layer; its mask is (slots, lanes,
capacity), where a lane is the place of a row within its slot.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch.nn.functional import pad, scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from transformers import PretrainedConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rolesum.models.attention.masks import AttentionMask, make_attention_mask, override_attention

ATTENTION_NAME = "rolesum_blocks"
# Each mask of a step begins at a multiple of so many numbers: GPU kernels read it from an address of 16 bytes.
MASK_ALIGNMENT = 16
# A block has room for so many new tokens of each row at first, and grows by as many, or by a quarter.
GROWTH_TOKENS = 64


class KVBlock:
    """The slots of prompts that were prefilled together, and the rows that use them."""

    def __init__(self, lengths: Sequence[int], lanes: int, device: torch.device) -> None:
        """`lengths`: the tokens of each slot's prompt; `lanes`: the maximum number of rows of a slot."""
        slots, self.capacity = len(lengths), max(lengths) + GROWTH_TOKENS * lanes
        self.used = list(lengths)  # keys of each slot
        self.longest_prompt = max(lengths)
        self.layers: list[list[torch.Tensor]] = []  # keys and values, (slots, key heads, capacity, head size) each
        self.slot: list[int] = []  # of each row
        self.lane: list[int] = []  # of each row
        self.held: list[HeldPrefix] = []
        self.position = torch.zeros(0, dtype=torch.long, device=device)  # (rows,), of the next token
        self.visible = torch.zeros(slots, lanes, self.capacity, dtype=torch.bool, device=device)
        self.visible[:, :, 0] = True  # unused lanes see one key, since a softmax over none is NaN
        self.key_positions = torch.zeros(slots, self.capacity, dtype=torch.long, device=device)

    def max_size(self, max_new_tokens: int) -> int:
        """The maximum of cache positions that the block will take."""
        lanes = int(self.visible.shape[1])
        return len(self.used) * (self.longest_prompt + lanes * max_new_tokens)

    def write(self, layer: int, states: Sequence[torch.Tensor], slots: torch.Tensor, places: torch.Tensor) -> None:
        """Store a layer's new keys and values (new, key heads, head size) at their slots and places (new,)."""
        if layer == len(self.layers):
            sizes = [(len(self.used), one.shape[1], self.capacity, one.shape[2]) for one in states]
            self.layers.append([one.new_zeros(size) for one, size in zip(states, sizes, strict=True)])
        for stored, one in zip(self.layers[layer], states, strict=True):
            stored[slots, :, places] = one

    def restore(self, layers: Sequence[Sequence[torch.Tensor]]) -> None:
        """Write the first keys and values (key heads, tokens, head size) of each layer into the first slot."""
        for states in layers:
            sizes = [(len(self.used), one.shape[0], self.capacity, one.shape[2]) for one in states]
            self.layers.append([one.new_zeros(size) for one, size in zip(states, sizes, strict=True)])
            for stored, one in zip(self.layers[-1], states, strict=True):
                stored[0, :, : one.shape[1]] = one

    def grow(self) -> torch.Tensor:
        """Reserve a place for one more key of every row, visible to that row; returns the places (rows,)."""
        places = []
        for number in self.slot:
            places.append(self.used[number])
            self.used[number] += 1
        if (needed := max(self.used)) > self.capacity:
            self._resize(range(len(self.used)), needed + max(GROWTH_TOKENS * self.lanes, needed // 4))
        slot, lane, place = (self._index(each) for each in (self.slot, self.lane, places))
        self.visible[slot, lane, place] = True
        self.key_positions[slot, place] = self.position
        return place

    def hold(self, row: int, tokens: int) -> "HeldPrefix":
        """Keep a row's slot for its first `tokens` keys, also when all its rows have left."""
        self.held.append(HeldPrefix(self, self.slot[row], tokens))
        return self.held[-1]

    @property
    def lanes(self) -> int:
        """The number of rows of the slot that has the most."""
        return max(self.lane) + 1

    def view(self, start: int, config: PretrainedConfig, dtype: torch.dtype) -> "tuple[KVView, AttentionMask]":
        """A view for one step, whose first row is row `start` of the batch, and its mask to add to the scores.

        The mask is (slots, 1 or key heads, queries, keys); see KVView.attend.
        """
        num_keys, lanes = max(self.used[slot] for slot in self.slot), self.lanes
        slot, lane = self._index(self.slot), self._index(self.lane)
        query_positions = torch.zeros(len(self.used), lanes, dtype=torch.long, device=self.position.device)
        query_positions[slot, lane] = self.position
        visible = self.visible[:, None, :lanes, :num_keys]
        mask = make_attention_mask(config, visible, query_positions, self.key_positions[:, :num_keys], dtype)
        heads = int(config.num_attention_heads)
        groups = heads // (getattr(config, "num_key_value_heads", None) or heads)
        return KVView(self, start, slot, lane, lanes, num_keys), _expand_mask(mask, groups, dtype)

    def reorder(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order; a row that occurs several times is forked."""
        slot = [self.slot[row] for row in rows]
        lanes_of: dict[int, int] = {}
        lane = []
        for each in slot:
            lane.append(lanes_of.get(each, 0))
            lanes_of[each] = lanes_of.get(each, 0) + 1
        if lane != [self.lane[row] for row in rows]:
            slots, old = self._index(slot), self._index([self.lane[row] for row in rows])
            self.visible[slots, self._index(lane)] = self.visible[slots, old]
        self.slot, self.lane, self.position = slot, lane, self.position[self._index(rows)]
        kept = sorted({*slot, *(one.slot for one in self.held)})
        if len(kept) <= len(self.used) // 2:
            self._resize(kept, self.capacity)

    def _resize(self, kept: Sequence[int], capacity: int) -> None:
        """Keep only these slots, with room for `capacity` keys each."""
        slots, copied = self._index(kept), min(capacity, self.capacity)

        def moved(old: torch.Tensor, dim: int) -> torch.Tensor:
            shape = [len(kept), *old.shape[1:]]
            shape[dim] = capacity
            new = old.new_zeros(shape)
            new.narrow(dim, 0, copied).copy_(old.narrow(dim, 0, copied)[slots])
            return new

        for layer in self.layers:
            layer[:] = [moved(states, 2) for states in layer]
        self.visible, self.key_positions = moved(self.visible, 2), moved(self.key_positions, 1)
        new_slot = {old: new for new, old in enumerate(kept)}
        self.slot = [new_slot[slot] for slot in self.slot]
        for one in self.held:
            one.slot = new_slot[one.slot]
        self.used = [self.used[slot] for slot in kept]
        self.capacity = capacity

    def _index(self, numbers: Sequence[int]) -> torch.Tensor:
        return torch.tensor(list(numbers), dtype=torch.long, device=self.position.device)


@dataclass(eq=False)
class HeldPrefix:
    """The first keys and values of a slot, as many as `tokens`, for branches that come when its rows have left."""

    block: KVBlock
    slot: int
    tokens: int

    def states(self, layer: int) -> tuple[torch.Tensor, ...]:
        """The keys and the values of a layer, (key heads, tokens, head size) each."""
        return tuple(stored[self.slot, :, : self.tokens] for stored in self.block.layers[layer])


@dataclass(frozen=True)
class KVView:
    """The keys and values of a block as its rows attend to them in one step."""

    block: KVBlock
    start: int  # number in the batch of the block's first row
    slot: torch.Tensor  # (rows,)
    lane: torch.Tensor  # (rows,)
    lanes: int
    num_keys: int  # of the fullest slot

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + len(self.slot))

    def attend(self, query: torch.Tensor, layer: int, mask: torch.Tensor, scaling: float | None) -> torch.Tensor:
        """Attention of every row's newest token over its slot.

        `query` (rows, heads, head size), `mask` (slots, 1 or key heads, lanes * heads per key head, keys); returns
        (rows, heads, head size). The rows of a slot, and the heads that share a key head, are queries of one product,
        so that the keys are read once for all of them.
        """
        key, value = (states[:, :, : self.num_keys] for states in self.block.layers[layer])
        slots, key_heads = key.shape[:2]
        heads, size = query.shape[1:]
        grid = query.new_zeros(slots, self.lanes, heads, size)
        grid[self.slot, self.lane] = query
        # (slots, key heads, lanes * heads per key head, head size)
        queries = grid.view(slots, self.lanes, key_heads, -1, size).transpose(1, 2).flatten(2, 3)
        mixed = scaled_dot_product_attention(queries, key, value, attn_mask=mask, scale=scaling)
        by_lane = mixed.view(slots, key_heads, self.lanes, -1, mixed.shape[-1]).transpose(1, 2).flatten(2, 3)
        return by_lane[self.slot, self.lane]


@dataclass(frozen=True)
class KVWrite:
    """Where the new keys of a forward pass go: those of `tokens`, in order, to these slots and places of a block."""

    block: KVBlock
    tokens: slice | torch.Tensor
    slots: torch.Tensor  # (tokens,)
    places: torch.Tensor  # (tokens,)


class KVCache:
    """Takes the place of transformers' Cache: stores each layer's new keys and values in the blocks."""

    def __init__(self) -> None:
        self.writes: list[KVWrite] = []  # of the current forward pass
        self.layer = 0  # the layer that is computed
        self.num_cached = 0  # tokens of a prompt's earlier chunks, which the current chunk attends to as well
        self.held: Sequence[HeldPrefix] = ()  # prefixes which the current tokens attend to as well

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer: int, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store a layer's new keys and values (rows, key heads, new, head size), and return those to attend to.

        They are the new ones themselves; for a prompt that is prefilled in chunks, those of all its chunks so far; with
        prefixes that are held, those and the new ones. A single row has all the prefixes before it, else each row has
        its own, padded on the right.
        """
        by_token = [new.transpose(1, 2).flatten(0, 1) for new in (key, value)]  # (rows * new, key heads, head size)
        for one in self.writes:
            one.block.write(layer, [states[one.tokens] for states in by_token], one.slots, one.places)
        self.layer = layer
        if self.num_cached:
            block, num_keys = self.writes[0].block, self.num_cached + key.shape[2]
            key, value = (states[:, :, :num_keys] for states in block.layers[layer])
        if self.held:
            keys, values = zip(*(one.states(layer) for one in self.held), strict=True)
            key, value = _behind(keys, key), _behind(values, value)
        return key, value

    def get_seq_length(self, *_: object) -> int:
        return 0


def block_attention(config: PretrainedConfig) -> AbstractContextManager[None]:
    """While active, the model attends with one token a row over the blocks, given `rolesum_cache`, `rolesum_views`."""
    inside: AbstractContextManager[None] = override_attention(config, ATTENTION_NAME, _attention)
    return inside


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    rolesum_cache: KVCache | None = None,
    rolesum_views: Sequence[tuple[KVView, torch.Size, int]] = (),
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function of a decode step; without `rolesum_cache`, transformers' own.

    `query` (1, heads, rows, head size). `attention_mask` is the result of `concat_masks`; `rolesum_views` holds each
    view with the shape of its part of that mask and where the part starts. Returns (1, rows, heads, head size).
    """
    if rolesum_cache is None or attention_mask is None:
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return out, None
    queries = query[0].transpose(0, 1)  # (rows, heads, head size)
    parts = []
    for view, shape, start in rolesum_views:
        mask = attention_mask[0, 0, 0, start : start + shape.numel()].view(shape)
        parts.append(view.attend(queries[view.rows], rolesum_cache.layer, mask, scaling))
    return torch.cat(parts)[None], None


def _behind(prefixes: Sequence[torch.Tensor], new: torch.Tensor) -> torch.Tensor:
    """Prefixes (key heads, tokens, head size) with the new states (rows, key heads, new, head size) behind them."""
    if len(new) == 1:
        return torch.cat([*prefixes, new[0]], dim=1)[None]
    padded = pad_sequence([one.transpose(0, 1) for one in prefixes], batch_first=True).transpose(1, 2)
    return torch.cat([padded, new], dim=2)


def concat_masks(
    pairs: Sequence[tuple[KVView, AttentionMask]],
) -> tuple[AttentionMask, list[tuple[KVView, torch.Size, int]]]:
    """The masks of several views as one tensor (1, 1, 1, numbers), since a model takes only one; shapes and starts.

    Every mask starts at a multiple of MASK_ALIGNMENT.
    """
    first = pairs[0][1]
    if isinstance(first, dict):  # a mask for each kind of layer, all of one shape
        by_kind = {kind: [mask[kind] for _, mask in pairs if isinstance(mask, dict)] for kind in first}
        masks = next(iter(by_kind.values()))
        joined: AttentionMask = {kind: _flatten(each) for kind, each in by_kind.items()}
    else:
        masks = [mask for _, mask in pairs if isinstance(mask, torch.Tensor)]
        joined = _flatten(masks)
    starts = accumulate([0, *(mask.numel() + _padding(mask) for mask in masks[:-1])])
    return joined, [(view, mask.shape, start) for (view, _), mask, start in zip(pairs, masks, starts, strict=True)]


def _flatten(masks: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([pad(mask.flatten(), (0, _padding(mask))) for mask in masks])[None, None, None]


def _padding(mask: torch.Tensor) -> int:
    """How many numbers after a mask let the next one start at a multiple of MASK_ALIGNMENT."""
    return int(-mask.numel() % MASK_ALIGNMENT)


def _expand_mask(mask: AttentionMask, groups: int, dtype: torch.dtype) -> AttentionMask:
    """A mask (slots, 1 or heads, lanes, keys) as one to add, for `groups` query heads per key head.

    Returns (slots, 1 or key heads, lanes * groups, keys).
    """
    if isinstance(mask, dict):
        return {kind: _expand_one(one, groups, dtype) for kind, one in mask.items()}
    return _expand_one(mask, groups, dtype)


def _expand_one(mask: torch.Tensor, groups: int, dtype: torch.dtype) -> torch.Tensor:
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, float("-inf"))
    if mask.shape[1] == 1:
        return mask.repeat_interleave(groups, dim=2) if groups > 1 else mask
    by_key_head = mask.view(mask.shape[0], -1, groups, *mask.shape[2:])
    return by_key_head.transpose(2, 3).flatten(2, 3)
