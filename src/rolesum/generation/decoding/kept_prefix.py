"""The keys and values of a dialogue's prefix, kept from one request to the next: a new turn costs its own tokens only.

A token's keys depend on the tokens before it alone. So of a dialogue that has grown, the keys of all tokens up to the
first that differs are those that were computed before, whatever follows. They are kept outside of the blocks of the
cache, which come and go with their rows, and are copied into a new block: that costs a pass over their bytes, while
computing them costs a pass over the model's weights for every few hundred of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import torch

from rolesum.generation.decoding.kv_cache import KVBlock


@dataclass(frozen=True, slots=True)
class _States:
    """The ids of a prefix, and of each layer its keys and values (key heads, tokens, head size)."""

    ids: Sequence[int]
    layers: Sequence[Sequence[torch.Tensor]]


@dataclass(slots=True)
class KeptPrefix:
    """The prefix of the latest request that was given this object; of that request's dialogue the next one goes on.

    One thread generates with it. `drop` may be called from any, at any time: keys that were dropped are computed again.

    Attributes:
        computed: Tokens of the latest request's prefix that had to be computed.
        reused: Tokens of the latest request's prefix whose keys were there.
    """

    computed: int = 0
    reused: int = 0
    _states: _States | None = field(default=None, repr=False)

    def matching(self, prefix: Sequence[int]) -> int:
        """How many tokens of a prefix, from its first, have their keys here."""
        return _matching(self._states, prefix)

    @property
    def num_bytes(self) -> int:
        """The memory that the keys and values take."""
        states = self._states
        return sum(one.nbytes for layer in states.layers for one in layer) if states else 0

    def drop(self) -> None:
        """Free the memory."""
        self._states = None

    def restore(self, block: KVBlock, prefix: Sequence[int]) -> int:
        """Write what matches a prefix into the first slot of a new block; returns for how many tokens."""
        states = self._states
        count = _matching(states, prefix)
        if states is not None and count:
            block.restore([[one[:, :count] for one in layer] for layer in states.layers])
        self.computed, self.reused = len(prefix) - count, count
        return count

    def take(self, block: KVBlock, prefix: Sequence[int]) -> None:
        """Keep the keys of a prefix, which lie in the first slot of a block, in place of those that are here."""
        self._states = _States(
            list(prefix), [[one[0, :, : len(prefix)].clone() for one in layer] for layer in block.layers]
        )


def _matching(states: _States | None, prefix: Sequence[int]) -> int:
    if states is None:
        return 0
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(states.ids, prefix, strict=False)))
