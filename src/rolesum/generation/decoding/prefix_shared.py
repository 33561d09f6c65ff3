"""The decoder over shared prefixes: a dialogue is prefilled once for all its roles, then rows grow token by token.

The prompts of one prefill are packed into one sequence, or padded where the attention kernel cannot separate segments.
kv_cache.py holds their keys and values.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any

import torch

from rolesum.generation.decoding.decoder import EncodedPrompt
from rolesum.generation.decoding.kept_prefix import KeptPrefix
from rolesum.generation.decoding.kv_cache import (
    HeldPrefix,
    KVBlock,
    KVCache,
    KVWrite,
    block_attention,
    concat_masks,
)
from rolesum.models.attention.masks import AttentionMask, bundle_visibility, make_attention_mask, supports_custom_masks
from rolesum.models.attention.segments import TABLE_DTYPE, segment_attention, segment_mask, supports_segment_attention
from rolesum.models.hidden_states import read_hidden_states, stop_behind_layer
from rolesum.models.lm_head import apply_lm_head, backbone
from rolesum.models.prompt_model import LoadedModel

# Tokens of one chunk of a chunked prefill.
PREFILL_CHUNK = 512


def can_share_prefix(loaded: LoadedModel) -> bool:
    """Whether a model uses explicit position ids, and its attention function can be replaced."""
    model: Any = loaded.language_model
    config = model.config.get_text_config()
    replaceable = config._attn_implementation == "sdpa" and getattr(model, "_supports_attention_backend", False)
    return bool(loaded.shares_prefix and replaceable and supports_custom_masks(config))


class _PackedPrompt:
    """The tokens of a prompt as they lie in its slot: the prefix, then each distinct branch once."""

    def __init__(self, one: EncodedPrompt) -> None:
        self.shared = shared = len(one.prefix)
        self.ids = list(one.prefix)
        self.branch, self.position = [0] * shared, list(range(shared))  # of each token; branch 0 is the prefix
        self.spans: list[tuple[int, int]] = []  # first and last + 1 token of each branch
        found: dict[tuple[int, ...], tuple[int, int]] = {}
        for branch in one.branches:
            start, end = found.setdefault(tuple(branch), (len(self.ids), len(self.ids) + len(branch)))
            if end > len(self.ids):
                self.ids += branch
                self.branch += [len(found)] * len(branch)
                self.position += range(shared, shared + len(branch))
            self.spans.append((start, end))

    @property
    def num_new(self) -> int:
        """Tokens behind the prefix."""
        return len(self.ids) - self.shared


class PrefixSharedDecoder:
    """A Decoder for a causal model that takes attention masks and position ids as they are given."""

    can_join = True

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded, self.device = loaded, loaded.device
        self.model = loaded.language_model
        self.config: Any = self.model.config.get_text_config()
        self.packs = supports_segment_attention(self.config, self.device)  # else prompts are padded
        self.cache = KVCache()
        self.blocks: list[KVBlock] = []  # in the order of their rows
        self.chunk_tokens = PREFILL_CHUNK
        self.pending: list[KVBlock] = []  # whose prompts are being prefilled in chunks

    def cache_size(self, prompts: Sequence[EncodedPrompt], beams: int, max_new_tokens: int) -> int:
        widths = [one.cached_tokens() + beams * len(one.branches) * max_new_tokens for one in prompts]
        blocks = (*self.blocks, *self.pending)
        return sum(block.max_size(max_new_tokens) for block in blocks) + len(prompts) * max(widths, default=0)

    def prefill(self, prompts: Sequence[EncodedPrompt], beams: int) -> torch.Tensor:
        packed = [_PackedPrompt(one) for one in prompts]
        block = self._new_block(prompts, packed, beams)
        self.blocks.append(block)
        return apply_lm_head(self.model, self._prefill(block, packed))

    def prefill_chunked(
        self, prompt: EncodedPrompt, beams: int, kept: KeptPrefix | None = None
    ) -> Iterator[torch.Tensor | None]:
        packed = _PackedPrompt(prompt)
        block = self._new_block([prompt], [packed], beams)
        self.pending.append(block)
        try:
            first = kept.restore(block, prompt.prefix) if kept else 0
            size = self.chunk_tokens
            ends = [*range(first + size, len(prompt.prefix) - size // 2, size), len(packed.ids)]
            for start, end in pairwise([first, *ends]):
                hidden = self._prefill_chunk(block, packed, start, end)
                if end < len(packed.ids):
                    yield None
            if kept:
                kept.take(block, prompt.prefix)
        finally:
            self.pending.remove(block)
        self.blocks.append(block)
        yield apply_lm_head(self.model, hidden[[last - 1 - start for _, last in packed.spans]])

    def _prefill_chunk(self, block: KVBlock, one: _PackedPrompt, start: int, end: int) -> torch.Tensor:
        """Hidden states (tokens, hidden) of a prompt's tokens from `start` to `end`, which attend to those before."""
        branch, place = torch.tensor(one.branch[:end], device=self.device), torch.arange(end, device=self.device)
        ids, positions = (torch.tensor([each[start:end]], device=self.device) for each in (one.ids, one.position))
        self.cache.writes = [KVWrite(block, slice(None), torch.zeros_like(place[start:]), place[start:])]
        self.cache.num_cached = start
        try:
            if self.packs:
                table = _table([one]) if end == len(one.ids) else torch.tensor([[[(0, end, 0, 0)]]], dtype=TABLE_DTYPE)
                with segment_attention(self.model):
                    return self._forward(ids, positions, segment_mask(self.config, table))[0]
            visible = ((branch == 0) | (branch == branch[start:, None])) & (place <= place[start:, None])
            key_positions = block.key_positions[:, :end]
            mask = make_attention_mask(self.config, visible[None, None], positions, key_positions, self.model.dtype)
            return self._forward(ids, positions, mask)[0]
        finally:
            self.cache.num_cached = 0

    def _new_block(self, prompts: Sequence[EncodedPrompt], packed: Sequence[_PackedPrompt], beams: int) -> KVBlock:
        """A block for prompts that are to be prefilled, with a row for each branch."""
        block = KVBlock([len(one.ids) for one in packed], beams * max(len(one.spans) for one in packed), self.device)
        starts = []
        for slot, (prompt, one) in enumerate(zip(prompts, packed, strict=True)):
            block.key_positions[slot, : len(one.ids)] = torch.tensor(one.position, device=self.device)
            for lane, (start, end) in enumerate(one.spans):
                block.visible[slot, lane, : len(prompt.prefix)] = True
                block.visible[slot, lane, start:end] = True
                block.slot.append(slot)
                block.lane.append(lane)
                starts.append(len(prompt.prefix) + end - start)
        block.position = torch.tensor(starts, device=self.device)
        return block

    def _prefill(self, block: KVBlock, packed: Sequence[_PackedPrompt]) -> torch.Tensor:
        """Prefill prompts into a block; the hidden states of every branch's last token (rows, hidden)."""
        lengths = [len(one.ids) for one in packed]
        slots = torch.arange(len(packed)).repeat_interleave(torch.tensor(lengths)).to(self.device)
        places = torch.cat([torch.arange(length) for length in lengths]).to(self.device)
        if self.packs:
            ids, positions = (
                torch.tensor([list(chain.from_iterable(each))])
                for each in ([one.ids for one in packed], [one.position for one in packed])
            )
            self.cache.writes = [KVWrite(block, slice(None), slots, places)]
            with segment_attention(self.model):
                hidden = self._forward(ids, positions, segment_mask(self.config, _table(packed)))[0]
            begins = accumulate([0, *lengths[:-1]])
            return hidden[[begin + end - 1 for begin, one in zip(begins, packed, strict=True) for _, end in one.spans]]
        longest = max(lengths)
        tokens = _padded([one.ids for one in packed], longest, 0).to(self.device)
        at = _padded([one.position for one in packed], longest, 0).to(self.device)
        of = _padded([one.branch for one in packed], longest, -1).to(self.device)
        mask = make_attention_mask(self.config, bundle_visibility(of), at, at, self.model.dtype)
        self.cache.writes = [KVWrite(block, (of >= 0).flatten(), slots, places)]
        hidden = self._forward(tokens, at, mask)
        ends = [(row, end - 1) for row, one in enumerate(packed) for _, end in one.spans]
        return hidden[[row for row, _ in ends], [place for _, place in ends]]

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        starts = list(accumulate([0, *(len(block.slot) for block in self.blocks)]))
        self.cache.writes, pairs = [], []
        for start, end, block in zip(starts, starts[1:], self.blocks, strict=False):
            if start == end:
                continue  # all its rows have left, and a prefix is held
            places = block.grow()
            pairs.append(block.view(start, self.config, self.model.dtype))
            self.cache.writes.append(KVWrite(block, slice(start, end), pairs[-1][0].slot, places))
        mask, views = concat_masks(pairs)
        ids = torch.tensor([list(tokens)], device=self.device)
        positions = torch.cat([block.position for block in self.blocks])
        with block_attention(self.config):
            hidden = self._forward(ids, positions[None], mask, rolesum_cache=self.cache, rolesum_views=views)
        for block in self.blocks:
            block.position = block.position + 1
        return apply_lm_head(self.model, hidden[0])

    def reorder(self, rows: Sequence[int]) -> None:
        """As Decoder.reorder; the rows of a block are adjacent in `rows` too."""
        starts = list(accumulate([0, *(len(block.slot) for block in self.blocks)]))
        left = []
        for start, end, block in zip(starts, starts[1:], self.blocks, strict=False):
            mine = [row - start for row in rows if start <= row < end]
            if mine or block.held:
                if mine != list(range(end - start)):
                    block.reorder(mine)
                left.append(block)
        self.blocks = left

    def hold(self, row: int, tokens: int) -> HeldPrefix:
        for block in self.blocks:
            if row < len(block.slot):
                return block.hold(row, tokens)
            row -= len(block.slot)
        raise IndexError(f"there is no row {row} behind the last one")

    def release(self, held: HeldPrefix) -> None:
        held.block.held.remove(held)
        self.blocks = [block for block in self.blocks if block.slot or block.held]

    def held_size(self, prompts: Sequence[EncodedPrompt]) -> int:
        """As HoldingDecoder.held_size. Of one layer at a time, there are at most two copies of keys and values."""
        prefixes = [len(one.prefix) for one in prompts]
        new = [one.cached_tokens() - len(one.prefix) for one in prompts]
        tokens = sum(prefixes) + sum(new) if self.packs else len(prompts) * (max(prefixes) + max(new))
        return -(-2 * tokens // int(self.config.num_hidden_layers))

    def prefill_held(self, held: Sequence[HeldPrefix], prompts: Sequence[EncodedPrompt]) -> torch.Tensor:
        self.cache.writes, self.cache.held = [], held
        try:
            return apply_lm_head(self.model, self._prefill_held([_PackedPrompt(one) for one in prompts]))
        finally:
            self.cache.held = ()

    def read(self, prompt: EncodedPrompt, layer: int, held: HeldPrefix | None) -> torch.Tensor:
        (branch,) = prompt.branches
        if held is None:
            return read_hidden_states(self.model, [*prompt.prefix, *branch], layer)[len(prompt.prefix) :]
        self.cache.writes, self.cache.held = [], [held]
        try:
            with stop_behind_layer(self.model, layer) as found:
                self._prefill_held([_PackedPrompt(prompt)])
        finally:
            self.cache.held = ()
        return found[0][0]

    def _prefill_held(self, packed: Sequence[_PackedPrompt]) -> torch.Tensor:
        """The hidden states (branches, hidden) of every branch's last token, behind prefixes that are held."""
        new_ids = [one.ids[one.shared :] for one in packed]
        new_positions = [one.position[one.shared :] for one in packed]
        if self.packs:
            ids, positions = (torch.tensor([list(chain.from_iterable(each))]) for each in (new_ids, new_positions))
            with segment_attention(self.model):
                hidden = self._forward(ids, positions, segment_mask(self.config, _held_table(packed)))[0]
            begins = accumulate([0, *(one.num_new for one in packed[:-1])])
            pairs = zip(begins, packed, strict=True)
            return hidden[[begin + end - one.shared - 1 for begin, one in pairs for _, end in one.spans]]
        longest = max(one.num_new for one in packed)
        tokens, at = (_padded(each, longest, 0).to(self.device) for each in (new_ids, new_positions))
        of = _padded([one.branch[one.shared :] for one in packed], longest, -1).to(self.device)
        places = torch.arange(max(one.shared for one in packed), device=self.device)
        in_prefix = places < torch.tensor([[one.shared] for one in packed], device=self.device)  # (prompts, places)
        before = in_prefix[:, None, None].expand(-1, -1, longest, -1)
        visible = torch.cat([before, bundle_visibility(of)], dim=-1)
        key_positions = torch.cat([places.expand(len(packed), -1), at], dim=1)
        mask = make_attention_mask(self.config, visible, at, key_positions, self.model.dtype)
        hidden = self._forward(tokens, at, mask)
        ends = [(row, end - one.shared - 1) for row, one in enumerate(packed) for _, end in one.spans]
        return hidden[[row for row, _ in ends], [place for _, place in ends]]

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor, mask: AttentionMask, **more: Any) -> torch.Tensor:
        """Hidden states (batch, length, hidden) of ids and positions (batch, length)."""
        inputs = {"input_ids": ids, "position_ids": positions, "attention_mask": mask}
        hidden: torch.Tensor = backbone(self.model)(**inputs, past_key_values=self.cache, use_cache=True, **more)[0]
        return hidden


