"""Rows over shared keys: a slot holds one dialogue's keys and values once, and each of its rows is a line of a mask.

A slot's keys are its prefix, its branches and whatever its rows have added, in the order in which they came. Which of
them a row sees stands in its line of the mask. So roles share the prefix, samples share their branch, and a beam that
forks costs a copied line: no key is ever copied. Slots of dialogues that are done are given to new ones.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rolesum.generation.encoded import Encoded
from rolesum.models.attention import bundle_visibility, can_mask, model_mask
from rolesum.models.causal import body, logits
from rolesum.models.loading import LoadedModel
from rolesum.models.segments import TABLE, can_segment, segment_attention, segment_mask

NAME = "rolesum_slots"
# The store grows by at least so many keys, or by a quarter, so that growing is rare and little is empty.
GROWTH = 64


def can_slot(loaded: LoadedModel) -> bool:
    """Whether a model's attention can be computed so: by position, and by a function that can be put in its place."""
    model: Any = loaded.language_model
    config = model.config.get_text_config()
    replaceable = config._attn_implementation == "sdpa" and getattr(model, "_supports_attention_backend", False)
    return bool(loaded.shares_prefix and replaceable and can_mask(config))


class Store:
    """Keys and values of all layers, (slots, heads, keys, width) each, in the place of transformers' cache."""

    def __init__(self) -> None:
        self.layers: list[list[torch.Tensor]] = []
        self.slots = self.keys = 0
        self.place: tuple[torch.Tensor | None, torch.Tensor, torch.Tensor] | None = None  # set before each forward
        self.shown: tuple[int, int] | None = None  # slots and keys that queries are shown; None: what is new alone

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Called by a layer with its new keys and values (rows, heads, new, width); returns what queries are shown."""
        assert self.place
        valid, slots, places = self.place
        if layer == len(self.layers):
            sizes = [(self.slots, new.shape[1], self.keys, new.shape[3]) for new in (key, value)]
            self.layers.append([key.new_zeros(size) for size in sizes])
        for stored, new in zip(self.layers[layer], (key, value), strict=True):
            by_token = new.transpose(1, 2).flatten(0, 1)  # (rows * new, heads, width)
            stored[slots, :, places] = by_token if valid is None else by_token[valid]
        if self.shown is None:
            return key, value
        some, seen = self.shown
        stored_key, stored_value = self.layers[layer]
        return stored_key[:some, :, :seen], stored_value[:some, :, :seen]

    def get_seq_length(self, *_: Any) -> int:
        return 0

    def resize(self, slots: int, keys: int, kept: Sequence[int]) -> None:
        """Room for so many; the slots `kept` come first, in this order."""
        for layer in self.layers:
            for number, old in enumerate(layer):
                new = old.new_zeros(slots, old.shape[1], keys, old.shape[3])
                seen = min(keys, old.shape[2])
                for place, slot in enumerate(kept):
                    new[place, :, :seen] = old[slot, :, :seen]
                layer[number] = new
        self.slots, self.keys = slots, keys


class SlotRows:
    """Rows of a causal model that takes ready masks and positions."""

    joins = True

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded, self.device = loaded, loaded.device
        self.model = loaded.language_model
        self.config: Any = self.model.config.get_text_config()
        self.packs = can_segment(self.config, self.device)
        self.store = Store()
        self.used: list[int] = []  # keys of each slot
        self.lanes: list[int] = []  # rows that a slot may come to have
        self.slot: list[int] = []  # of each row
        self.lane: list[int] = []
        self.position = torch.zeros(0, dtype=torch.long, device=self.device)  # of each row's next token
        self.visible = torch.zeros(0, 0, 0, dtype=torch.bool, device=self.device)  # (slots, lanes, keys)
        self.key_positions = torch.zeros(0, 0, dtype=torch.long, device=self.device)  # (slots, keys)

    def keys(self, prompts: Sequence[Encoded], lanes: int, max_new_tokens: int) -> int:
        taken = len(set(self.slot))
        widths = [_held(one) + lanes * len(one.branches) * max_new_tokens for one in prompts]
        left = max((self.used[slot] for slot in set(self.slot)), default=0) + max_new_tokens
        return (taken + len(prompts)) * max([*widths, left if taken else 0])

    def admit(self, prompts: Sequence[Encoded], lanes: int) -> torch.Tensor:
        slots = self._take_slots([_held(one) for one in prompts], [lanes * len(one.branches) for one in prompts])
        ids: list[list[int]] = []
        branches: list[list[int]] = []
        positions: list[list[int]] = []
        ends: list[tuple[int, int]] = []  # of each new row: number of the prompt, place of its last token
        for number, (slot, one) in enumerate(zip(slots, prompts, strict=True)):
            places = self._lay_out(one, slot, number, ids, branches, positions)
            ends += places
        self.store.shown = None
        hidden = self._prefill(slots, ids, branches, positions)
        return logits(self.model, hidden[[number for number, _ in ends], [place for _, place in ends]])

    def _lay_out(
        self,
        one: Encoded,
        slot: int,
        number: int,
        ids: list[list[int]],
        branches: list[list[int]],
        positions: list[list[int]],
    ) -> list[tuple[int, int]]:
        """Put down a prompt's tokens and open its rows; branches that are alike are computed once."""
        shared = len(one.prefix)
        row, of, at = list(one.prefix), [0] * shared, list(range(shared))
        found: dict[tuple[int, ...], tuple[int, int]] = {}
        ends = []
        starts = []
        for lane, branch in enumerate(one.branches):
            start, end = found.setdefault(tuple(branch), (len(row), len(row) + len(branch)))
            if end > len(row):
                row += branch
                of += [len(found)] * len(branch)
                at += range(shared, shared + len(branch))
            self.visible[slot, lane, :shared] = True
            self.visible[slot, lane, start:end] = True
            self.slot.append(slot)
            self.lane.append(lane)
            starts.append(shared + len(branch))
            ends.append((number, end - 1))
        self.position = torch.cat([self.position, torch.tensor(starts, device=self.device)])
        self.key_positions[slot, : len(at)] = torch.tensor(at, device=self.device)
        self.used[slot] = len(row)
        ids.append(row)
        branches.append(of)
        positions.append(at)
        return ends

    def _prefill(
        self, slots: Sequence[int], ids: list[list[int]], branches: list[list[int]], positions: list[list[int]]
    ) -> torch.Tensor:
        """Hidden states of the prompts' tokens (prompts, longest, width); keys and values go to their slots."""
        lengths = [len(row) for row in ids]
        rows, length = len(ids), max(lengths)
        valid = torch.arange(length)[None] < torch.tensor(lengths)[:, None]
        slot_of = torch.tensor([slot for slot, n in zip(slots, lengths, strict=True) for _ in range(n)])
        places = torch.cat([torch.arange(n) for n in lengths])
        if self.packs:
            joined = [torch.tensor([list(chain.from_iterable(each))]) for each in (ids, positions)]
            mask = segment_mask(self.config, _table(branches))
            self.store.place = (None, slot_of, places)
            with segment_attention(self.model):
                packed = self._forward(joined[0], joined[1], mask)[0]
            hidden = packed.new_zeros(rows, length, packed.shape[-1])
            hidden[valid] = packed
            return hidden
        fills = ((ids, 0), (positions, 0), (branches, -1))
        tokens, at, of = (_padded(each, length, fill).to(self.device) for each, fill in fills)
        mask = model_mask(self.config, bundle_visibility(of), at, at, self.model.dtype)
        self.store.place = (valid.flatten().to(self.device), slot_of.to(self.device), places.to(self.device))
        return self._forward(tokens, at, mask)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        some = max(self.slot) + 1
        grown: dict[int, int] = {}
        places = []
        for slot in self.slot:
            places.append(self.used[slot] + grown.get(slot, 0))
            grown[slot] = grown.get(slot, 0) + 1
        for slot, count in grown.items():
            self.used[slot] += count
        seen = max(self.used[slot] for slot in grown)
        if seen > self.store.keys:
            self._resize(self.store.slots, seen + max(GROWTH, seen // 4), range(self.store.slots))
        slot, lane, place = (torch.tensor(each, device=self.device) for each in (self.slot, self.lane, places))
        self.visible[slot, lane, place] = True
        self.key_positions[slot, place] = self.position
        lanes = max(self.lane) + 1
        query_positions = torch.zeros(some, lanes, dtype=torch.long, device=self.device)
        query_positions[slot, lane] = self.position
        visible = self.visible[:some, None, :lanes, :seen]
        mask = model_mask(self.config, visible, query_positions, self.key_positions[:some, :seen], self.model.dtype)
        self.store.place, self.store.shown = (None, slot, place), (some, seen)
        ids = torch.tensor([list(tokens)], device=self.device)
        heads = self.config.num_attention_heads
        groups = heads // (getattr(self.config, "num_key_value_heads", None) or heads)
        grid = (slot, lane, some, lanes)
        with _slot_attention(self.config):
            hidden = self._forward(ids, self.position[None], _spread(mask, groups, self.model.dtype), rolesum_grid=grid)
        self.position = self.position + 1
        return logits(self.model, hidden[0])

    def select(self, rows: Sequence[int]) -> None:
        parents = torch.tensor(list(rows), dtype=torch.long, device=self.device)
        slot = [self.slot[row] for row in rows]
        taken: dict[int, int] = {}
        lane = []
        for each in slot:
            lane.append(taken.get(each, 0))
            taken[each] = taken.get(each, 0) + 1
        if lane != [self.lane[row] for row in rows]:
            old = torch.tensor([self.lane[row] for row in rows], device=self.device)
            slots = torch.tensor(slot, device=self.device)
            lines = self.visible[slots, old]
            self.visible[slots, torch.tensor(lane, device=self.device)] = lines
        self.slot, self.lane, self.position = slot, lane, self.position[parents]
        living = sorted(set(slot))
        if living and len(living) <= self.store.slots // 2:
            self._resize(len(living), self.store.keys, living)

    def _take_slots(self, keys: Sequence[int], lanes: Sequence[int]) -> list[int]:
        """Free slots with room for so many keys and lanes each."""
        busy = set(self.slot)
        free = [slot for slot in range(self.store.slots) if slot not in busy]
        room = max(keys)
        if len(free) < len(keys) or room > self.store.keys or max(lanes) > self.visible.shape[1]:
            living = sorted(busy)
            width = max(room + GROWTH, self.store.keys if living else 0)
            self._resize(len(living) + len(keys), width, living, max([*lanes, self.visible.shape[1] if living else 0]))
            free = list(range(len(living), self.store.slots))
        chosen = free[: len(keys)]
        for slot in chosen:
            self.visible[slot] = False
            self.visible[slot, :, 0] = True  # a line that no row has sees something too
            self.key_positions[slot] = 0
        return chosen

    def _resize(self, slots: int, keys: int, kept: Sequence[int], lanes: int | None = None) -> None:
        lanes = self.visible.shape[1] if lanes is None else lanes
        before, places = self.visible.shape, list(kept)
        visible = torch.zeros(slots, lanes, keys, dtype=torch.bool, device=self.device)
        visible[:, :, 0] = True
        positions = torch.zeros(slots, keys, dtype=torch.long, device=self.device)
        if places:
            seen, some = min(keys, before[2]), min(lanes, before[1])
            visible[: len(places), :some, :seen] = self.visible[places, :some, :seen]
            positions[: len(places), :seen] = self.key_positions[places, :seen]
        self.visible, self.key_positions = visible, positions
        self.store.resize(slots, keys, places)
        moved = {old: new for new, old in enumerate(places)}
        self.slot = [moved[slot] for slot in self.slot]
        self.used = [self.used[slot] for slot in places] + [0] * (slots - len(places))

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor, mask: Any, **grid: Any) -> torch.Tensor:
        inputs = {"input_ids": ids, "position_ids": positions, "attention_mask": mask}
        return body(self.model)(**inputs, past_key_values=self.store, use_cache=True, **grid)[0]


@contextmanager
def _slot_attention(config: Any) -> Iterator[None]:
    """Inside, a model's attention is that of rows over slots."""
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    rolesum_grid: tuple[torch.Tensor, torch.Tensor, int, int] | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """query (1, heads, rows, width); key and value (slots, key heads, keys, width); the mask is that of _spread.

    The heads that share a key head, and the rows of a slot, stand beside each other as queries of one product: keys are
    read once for all of them.
    """
    if rolesum_grid is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    slot, lane, some, lanes = rolesum_grid
    heads, width = query.shape[1], query.shape[3]
    key_heads = key.shape[1]
    grid = query.new_zeros(some, lanes, heads, width)
    grid[slot, lane] = query[0].transpose(0, 1)
    asked = (
        grid.view(some, lanes, key_heads, -1, width).transpose(1, 2).flatten(2, 3)
    )  # (slots, key heads, queries, width)
    mixed = scaled_dot_product_attention(asked, key, value, attn_mask=attention_mask, scale=scaling)
    by_lane = mixed.view(some, key_heads, lanes, -1, mixed.shape[-1]).transpose(1, 2).flatten(2, 3)
    return by_lane[slot, lane][None], None  # (1, rows, heads, width)


def _spread(mask: Any, groups: int, dtype: torch.dtype) -> Any:
    """A mask (slots, 1 or heads, lanes, keys) for queries that are lanes times `groups` heads, as numbers to add."""
    if isinstance(mask, dict):
        return {kind: _spread(one, groups, dtype) for kind, one in mask.items()}
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, float("-inf"))
    if mask.shape[1] == 1:
        return mask.repeat_interleave(groups, dim=2) if groups > 1 else mask
    return mask.unflatten(1, (-1, groups)).transpose(2, 3).flatten(2, 3)


def _held(one: Encoded) -> int:
    """Keys of a prompt before its rows have grown."""
    return len(one.prefix) + sum(map(len, {tuple(branch) for branch in one.branches}))


def _padded(rows: list[list[int]], length: int, fill: int) -> torch.Tensor:
    out = torch.full((len(rows), length), fill)
    for number, row in enumerate(rows):
        out[number, : len(row)] = torch.tensor(row)
    return out


def _table(branches: list[list[int]]) -> torch.Tensor:
    """segments.segment_table of rows that stand behind one another: a line for each prefix and branch."""
    lines, start = [], 0
    for row in branches:
        prefix = (start, start + row.count(0))
        begin = start
        for place in range(1, len(row) + 1):
            if place == len(row) or row[place] != row[place - 1]:
                end = start + place
                lines.append((begin, end, *((begin, begin) if row[place - 1] == 0 else prefix)))
                begin = end
        start += len(row)
    return torch.tensor(lines, dtype=TABLE)[None, None]
