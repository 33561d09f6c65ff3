"""An index of a dialogue, built once, against which many summaries are checked."""

import math
from collections.abc import Iterable
from functools import cached_property

from rolesum.checks.facts import DialogueFacts, dialogue_facts
from rolesum.checks.names import dialogue_words
from rolesum.checks.subject import SubjectFinder
from rolesum.checks.words import content_ngrams, tokenize
from rolesum.dialogue import Dialogue


class DialogueIndex:
    """The n-grams, facts, roles and tokens of a dialogue; each is computed on first use."""

    def __init__(self, dialogue: Dialogue) -> None:
        self.dialogue = dialogue
        self.language = dialogue.language

    @cached_property
    def text(self) -> str:
        """The dialogue with its speakers' labels, a turn a line."""
        return "\n".join(f"{turn.speaker}: {turn.text}" for turn in self.dialogue.turns)

    @cached_property
    def facts(self) -> DialogueFacts:
        return dialogue_facts(self.text, self.language)

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        return dialogue_words(self.text)

    @cached_property
    def subjects(self) -> SubjectFinder:
        return SubjectFinder(self.dialogue)

    @cached_property
    def turn_ngrams(self) -> list[frozenset[str]]:
        """The n-grams of each turn; its speaker's label counts where it is a person's name."""
        return [
            frozenset(content_ngrams(self._with_name(turn.speaker) + turn.text, self.language))
            for turn in self.dialogue.turns
        ]

    @cached_property
    def turns_by_ngram(self) -> dict[str, list[int]]:
        """N-gram -> the places of the turns that hold it."""
        found: dict[str, list[int]] = {}
        for place, grams in enumerate(self.turn_ngrams):
            for gram in grams:
                found.setdefault(gram, []).append(place)
        return found

    @cached_property
    def _weights(self) -> dict[str, float]:
        return {gram: math.log(1 + len(self.turn_ngrams) / len(places)) for gram, places in self.turns_by_ngram.items()}

    def weight(self, gram: str) -> float:
        """Inverse document frequency of an n-gram within the dialogue: log(1 + turns / turns that hold it)."""
        return self._weights.get(gram) or math.log(1 + max(1, len(self.turn_ngrams)))

    def covered_share(self, grams: Iterable[str], places: set[int]) -> float:
        """The weighted share of `grams`, 0 to 1, that stand in the turns at `places`."""
        weights = {gram: self.weight(gram) for gram in grams}
        held = sum(
            weight for gram, weight in weights.items() if not places.isdisjoint(self.turns_by_ngram.get(gram, ()))
        )
        return held / sum(weights.values()) if weights else 0.0

    @cached_property
    def turns_by_role(self) -> dict[str, set[int]]:
        """Role -> the places of the turns of those who play it."""
        found: dict[str, set[int]] = {}
        for place, turn in enumerate(self.dialogue.turns):
            if role := self.dialogue.roles.get(turn.speaker):
                found.setdefault(role, set()).add(place)
        return found

    @cached_property
    def tokens(self) -> list[str]:
        return tokenize(self.text, self.language)

    @cached_property
    def token_characters(self) -> dict[str, str]:
        """Token -> a character of its own, so that runs of tokens can be looked for as substrings."""
        return {token: chr(0x100 + place) for place, token in enumerate(dict.fromkeys(self.tokens))}

    @cached_property
    def token_string(self) -> str:
        """The dialogue's tokens as such characters; turns are parted, so that no run crosses them."""
        lines = (tokenize(line, self.language) for line in self.text.split("\n"))
        return "\n".join("".join(self.token_characters[token] for token in line) for line in lines)

    def _with_name(self, label: str) -> str:
        return f"{label} " if self.language == "en" and label not in self.dialogue.roles else ""