def _padded(rows: list[list[int]], length: int, fill: int) -> torch.Tensor:
    """Lists as one tensor (rows, length), filled up on the right."""
    out = torch.full((len(rows), length), fill)
    for number, row in enumerate(rows):
        out[number, : len(row)] = torch.tensor(row)
    return out


def _table(packed: Sequence[_PackedPrompt]) -> torch.Tensor:
    """The segments.segment_table of packed prompts: a line for each prefix and branch (1, 1, lines, 4)."""
    lines, at = [], 0
    for one in packed:
        end = at + min((start for start, _ in one.spans), default=len(one.ids))
        prefix = (at, end)
        lines.append((*prefix, at, at))
        lines += [(at + start, at + stop, *prefix) for start, stop in dict.fromkeys(one.spans)]
        at += len(one.ids)
    return torch.tensor(lines, dtype=TABLE_DTYPE)[None, None]


def _held_table(packed: Sequence[_PackedPrompt]) -> torch.Tensor:
    """The segments.segment_table of branches alone, whose keys lie behind those of all prefixes (1, 1, lines, 4)."""
    lines, prefix_start, at = [], 0, sum(one.shared for one in packed)
    for one in packed:
        prefix = (prefix_start, prefix_start + one.shared)
        new = at - one.shared
        lines += [(new + start, new + stop, *prefix) for start, stop in dict.fromkeys(one.spans)]
        prefix_start, at = prefix[1], at + one.num_new
    return torch.tensor(lines, dtype=TABLE_DTYPE)[None, None]
