"""A dialogue made ready once, so that many summaries can be checked against it."""

import math
from collections.abc import Iterable
from functools import cached_property

from rolesum.checks.facts import Said, said
from rolesum.checks.names import dialogue_words
from rolesum.checks.subject import Leads
from rolesum.checks.words import content_grams, tokens_of
from rolesum.dialogue import Dialogue


class Prepared:
    """Turns as sets of n-grams, the weight of each n-gram, and the facts; each worked out when asked."""

    def __init__(self, dialogue: Dialogue) -> None:
        self.dialogue = dialogue
        self.language = dialogue.language

    @cached_property
    def text(self) -> str:
        """The dialogue with its speakers' labels, a turn a line."""
        return "\n".join(f"{turn.speaker}: {turn.text}" for turn in self.dialogue.turns)

    @cached_property
    def said(self) -> Said:
        return said(self.text, self.language)

    @cached_property
    def words(self) -> frozenset[str]:
        return dialogue_words(self.text)

    @cached_property
    def leads(self) -> Leads:
        return Leads(self.dialogue)

    @cached_property
    def turns(self) -> list[frozenset[str]]:
        """The n-grams of each turn; its speaker's label counts where it is a person's name."""
        return [
            frozenset(content_grams(self._with_name(turn.speaker) + turn.text, self.language))
            for turn in self.dialogue.turns
        ]

    @cached_property
    def holders(self) -> dict[str, list[int]]:
        """N-gram -> the places of the turns that hold it."""
        found: dict[str, list[int]] = {}
        for place, grams in enumerate(self.turns):
            for gram in grams:
                found.setdefault(gram, []).append(place)
        return found

    @cached_property
    def _weights(self) -> dict[str, float]:
        return {gram: math.log(1 + len(self.turns) / len(places)) for gram, places in self.holders.items()}

    def weight(self, gram: str) -> float:
        """Inverse document frequency of an n-gram within the dialogue: log(1 + turns / turns that hold it)."""
        return self._weights.get(gram) or math.log(1 + max(1, len(self.turns)))

    def share(self, grams: Iterable[str], places: set[int]) -> float:
        """The weighted share of `grams`, 0 to 1, that stand in the turns at `places`."""
        weights = {gram: self.weight(gram) for gram in grams}
        held = sum(weight for gram, weight in weights.items() if not places.isdisjoint(self.holders.get(gram, ())))
        return held / sum(weights.values()) if weights else 0.0

    @cached_property
    def places(self) -> dict[str, set[int]]:
        """Role -> the places of the turns of those who play it."""
        found: dict[str, set[int]] = {}
        for place, turn in enumerate(self.dialogue.turns):
            if role := self.dialogue.roles.get(turn.speaker):
                found.setdefault(role, set()).add(place)
        return found

    @cached_property
    def tokens(self) -> list[str]:
        return tokens_of(self.text, self.language)

    @cached_property
    def letters(self) -> dict[str, str]:
        """Token -> a character of its own, so that runs of tokens can be looked for as substrings."""
        return {token: chr(0x100 + place) for place, token in enumerate(dict.fromkeys(self.tokens))}

    @cached_property
    def spelt(self) -> str:
        """The dialogue's tokens as such characters; turns are parted, so that no run crosses them."""
        lines = (tokens_of(line, self.language) for line in self.text.split("\n"))
        return "\n".join("".join(self.letters[token] for token in line) for line in lines)

    def _with_name(self, label: str) -> str:
        return f"{label} " if self.language == "en" and label not in self.dialogue.roles else ""
