"""Rows over shared keys: prompts are computed once and packed, then every row grows by a token a step.

Where the keys are kept, and what a row sees of them, is the affair of blocks.py.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any

import torch

from rolesum.generation.decoding.decoder import EncodedPrompt
from rolesum.generation.decoding.kv_cache import KVBlock, KVCache, KVWrite, block_attention, concat_masks
from rolesum.models.attention.masks import bundle_visibility, make_attention_mask, supports_custom_masks
from rolesum.models.attention.segments import TABLE_DTYPE, segment_attention, segment_mask, supports_segment_attention
from rolesum.models.lm_head import apply_lm_head, backbone
from rolesum.models.loading import LoadedModel

# Tokens of a long prompt that are read at once, while others wait for a token.
PREFILL_CHUNK = 512


def can_share_prefix(loaded: LoadedModel) -> bool:
    """Whether a model's attention can be computed so: by position, and by a function that can be put in its place."""
    model: Any = loaded.language_model
    config = model.config.get_text_config()
    replaceable = config._attn_implementation == "sdpa" and getattr(model, "_supports_attention_backend", False)
    return bool(loaded.shares_prefix and replaceable and supports_custom_masks(config))


class _Laid:
    """A prompt's tokens as they stand in its slot: prefix, then branches, those that are alike once."""

    def __init__(self, one: EncodedPrompt) -> None:
        shared = len(one.prefix)
        self.ids = list(one.prefix)
        self.branch, self.position = [0] * shared, list(range(shared))  # of each token; 0 is the prefix
        self.spans: list[tuple[int, int]] = []  # of each branch
        found: dict[tuple[int, ...], tuple[int, int]] = {}
        for branch in one.branches:
            start, end = found.setdefault(tuple(branch), (len(self.ids), len(self.ids) + len(branch)))
            if end > len(self.ids):
                self.ids += branch
                self.branch += [len(found)] * len(branch)
                self.position += range(shared, shared + len(branch))
            self.spans.append((start, end))


