"""The decoder with a cache of its own for every text, kept by the model's own code.

For models whose attention or cache cannot be replaced (ALiBi by place in the cache, layers of other kinds): nothing is
shared or padded, so that each text is computed as if it were alone.
"""

import copy
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from rolesum.generation.decoding.decoder import EncodedPrompt
from rolesum.generation.decoding.kept_prefix import KeptPrefix
from rolesum.models.prompt_model import LoadedModel


class SeparateDecoder:
    """A Decoder for a causal model, one row at a time, by the model's own forward."""

    can_join = False

    def __init__(self, loaded: LoadedModel) -> None:
        self.model, self.device = loaded.language_model, loaded.device
        self.caches: list[Any] = []  # of each row, of whatever class the model makes
        accepted = inspect.signature(self.model.forward).parameters
        self.options = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        # Models without attention (Mamba) have another name for what they keep of a text.
        self.cache_name = "past_key_values" if "past_key_values" in accepted else "cache_params"

    def cache_size(self, prompts: Sequence[EncodedPrompt], beams: int, max_new_tokens: int) -> int:
        return beams * sum(len(one.prefix) + len(branch) + max_new_tokens for one in prompts for branch in one.branches)

    def prefill(self, prompts: Sequence[EncodedPrompt], beams: int) -> torch.Tensor:
        rows = [[*one.prefix, *branch] for one in prompts for branch in one.branches]
        self.caches = [None] * len(rows)
        return self._forward(rows)

    def prefill_chunked(
        self, prompt: EncodedPrompt, beams: int, kept: KeptPrefix | None = None
    ) -> Iterator[torch.Tensor | None]:
        yield self.prefill([prompt], beams)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        return self._forward([[token] for token in tokens])

    def reorder(self, rows: Sequence[int]) -> None:
        kept, used = [], set[int]()
        for row in rows:
            kept.append(copy.deepcopy(self.caches[row]) if row in used else self.caches[row])
            used.add(row)
        self.caches = kept

    def _forward(self, new: Sequence[Sequence[int]]) -> torch.Tensor:
        """Append tokens, one list a row, to each row's cache; the logits that follow (rows, vocabulary)."""
        logits = []
        for row, ids in enumerate(new):
            inputs: dict[str, Any] = {self.cache_name: self.caches[row], "use_cache": True, **self.options}
            out = self.model(input_ids=torch.tensor([list(ids)], device=self.device), **inputs)
            self.caches[row] = out[self.cache_name]
            logits.append(out.logits[0, -1].float())
        return torch.stack(logits)
