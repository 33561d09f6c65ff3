"""A prompt as token ids, and what rows of a batch must be able to do, whatever model computes them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt's ids: `index` is its place in the input. `begin` is what a decoder of its own is given."""

    index: int
    prefix: list[int]
    branches: list[list[int]]
    decoder_start_ids: list[int]

    def max_row_tokens(self, max_new_tokens: int) -> int:
        """Tokens of its longest row."""
        return len(self.prefix) + max(map(len, self.branches)) + max_new_tokens

    def cached_tokens(self) -> int:
        """Tokens of the prefix and of its branches, those that are alike counted once."""
        return len(self.prefix) + sum(map(len, {tuple(branch) for branch in self.branches}))


class Decoder(Protocol):
    """Texts that grow side by side, one row each, behind whatever the model keeps of them."""

    can_join: bool  # whether prompts may join while rows of others are there

    def cache_size(self, prompts: Sequence[EncodedPrompt], lanes: int, max_new_tokens: int) -> int:
        """The cache positions that these rows would take beside those that are there, `lanes` for each branch."""
        ...

    def prefill(self, prompts: Sequence[EncodedPrompt], lanes: int) -> torch.Tensor:
        """A new row for every branch, behind the others; `lanes` may become of each. Their logits (new rows, words)."""
        ...

    def prefill_chunked(self, prompt: EncodedPrompt, lanes: int) -> Iterator[torch.Tensor | None]:
        """As `admit` of one prompt, which is read a piece at a time: None after each, and the logits at the end.

        Between two pieces the rows that are there may go on. Where `joins` is False, it is one piece.
        """
        ...

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """One more token for every row; the logits behind them (rows, words)."""
        ...

    def reorder(self, rows: Sequence[int]) -> None:
        """Go on with these rows, in this order; one may stand there several times and grows on in several ways."""
        ...
