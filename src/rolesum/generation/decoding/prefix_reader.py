"""Reads texts behind a prefix that is computed once, several of them in one row, by a model that takes ready masks.

Unlike a Decoder it can leave out the end of the prefix, hide a part of it from a text, record attention weights, and
keep what a gradient needs.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from transformers import DynamicCache

from rolesum.models.attention.masks import make_attention_mask
from rolesum.models.attention.recorded import recorded_attention
from rolesum.models.lm_head import backbone
from rolesum.models.prompt_model import LoadedModel

Span = tuple[int, int]  # the first token and the one behind the last


class PrefixReader:
    """The keys and values of a prefix, and the model that reads on.

    The model is one that PrefixSharedDecoder decodes. With `embeddings` (tokens, hidden), they are read in place of the
    prefix's own input embeddings. No gradient is kept but where the caller enables it.
    """

    def __init__(self, loaded: LoadedModel, prefix: Sequence[int], embeddings: torch.Tensor | None = None) -> None:
        self.model, self.device = loaded.language_model, loaded.device
        self.config: Any = self.model.config.get_text_config()
        self.length = len(prefix)
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []  # keys and values, (1, key heads, length, head size)
        given = {"input_ids": self._tensor(prefix)[None]} if embeddings is None else {"inputs_embeds": embeddings[None]}
        cache = DynamicCache()
        earlier = torch.ones(self.length, self.length, dtype=torch.bool, device=self.device).tril()
        self._forward(given, torch.arange(self.length, device=self.device), earlier, cache)
        layers: list[Any] = cache.layers  # whose classes have keys of other types too
        self._layers = [(layer.keys, layer.values) for layer in layers]

    def read(
        self,
        texts: Sequence[Sequence[int]],
        *,
        kept: int | None = None,
        shared: Sequence[int] = (),
        hidden: Sequence[Span] = (),
        groups: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The hidden states of every text's last token (texts, hidden), and what was recorded.

        Each text attends to the prefix's first `kept` tokens (all by default), to `shared`, which follow them, and to
        itself. `hidden` has for each text a span of the prefix that it does not attend to. With `groups` (kept, groups)
        each attention layer gives a tensor (heads, tokens, groups) for the tokens of all texts in their order, see
        recorded_attention.
        """
        kept = self.length if kept is None else kept
        lengths = [len(text) for text in texts]
        of = [0] * len(shared) + [number for number, length in enumerate(lengths, 1) for _ in range(length)]
        first = kept + len(shared)
        positions = [*range(kept, first), *(place for length in lengths for place in range(first, first + length))]
        ends = list(accumulate(lengths, initial=len(shared)))
        owner = self._tensor([0] * kept + of)  # of each key; 0 for what all texts see
        place = torch.arange(len(owner), device=self.device)
        seen = (owner == 0) | (owner == owner[kept:, None])
        visible = seen & (place <= place[kept:, None])  # (tokens, keys)
        for begin, end, (start, stop) in zip(ends, ends[1:], hidden, strict=False):
            visible[begin:end, start:stop] = False
        ids = self._tensor([*shared, *(index for text in texts for index in text)])
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(self._layers):
            cache.update(keys[:, :, :kept], values[:, :, :kept], layer)
        given, at = {"input_ids": ids[None]}, self._tensor(positions)
        if groups is None:
            return self._forward(given, at, visible, cache)[[end - 1 for end in ends[1:]]], []
        recorded: list[torch.Tensor] = []
        padded = torch.nn.functional.pad(groups, (0, 0, 0, len(of)))
        with recorded_attention(self.model):
            more = {"rolesum_groups": padded, "rolesum_weights": recorded}
            out = self._forward(given, at, visible, cache, **more)
        return out[[end - 1 for end in ends[1:]]], [one[:, len(shared) :] for one in recorded]

    def _forward(
        self, given: dict[str, Any], positions: torch.Tensor, visible: torch.Tensor, cache: DynamicCache, **more: Any
    ) -> torch.Tensor:
        """The hidden states (tokens, hidden) of one row; `visible` is (tokens, keys), `positions` are the tokens'."""
        keys = torch.cat([torch.arange(visible.shape[1] - len(positions), device=self.device), positions])
        mask = make_attention_mask(self.config, visible[None, None], positions[None], keys[None], self.model.dtype)
        inputs = {**given, "position_ids": positions[None], "attention_mask": mask, **more}
        return backbone(self.model)(**inputs, past_key_values=cache, use_cache=True)[0][0]

    def _tensor(self, numbers: Sequence[int]) -> torch.Tensor:
        return torch.tensor(list(numbers), dtype=torch.long, device=self.device)
