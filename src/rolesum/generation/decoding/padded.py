"""The decoder with one padded cache row per text: for models whose positions or attention cannot be replaced.

The prefixes are computed once, padded on the right, and their cache is copied to the branches, whose instructions
follow it. The cache has gaps where padding was; the attention mask and the position ids leave them out.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache

from rolesum.generation.decoding.decoder import EncodedPrompt
from rolesum.generation.decoding.kept_prefix import KeptPrefix
from rolesum.models.attention.masks import make_attention_mask
from rolesum.models.lm_head import apply_lm_head, backbone
from rolesum.models.prompt_model import LoadedModel


class PaddedDecoder:
    """A Decoder for a causal model, computed by the model's own attention."""

    can_join = False

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded, self.device = loaded, loaded.device
        self.cache = DynamicCache()
        self.key_positions = torch.zeros(0, 0, dtype=torch.long, device=self.device)  # (rows, keys)
        self.key_valid = torch.zeros(0, 0, dtype=torch.bool, device=self.device)  # (rows, keys), False on padding
        self.position = torch.zeros(0, dtype=torch.long, device=self.device)  # (rows,), of each row's next token

    def cache_size(self, prompts: Sequence[EncodedPrompt], beams: int, max_new_tokens: int) -> int:
        longest = max(one.max_row_tokens(max_new_tokens) for one in prompts)
        return beams * sum(len(one.branches) for one in prompts) * longest

    def prefill(self, prompts: Sequence[EncodedPrompt], beams: int) -> torch.Tensor:
        empty = torch.zeros(len(prompts), 0, device=self.device)
        self.cache, self.key_positions, self.key_valid = DynamicCache(), empty.long(), empty.bool()
        self.position = torch.zeros(len(prompts), dtype=torch.long, device=self.device)
        self._forward([one.prefix for one in prompts])
        self.reorder([row for row, one in enumerate(prompts) for _ in one.branches])
        return self._next_logits([branch for one in prompts for branch in one.branches])

    def prefill_chunked(
        self, prompt: EncodedPrompt, beams: int, kept: KeptPrefix | None = None
    ) -> Iterator[torch.Tensor | None]:
        yield self.prefill([prompt], beams)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        return self._next_logits([[token] for token in tokens])

    def reorder(self, rows: Sequence[int]) -> None:
        kept = torch.tensor(list(rows), dtype=torch.long, device=self.device)
        self.cache.batch_select_indices(kept)
        self.key_positions, self.key_valid = self.key_positions[kept], self.key_valid[kept]
        self.position = self.position[kept]

    def _next_logits(self, new: Sequence[Sequence[int]]) -> torch.Tensor:
        """Append tokens to every row; the logits that follow (rows, vocabulary)."""
        hidden = self._forward(new)
        last = torch.tensor([len(one) - 1 for one in new], device=self.device)
        return apply_lm_head(self.loaded.language_model, hidden[torch.arange(len(new), device=self.device), last])

    def _forward(self, new: Sequence[Sequence[int]]) -> torch.Tensor:
        """Append tokens, one list a row, to the cache; their hidden states (rows, longest, hidden)."""
        device, longest = self.device, max(map(len, new))
        lengths = torch.tensor([len(one) for one in new], device=device)  # (rows,)
        ids = torch.zeros(len(new), longest, dtype=torch.long)
        for row, one in enumerate(new):
            ids[row, : len(one)] = torch.tensor(one)
        ids = ids.to(device)
        offsets = torch.arange(longest, device=device)
        valid = offsets < lengths[:, None]  # (rows, longest)
        positions = self.position[:, None] + torch.minimum(offsets, lengths[:, None] - 1)
        self.key_positions = torch.cat([self.key_positions, positions], dim=1)
        self.key_valid = torch.cat([self.key_valid, valid], dim=1)
        self.position = self.position + lengths
        model = backbone(self.loaded.language_model)
        out = model(input_ids=ids, past_key_values=self.cache, use_cache=True, **self._attention(positions))
        hidden: torch.Tensor = out[0]
        return hidden

    def _attention(self, positions: torch.Tensor) -> dict[str, Any]:
        """Attention mask and position ids of the newest tokens, whose `positions` are (rows, new)."""
        if not self.loaded.shares_prefix:  # ALiBi counts positions from the 2D mask, gaps included
            return {"attention_mask": self.key_valid.long()}
        keys, new = self.key_valid.shape[1], positions.shape[1]
        earlier = torch.ones(new, keys, dtype=torch.bool, device=positions.device).tril(keys - new)
        visible = (self.key_valid[:, None, :] & earlier)[:, None]  # (rows, 1, new, keys)
        config = self.loaded.language_model.config.get_text_config()
        mask = make_attention_mask(config, visible, positions, self.key_positions, self.loaded.model.dtype)
        return {"attention_mask": mask, "position_ids": positions}