class PrefixSharedDecoder:
    """Rows of a causal model that takes ready masks and positions."""

    can_join = True

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded, self.device = loaded, loaded.device
        self.model = loaded.language_model
        self.config: Any = self.model.config.get_text_config()
        self.packs = supports_segment_attention(self.config, self.device)
        self.store = KVCache()
        self.blocks: list[KVBlock] = []  # the rows of the first come first
        self.coming: list[KVBlock] = []  # whose prompts are read piece by piece

    def cache_size(self, prompts: Sequence[EncodedPrompt], lanes: int, max_new_tokens: int) -> int:
        widths = [one.cached_tokens() + lanes * len(one.branches) * max_new_tokens for one in prompts]
        there = (*self.blocks, *self.coming)
        return sum(block.max_size(max_new_tokens) for block in there) + len(prompts) * max(widths)

    def prefill(self, prompts: Sequence[EncodedPrompt], lanes: int) -> torch.Tensor:
        laid = [_Laid(one) for one in prompts]
        block = self._block(prompts, laid, lanes)
        self.blocks.append(block)
        return apply_lm_head(self.model, self._prefill(block, laid))

    def prefill_chunked(self, prompt: EncodedPrompt, lanes: int) -> Iterator[torch.Tensor | None]:
        laid = _Laid(prompt)
        block = self._block([prompt], [laid], lanes)
        self.coming.append(block)
        try:
            ends = [*range(PREFILL_CHUNK, len(prompt.prefix) - PREFILL_CHUNK // 2, PREFILL_CHUNK), len(laid.ids)]
            for start, end in pairwise([0, *ends]):
                hidden = self._read(block, laid, start, end)
                if end < len(laid.ids):
                    yield None
        finally:
            self.coming.remove(block)
        self.blocks.append(block)
        yield apply_lm_head(self.model, hidden[[last - 1 - start for _, last in laid.spans]])

    def _read(self, block: KVBlock, one: _Laid, start: int, end: int) -> torch.Tensor:
        """Hidden states (tokens, width) of a prompt's tokens from `start` to `end`, which see those before them."""
        branch, place = torch.tensor(one.branch[:end], device=self.device), torch.arange(end, device=self.device)
        ids, positions = (torch.tensor([each[start:end]], device=self.device) for each in (one.ids, one.position))
        self.store.writes = [KVWrite(block, slice(None), torch.zeros_like(place[start:]), place[start:])]
        self.store.num_cached = start
        try:
            if self.packs:
                table = _table([one]) if end == len(one.ids) else torch.tensor([[[(0, end, 0, 0)]]], dtype=TABLE_DTYPE)
                with segment_attention(self.model):
                    return self._forward(ids, positions, segment_mask(self.config, table))[0]
            visible = ((branch == 0) | (branch == branch[start:, None])) & (place <= place[start:, None])
            seen = block.key_positions[:, :end]
            mask = make_attention_mask(self.config, visible[None, None], positions, seen, self.model.dtype)
            return self._forward(ids, positions, mask)[0]
        finally:
            self.store.num_cached = 0

    def _block(self, prompts: Sequence[EncodedPrompt], laid: Sequence[_Laid], lanes: int) -> KVBlock:
        """The slots of prompts that are to be read, with a row for each branch."""
        block = KVBlock([len(one.ids) for one in laid], lanes * max(len(one.spans) for one in laid), self.device)
        starts = []
        for slot, (prompt, one) in enumerate(zip(prompts, laid, strict=True)):
            block.key_positions[slot, : len(one.ids)] = torch.tensor(one.position, device=self.device)
            for lane, (start, end) in enumerate(one.spans):
                block.visible[slot, lane, : len(prompt.prefix)] = True
                block.visible[slot, lane, start:end] = True
                block.slot.append(slot)
                block.lane.append(lane)
                starts.append(len(prompt.prefix) + end - start)
        block.position = torch.tensor(starts, device=self.device)
        return block

    def _prefill(self, block: KVBlock, laid: Sequence[_Laid]) -> torch.Tensor:
        """Hidden states of every branch's last token (rows, width); keys and values go to the block."""
        lengths = [len(one.ids) for one in laid]
        slots = torch.arange(len(laid)).repeat_interleave(torch.tensor(lengths)).to(self.device)
        places = torch.cat([torch.arange(length) for length in lengths]).to(self.device)
        if self.packs:
            ids, positions = (
                torch.tensor([list(chain.from_iterable(each))])
                for each in ([one.ids for one in laid], [one.position for one in laid])
            )
            self.store.writes = [KVWrite(block, slice(None), slots, places)]
            with segment_attention(self.model):
                hidden = self._forward(ids, positions, segment_mask(self.config, _table(laid)))[0]
            begins = accumulate([0, *lengths[:-1]])
            return hidden[[begin + end - 1 for begin, one in zip(begins, laid, strict=True) for _, end in one.spans]]
        longest = max(lengths)
        tokens = _padded([one.ids for one in laid], longest, 0).to(self.device)
        at = _padded([one.position for one in laid], longest, 0).to(self.device)
        of = _padded([one.branch for one in laid], longest, -1).to(self.device)
        mask = make_attention_mask(self.config, bundle_visibility(of), at, at, self.model.dtype)
        self.store.writes = [KVWrite(block, (of >= 0).flatten(), slots, places)]
        hidden = self._forward(tokens, at, mask)
        ends = [(row, end - 1) for row, one in enumerate(laid) for _, end in one.spans]
        return hidden[[row for row, _ in ends], [place for _, place in ends]]

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        starts = list(accumulate([0, *(len(block.slot) for block in self.blocks)]))
        self.store.writes, pairs = [], []
        for start, end, block in zip(starts, starts[1:], self.blocks, strict=False):
            places = block.grow()
            pairs.append(block.view(start, self.config, self.model.dtype))
            self.store.writes.append(KVWrite(block, slice(start, end), pairs[-1][0].slot, places))
        mask, views = concat_masks(pairs)
        ids = torch.tensor([list(tokens)], device=self.device)
        positions = torch.cat([block.position for block in self.blocks])
        with block_attention(self.config):
            hidden = self._forward(ids, positions[None], mask, rolesum_store=self.store, rolesum_views=views)
        for block in self.blocks:
            block.position = block.position + 1
        return apply_lm_head(self.model, hidden[0])

    def reorder(self, rows: Sequence[int]) -> None:
        """As in Rows; a block's rows stand behind one another in `rows` too."""
        starts = list(accumulate([0, *(len(block.slot) for block in self.blocks)]))
        left = []
        for start, end, block in zip(starts, starts[1:], self.blocks, strict=False):
            mine = [row - start for row in rows if start <= row < end]
            if mine:
                if mine != list(range(end - start)):
                    block.select(mine)
                left.append(block)
        self.blocks = left

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor, mask: Any, **more: Any) -> torch.Tensor:
        inputs = {"input_ids": ids, "position_ids": positions, "attention_mask": mask}
        return backbone(self.model)(**inputs, past_key_values=self.store, use_cache=True, **more)[0]


def _padded(rows: list[list[int]], length: int, fill: int) -> torch.Tensor:
    out = torch.full((len(rows), length), fill)
    for number, row in enumerate(rows):
        out[number, : len(row)] = torch.tensor(row)
    return out


def _table(laid: Sequence[_Laid]) -> torch.Tensor:
    """segments.segment_table of prompts that stand behind one another: a line for each prefix and branch."""
    lines, at = [], 0
    for one in laid:
        end = at + min((start for start, _ in one.spans), default=len(one.ids))
        prefix = (at, end)
        lines.append((*prefix, at, at))
        lines += [(at + start, at + stop, *prefix) for start, stop in dict.fromkeys(one.spans)]
        at += len(one.ids)
    return torch.tensor(lines, dtype=TABLE_DTYPE)[None, None]
