"""Replaces personal data with placeholders, one for each value of a dialogue, and restores the values."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rolesum.dialogue import Dialogue, RoleSummary, Turn
from rolesum.errors import UsageError, did_you_mean
from rolesum.redaction.find import KINDS, NAME, Span, find_personal_data
from rolesum.redaction.names import NameMatcher, names_in, with_capitals

_WORDS = "|".join(kind.upper() for kind in KINDS)
PLACEHOLDER = re.compile(rf"(\[(?:{_WORDS})_[1-9]\d{{0,8}}\])", re.A)
# As a model may write a placeholder: without brackets, or in lower case.
_LOOSE = re.compile(rf"\[?(?<![A-Za-z0-9_])((?:{_WORDS})_\d+)(?![A-Za-z0-9_])\]?", re.I | re.A)
_LONGEST = 24  # characters of a placeholder


@dataclass(frozen=True, slots=True)
class Restored:
    """A text with the values restored.

    `left` lists the placeholders without a value, which a model made up or changed.
    """

    text: str
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Redacted:
    """A dialogue with placeholders, and the values that they replace.

    `values` is as private as the dialogue was. `taken` are placeholders that a speaker had typed, which stay.
    """

    dialogue: Dialogue
    values: Mapping[str, str]
    taken: frozenset[str] = frozenset()

    def restore(self, text: str) -> Restored:
        """The text with every exactly written placeholder of this dialogue replaced by its value."""
        left = [
            found[0]
            for found in _LOOSE.finditer(text)
            if found[0] not in self.values and found[1].upper() not in self.taken
        ]
        return Restored(self._put_back(text), tuple(left))

    def restored_dialogue(self) -> Dialogue:
        """The original dialogue: labels, texts and reference summaries."""
        return _changed(self.dialogue, self._put_back)

    def _put_back(self, text: str) -> str:
        return PLACEHOLDER.sub(lambda found: self.values.get(found[0], found[0]), text)


def redact(
    dialogue: Dialogue, kinds: Iterable[str] = KINDS, *, names: Collection[str] = (), keep: Collection[str] = ()
) -> Redacted:
    """The dialogue with placeholders such as [PHONE_1] in labels, texts and reference summaries.

    Names are `names` and the words of the speakers' labels, except role words (Customer, 客服 …). `keep` are labels
    that name no person, such as the aliases of custom roles. The id and the meta stay: no prompt contains them.
    """
    chosen = frozenset(kinds)
    if unknown := chosen - set(KINDS):
        raise UsageError(f'cannot mask "{min(unknown)}"', fix=did_you_mean(min(unknown), KINDS))
    kept = set(keep)
    labels = [label for label in dialogue.speakers() if label not in kept]
    texts = [text for turn in dialogue.turns for text in (turn.speaker, turn.text)]
    texts += [text for several in dialogue.summaries.values() for text in several]
    taken = frozenset(found[1].upper() for text in texts for found in _LOOSE.finditer(text))
    told, more = tuple(names), True
    while more:  # where a given name is a part of a label, the rest of the label is a name too
        mask = _Mask(chosen, with_capitals(told) if NAME in chosen else (), taken)
        rest = names_in([PLACEHOLDER.sub(" ", mask.text(label)) for label in labels]) if NAME in chosen else []
        more = bool(set(rest) - set(told))
        told += tuple(rest)
    mask = _Mask(chosen, mask.names, taken)  # numbers the placeholders in the order of the dialogue
    return Redacted(_changed(dialogue, mask.text), mask.values, taken)


def restore_summaries(
    summaries: Sequence[Sequence[RoleSummary]], redacted: Sequence[Redacted]
) -> tuple[list[list[RoleSummary]], int]:
    """The summaries of redacted dialogues with the values restored, and how many placeholders have no value."""
    left, out = 0, []
    for of_dialogue, one in zip(summaries, redacted, strict=True):
        restored = [one.restore(summary.text) for summary in of_dialogue]
        left += sum(len(each.left) for each in restored)
        out.append([replace(old, text=new.text) for old, new in zip(of_dialogue, restored, strict=True)])
    return out, left


@dataclass
class RestoringText:
    """Restores a streamed text: what may be the beginning of a placeholder is held back until its end."""

    redacted: Redacted
    _waiting: str = field(default="", init=False)

    def add(self, piece: str) -> str:
        """Take the next piece, and return the text that can be shown now."""
        text = self._waiting + piece
        opened = text.rfind("[")
        whole = opened < 0 or "]" in text[opened:] or len(text) - opened > _LONGEST
        ready, self._waiting = (text, "") if whole else (text[:opened], text[opened:])
        return self.redacted.restore(ready).text

    def end(self) -> str:
        """Return the text that is still held back."""
        rest, self._waiting = self._waiting, ""
        return self.redacted.restore(rest).text


@dataclass
class _Mask:
    """Assigns every value of a dialogue its placeholder."""

    kinds: frozenset[str]
    names: tuple[str, ...]
    taken: frozenset[str]
    values: dict[str, str] = field(default_factory=dict)
    _placeholders: dict[tuple[str, str], str] = field(default_factory=dict)
    _places: NameMatcher = field(init=False)
    _numbers: Counter[str] = field(default_factory=Counter)  # the last number used, by kind

    def __post_init__(self) -> None:
        self._places = NameMatcher(self.names)

    def text(self, text: str) -> str:
        """Mask until nothing more is found: a match that overlapped a longer one may remain beside its placeholder."""
        while True:
            parts = PLACEHOLDER.split(text)  # every second one is a placeholder, ours or typed by somebody
            masked = "".join(part if place % 2 else self._once(part) for place, part in enumerate(parts))
            if masked == text:
                return text
            text = masked

    def _once(self, text: str) -> str:
        spans = list(find_personal_data(text, self.kinds))
        spans += [Span(start, end, NAME) for start, end in self._places.find(text)]
        order = {kind: place for place, kind in enumerate(KINDS)}
        spans.sort(key=lambda span: (span.start - span.end, span.start, order[span.kind]))
        chosen: list[Span] = []
        covered = bytearray(len(text))
        for span in spans:  # the longest first: one that overlaps covers an end of this one
            if not (covered[span.start] or covered[span.end - 1]):
                chosen.append(span)
                covered[span.start : span.end] = b"\1" * (span.end - span.start)
        pieces, at = [], 0
        for span in sorted(chosen):
            pieces += [text[at : span.start], self._placeholder(span.kind, text[span.start : span.end])]
            at = span.end
        return "".join((*pieces, text[at:]))

    def _placeholder(self, kind: str, value: str) -> str:
        if (kind, value) not in self._placeholders:
            number = self._numbers[kind] + 1
            while f"[{kind.upper()}_{number}]" in self.values or f"{kind.upper()}_{number}" in self.taken:
                number += 1
            self._numbers[kind] = number
            self._placeholders[kind, value] = f"[{kind.upper()}_{number}]"
            self.values[f"[{kind.upper()}_{number}]"] = value
        return self._placeholders[kind, value]


def _changed(dialogue: Dialogue, change: Callable[[str], str]) -> Dialogue:
    turns = tuple(Turn(change(turn.speaker), change(turn.text)) for turn in dialogue.turns)
    roles = {change(label): role for label, role in dialogue.roles.items()}
    summaries = {role: tuple(map(change, texts)) for role, texts in dialogue.summaries.items()}
    return replace(dialogue, turns=turns, roles=roles, summaries=summaries)
