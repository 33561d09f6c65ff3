"""Rows with a cache each, padded to one length: for models whose positions or attention are their own affair.

The prefixes are computed once, padded on the right, and their cache is copied to the branches, whose instructions
follow it. The cache has holes where padding was; masks and position ids are made so that no row notices.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache

from rolesum.generation.decoding.decoder import EncodedPrompt
from rolesum.models.attention.masks import make_attention_mask
from rolesum.models.lm_head import apply_lm_head, backbone
from rolesum.models.loading import LoadedModel


class PaddedDecoder:
    """Rows of a causal model, computed by its own attention."""

    can_join = False

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded, self.device = loaded, loaded.device
        self.cache = DynamicCache()
        self.key_positions = torch.zeros(0, 0, dtype=torch.long, device=self.device)  # (rows, keys)
        self.key_valid = torch.zeros(0, 0, dtype=torch.bool, device=self.device)  # (rows, keys), False on padding
        self.position = torch.zeros(0, dtype=torch.long, device=self.device)

    def cache_size(self, prompts: Sequence[EncodedPrompt], lanes: int, max_new_tokens: int) -> int:
        return (
            lanes
            * sum(len(one.branches) for one in prompts)
            * max(one.max_row_tokens(max_new_tokens) for one in prompts)
        )

    def prefill(self, prompts: Sequence[EncodedPrompt], lanes: int) -> torch.Tensor:
        empty = torch.zeros(len(prompts), 0, device=self.device)
        self.cache, self.key_positions, self.key_valid = DynamicCache(), empty.long(), empty.bool()
        self.position = torch.zeros(len(prompts), dtype=torch.long, device=self.device)
        self._forward([one.prefix for one in prompts], want_logits=False)
        self.reorder([row for row, one in enumerate(prompts) for _ in one.branches])
        return self._forward([branch for one in prompts for branch in one.branches])

    def prefill_chunked(self, prompt: EncodedPrompt, lanes: int) -> Iterator[torch.Tensor | None]:
        yield self.prefill([prompt], lanes)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        return self._forward([[token] for token in tokens])

    def reorder(self, rows: Sequence[int]) -> None:
        kept = torch.tensor(list(rows), dtype=torch.long, device=self.device)
        self.cache.batch_select_indices(kept)
        self.key_positions, self.key_valid = self.key_positions[kept], self.key_valid[kept]
        self.position = self.position[kept]

    def _forward(self, texts: Sequence[Sequence[int]], want_logits: bool = True) -> torch.Tensor:
        """Append `texts`, one a row, to the cache, and return the logits behind each (rows, words)."""
        device, longest = self.device, max(map(len, texts))
        lengths = torch.tensor([len(text) for text in texts], device=device)
        ids = torch.zeros(len(texts), longest, dtype=torch.long)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = torch.tensor(text)
        ids = ids.to(device)
        offsets = torch.arange(longest, device=device)
        valid = offsets < lengths[:, None]  # (rows, longest)
        positions = self.position[:, None] + torch.minimum(offsets, lengths[:, None] - 1)
        self.key_positions = torch.cat([self.key_positions, positions], dim=1)
        self.key_valid = torch.cat([self.key_valid, valid], dim=1)
        self.position = self.position + lengths
        model = self.loaded.language_model
        hidden = backbone(model)(
            input_ids=ids, past_key_values=self.cache, use_cache=True, **self._attention(positions)
        )[0]
        if not want_logits:
            return hidden
        return apply_lm_head(model, hidden[torch.arange(len(texts), device=device), lengths - 1])

    def _attention(self, positions: torch.Tensor) -> dict[str, Any]:
        """Mask and positions of the newest `positions` (rows, new)."""
        if not self.loaded.shares_prefix:  # ALiBi counts positions from the 2D mask, holes included
            return {"attention_mask": self.key_valid.long()}
        keys, new = self.key_valid.shape[1], positions.shape[1]
        earlier = torch.ones(new, keys, dtype=torch.bool, device=positions.device).tril(keys - new)
        visible = (self.key_valid[:, None, :] & earlier)[:, None]
        config = self.loaded.language_model.config.get_text_config()
        mask = make_attention_mask(config, visible, positions, self.key_positions, self.loaded.model.dtype)
        return {"attention_mask": mask, "position_ids": positions}
