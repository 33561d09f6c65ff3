"""The Decoder protocol: the model's side of continuous batching, whatever attention and cache it uses."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch

from rolesum.generation.decoding.kept_prefix import KeptPrefix
from rolesum.generation.decoding.kv_cache import HeldPrefix


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

    def part(self, first: int, end: int) -> "EncodedPrompt":
        """The prompt with the branches from number `first` to before number `end` only."""
        return replace(self, branches=self.branches[first:end])

    def split(self, fits: Callable[["EncodedPrompt"], bool]) -> "Iterator[EncodedPrompt]":
        """Parts with the branches in order, as many in each as fit, at least one."""
        first = 0
        while first < len(self.branches):
            end = first + 1
            while end < len(self.branches) and fits(self.part(first, end + 1)):
                end += 1
            yield self.part(first, end)
            first = end


class Decoder(Protocol):
    """Texts that grow in one batch, a row for each (beams: several), with their key-value cache."""

    can_join: bool  # whether prompts may be added while rows of other prompts are there

    def cache_size(self, prompts: Sequence[EncodedPrompt], beams: int, max_new_tokens: int) -> int:
        """Cache positions needed for the rows that are there and for new prompts with `beams` rows per branch."""
        ...

    def prefill(self, prompts: Sequence[EncodedPrompt], beams: int) -> torch.Tensor:
        """Append a row for every branch, with room for `beams` rows of each; their logits (new rows, vocabulary)."""
        ...

    def prefill_chunked(
        self, prompt: EncodedPrompt, beams: int, kept: KeptPrefix | None = None
    ) -> Iterator[torch.Tensor | None]:
        """Prefill one prompt a chunk at a time: yields None after each chunk, and at last the logits as `prefill`.

        `step` may be called between two chunks. Where `can_join` is False, the prompt is one chunk. A decoder over
        shared prefixes computes no keys that are `kept`, and keeps those of the prompt's prefix there.
        """
        ...

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to every row; the logits that follow (rows, vocabulary)."""
        ...

    def reorder(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order. A row that occurs several times is forked, as beam search does."""
        ...


@runtime_checkable
class HoldingDecoder(Decoder, Protocol):
    """A Decoder that can keep the keys and values of a prefix for further branches after its rows have ended."""

    def hold(self, row: int, tokens: int) -> HeldPrefix:
        """Hold a row's prefix, which is its first `tokens` tokens, until it is released."""
        ...

    def release(self, held: HeldPrefix) -> None:
        """Free a prefix that `hold` kept."""
        ...

    def held_size(self, prompts: Sequence[EncodedPrompt]) -> int:
        """Cache positions that `prefill_held` takes while it computes the branches of these prompts."""
        ...

    def prefill_held(self, held: Sequence[HeldPrefix], prompts: Sequence[EncodedPrompt]) -> torch.Tensor:
        """The logits (branches, vocabulary) behind every branch of prompts whose prefixes are held.

        Only the branches are computed, and nothing of them is kept.
        """
        ...

    def read(self, prompt: EncodedPrompt, layer: int, held: HeldPrefix | None) -> torch.Tensor:
        """The hidden states (tokens, hidden) behind a layer of a prompt's one branch; nothing of it is kept.

        Where the prefix is not `held`, it is computed again.
        """
        ...
