"""Collecting generated texts by prompt and branch, in whatever order they grow and end."""

from collections.abc import Callable, Sequence
from typing import Any

from rolesum.generation.engine import Generation, OnText
from rolesum.instructions import Prompt

# What a tokenizer decodes a character to of which some bytes are still missing.
REPLACEMENT_CHARACTER = "\ufffd"


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """What each token adds to the text of all; of a character in several tokens, the last one adds it.

    `tokenizer` is one of transformers. The space at the beginning of the text is left out.
    """
    found, text = list[str](), ""
    for end in range(1, len(ids) + 1):
        longer = str(tokenizer.decode(ids[:end], skip_special_tokens=True)).lstrip()
        is_open = longer.endswith(REPLACEMENT_CHARACTER) and end < len(ids)
        is_whole = longer.startswith(text) and not is_open
        found.append(longer[len(text) :] if is_whole else "")
        text = longer if is_whole else text
    return found


class IncrementalDetokenizer:
    """What is new of a text that grows, without the space around it and without incomplete characters."""

    def __init__(self) -> None:
        self._emitted = ""

    def update(self, text: str) -> str:
        """What `text` has beyond what was returned before; empty where that is not certain yet."""
        now = text.strip()
        if now.endswith(REPLACEMENT_CHARACTER) or not now.startswith(self._emitted):
            return ""
        added = now[len(self._emitted) :]
        self._emitted = now
        return added


class ResultCollector:
    """The texts of several prompts while they are generated, and the callbacks of one call of Engine.generate."""

    def __init__(
        self,
        prompts: Sequence[Prompt],
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
    ) -> None:
        self.on_done, self.on_text = on_done, on_text
        self._branches = [len(prompt.branches) for prompt in prompts]
        self._texts: list[dict[int, Generation]] = [{} for _ in prompts]
        self._growing: dict[tuple[int, int], IncrementalDetokenizer] = {}
        self._missing = sum(self._branches)

    def update(self, prompt: int, branch: int, text: str) -> None:
        """Call `on_text` with what is new of a branch's text, of which `text` is all so far."""
        if self.on_text:
            detokenizer = self._growing.setdefault((prompt, branch), IncrementalDetokenizer())
            if added := detokenizer.update(text):
                self.on_text(prompt, branch, added)

    def add(self, prompt: int, branch: int, generation: Generation) -> None:
        """Keep a finished text; with the last one of a prompt, call `on_done`."""
        self._texts[prompt][branch] = generation
        self._missing -= 1
        if self.on_done and self.has_all_of(prompt):
            self.on_done(1)

    def has_all_of(self, prompt: int) -> bool:
        """Whether all texts of a prompt are finished."""
        return len(self._texts[prompt]) == self._branches[prompt]

    @property
    def is_complete(self) -> bool:
        """Whether all texts of all prompts are finished."""
        return not self._missing

    def results(self) -> list[list[Generation]]:
        """The texts by prompt and branch, as Engine.generate returns them."""
        return [[texts[branch] for branch in sorted(texts)] for texts in self._texts]
