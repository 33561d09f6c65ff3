"""The Engine protocol: what turns prompts into texts, whichever library does the work behind it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rolesum.instructions import Prompt, PromptLayout

DEFAULT_MAX_NEW_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Generation:
    """One text: `finish_reason` is "stop" where the model ended it, "length" where the limit did."""

    text: str
    tokens: int
    finish_reason: str


class Engine(Protocol):
    """Greedy texts for prompts. `layout` says how the engine's model wants its prompts written."""

    name: str
    layout: PromptLayout

    def generate(
        self, prompts: Sequence[Prompt], max_new_tokens: int, on_done: Callable[[int], None] | None = None
    ) -> list[list[Generation]]:
        """For each prompt, in order, one text per branch. `on_done` is told how many prompts were finished.

        Raises DataError, before any work is done, with all the prompts that do not fit the model.
        """
        ...
