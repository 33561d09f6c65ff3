"""The Decoder protocol: the model's side of continuous batching, whatever attention and cache it uses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """The token ids of a prompt: the dialogue's prefix, then one branch for each role.

    `index` is the prompt's place in the input. `decoder_start_ids` are what an encoder-decoder's targets begin with;
    empty for other models.
    """

    index: int
    prefix: list[int]
    branches: list[list[int]]
    decoder_start_ids: list[int]

    def max_row_tokens(self, max_new_tokens: int) -> int:
        """Tokens of the longest row: prefix, branch and new tokens."""
        return len(self.prefix) + max(map(len, self.branches)) + max_new_tokens

    def cached_tokens(self) -> int:
        """Tokens that a shared-prefix cache holds: the prefix once, and each distinct branch once."""
        return len(self.prefix) + sum(map(len, {tuple(branch) for branch in self.branches}))


class Decoder(Protocol):
    """Texts that grow in one batch, a row for each (beams: several), with their key-value cache."""

    can_join: bool  # whether prompts may be added while rows of other prompts are there

    def cache_size(self, prompts: Sequence[EncodedPrompt], beams: int, max_new_tokens: int) -> int:
        """Cache positions needed for the rows that are there and for new prompts with `beams` rows per branch."""
        ...

    def prefill(self, prompts: Sequence[EncodedPrompt], beams: int) -> torch.Tensor:
        """Append a row for every branch, with room for `beams` rows of each; their logits (new rows, vocabulary)."""
        ...

    def prefill_chunked(self, prompt: EncodedPrompt, beams: int) -> Iterator[torch.Tensor | None]:
        """Prefill one prompt a chunk at a time: yields None after each chunk, and at last the logits as `prefill`.

        `step` may be called between two chunks. Where `can_join` is False, the prompt is one chunk.
        """
        ...

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to every row; the logits that follow (rows, vocabulary)."""
        ...

    def reorder(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order. A row that occurs several times is forked, as beam search does."""
        ...
