"""The texts of a dialogue in which values are masked: labels, turns, references, statements, pairs, meta."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rolesum.dialogue import Dialogue


@dataclass(frozen=True, slots=True)
class Script:
    """The texts of a dialogue, each once, by number: labels, turns, summaries, statements, pairs, the meta's.

    `turns` are the numbers of the turns' texts, in order; `questions` are the words that announce a text of the meta.
    """

    texts: Sequence[str]
    labels: Mapping[str, int]
    turns: range
    summaries: Mapping[str, range]
    statements: range
    pairs: range  # the chosen and the rejected text of each
    meta: range
    questions: Mapping[int, str]
    speakers: Sequence[str]

    @classmethod
    def of(cls, dialogue: Dialogue) -> "Script":
        """The texts of a dialogue."""
        labels = dict.fromkeys([*dialogue.speakers(), *dialogue.roles])
        texts = [*labels, *(turn.text for turn in dialogue.turns)]
        summaries = dict[str, range]()
        for role, several in dialogue.summaries.items():
            summaries[role] = range(len(texts), len(texts) + len(several))
            texts += several
        statements = range(len(texts), len(texts) + len(dialogue.statements))
        texts += [statement.text for statement in dialogue.statements]
        pairs = range(len(texts), len(texts) + 2 * len(dialogue.pairs))
        texts += [text for pair in dialogue.pairs for text in (pair.chosen, pair.rejected)]
        strings = list(_strings(dialogue.meta, ""))
        first = len(texts)
        return cls(
            [*texts, *(text for _, text in strings)],
            {label: number for number, label in enumerate(labels)},
            range(len(labels), len(labels) + len(dialogue.turns)),
            summaries,
            statements,
            pairs,
            range(first, first + len(strings)),
            {first + place: f"{_words(key)}?" for place, (key, _) in enumerate(strings) if key},
            [turn.speaker for turn in dialogue.turns],
        )

    def order(self) -> list[int]:
        """The numbers of the texts as they are read: each speaker's label before the turn."""
        spoken = [
            number
            for label, turn in zip(self.speakers, self.turns, strict=True)
            for number in (self.labels[label], turn)
        ]
        return list(dict.fromkeys((*spoken, *range(len(self.texts)))))

    def sequences(self) -> Iterator[Sequence[int]]:
        """The numbers of texts that follow each other, in which a value may go on from one text to the next."""
        yield self.turns
        by_speaker: dict[str, list[int]] = {}
        for label, turn in zip(self.speakers, self.turns, strict=True):
            by_speaker.setdefault(label, []).append(turn)
        if len(by_speaker) > 1:
            yield from by_speaker.values()
        turns = set(self.turns)
        yield from ((number,) for number in range(len(self.texts)) if number not in turns)

    def before(self, number: int) -> int | None:
        """The number of the turn before this one."""
        return number - 1 if number in self.turns and number > self.turns.start else None

    def changed(self, dialogue: Dialogue, texts: Mapping[int, str]) -> Dialogue:
        """The dialogue with other texts, by number."""
        turns = tuple(
            replace(turn, speaker=texts[self.labels[turn.speaker]], text=texts[number])
            for turn, number in zip(dialogue.turns, self.turns, strict=True)
        )
        roles = {texts[self.labels[label]]: role for label, role in dialogue.roles.items()}
        summaries = {role: tuple(texts[number] for number in numbers) for role, numbers in self.summaries.items()}
        statements = tuple(
            replace(statement, text=texts[number])
            for statement, number in zip(dialogue.statements, self.statements, strict=True)
        )
        pairs = tuple(
            replace(pair, chosen=texts[number], rejected=texts[number + 1])
            for pair, number in zip(dialogue.pairs, self.pairs[::2], strict=True)
        )
        meta = _replaced(dialogue.meta, iter([texts[number] for number in self.meta]))
        return replace(
            dialogue, turns=turns, roles=roles, summaries=summaries, statements=statements, pairs=pairs, meta=meta
        )


def _strings(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """The strings in a value of the meta, each with its key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _strings(inner, str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner, key)


def _replaced(value: Any, strings: Iterator[str]) -> Any:
    """A value of the meta with other strings, in the same order."""
    if isinstance(value, str):
        return next(strings)
    if isinstance(value, Mapping):
        return {name: _replaced(inner, strings) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_replaced(inner, strings) for inner in value])
    return value


def _words(key: str) -> str:
    """A key such as orderNumber or phone_number as words."""
    return re.sub(r"[_\W]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key)).strip()
