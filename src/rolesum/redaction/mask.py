"""Replaces personal data with placeholders, one for each value of a dialogue, and restores the values."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rolesum.dialogue import Dialogue, RoleSummary, SummaryStatement
from rolesum.errors import UsageError, did_you_mean
from rolesum.redaction.everywhere import Mask, Masks, find_masks
from rolesum.redaction.find import KINDS, NAME
from rolesum.redaction.names import NameMatcher, names_in, words_of_descriptions
from rolesum.redaction.people import names_of_others
from rolesum.redaction.plain import plain_text
from rolesum.redaction.script import Script

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

    `values` has each value as it was first written, and is as private as the dialogue was. `taken` are placeholders
    that a speaker had typed, which stay.
    """

    dialogue: Dialogue
    values: Mapping[str, str]
    taken: frozenset[str]
    original: Dialogue

    def restore(self, text: str) -> Restored:
        """The text with every exactly written placeholder of this dialogue replaced by its value."""
        left = [
            found[0]
            for found in _LOOSE.finditer(text)
            if found[0] not in self.values and found[1].upper() not in self.taken
        ]
        return Restored(self.put_back(text), tuple(left))

    def restored_dialogue(self) -> Dialogue:
        """The original dialogue, with every value in the form in which it stood there."""
        return self.original

    def put_back(self, text: str) -> str:
        """The text of `restore`."""
        return PLACEHOLDER.sub(lambda found: self.values.get(found[0], found[0]), text)


def redact(
    dialogue: Dialogue,
    kinds: Iterable[str] = KINDS,
    *,
    names: Collection[str] = (),
    keep: Collection[str] = (),
    people: bool = False,
) -> Redacted:
    """The dialogue with placeholders such as [PHONE_1] in labels, texts, reference summaries and the meta.

    A value that is found anywhere is masked everywhere, in whatever form, with one placeholder. Names are `names` and
    the words of the speakers' labels, except role words (Customer, 客服 …). `keep` are labels that name no person, such
    as the aliases of custom roles. With `people`, names behind titles and words that introduce a name (Dr. Berg, "my
    friend Li", 名叫李雷) are masked too. The id stays: no prompt contains it.
    """
    chosen = frozenset(kinds)
    if unknown := chosen - set(KINDS):
        raise UsageError(f'cannot mask "{min(unknown)}"', fix=did_you_mean(min(unknown), KINDS))
    script = Script.of(dialogue)
    taken = frozenset(found[1].upper() for text in script.texts for found in _LOOSE.finditer(text))
    labels = {label: number for label, number in script.labels.items() if label not in set(keep)}
    others = _others(script) if people else []
    hidden = _names(list(labels), [*names, *others]) if NAME in chosen else ()
    words = words_of_descriptions(labels)
    while True:
        masks, same = find_masks(script, chosen, NameMatcher(hidden, words), PLACEHOLDER)
        rest = names_in([_unmasked(label, masks[number]) for label, number in labels.items()]) if NAME in chosen else []
        if not set(rest) - set(hidden):
            return _Placeholders(script, masks, same, taken).redacted(dialogue)
        hidden = (*hidden, *rest)  # what is left of a label beside a number that is masked in it


def _others(script: Script) -> list[str]:
    """The names of people that the turns introduce."""
    texts = [plain_text(PLACEHOLDER.sub(" ", script.texts[number])).text for number in script.turns]
    return names_of_others(texts, ["", *texts[:-1]] if texts else [])


def _unmasked(label: str, masks: Sequence[Mask]) -> str:
    for mask in masks:
        label = label[: mask.start] + " " * (mask.end - mask.start) + label[mask.end :]
    return plain_text(PLACEHOLDER.sub(" ", label)).text


def _names(speakers: Sequence[str], names: Collection[str]) -> tuple[str, ...]:
    """The names to mask: where a given name is a part of a label, the rest of the label is a name too."""
    labels = [plain_text(label).text for label in speakers]
    told, more = tuple(plain_text(name).text.strip() for name in names if name.strip()), True
    while more:
        matcher = NameMatcher(told)
        rest = names_in([_blanked(PLACEHOLDER.sub(" ", label), matcher) for label in labels])
        more = bool(set(rest) - set(told))
        told = tuple(dict.fromkeys((*told, *rest)))
    return told


def _blanked(label: str, matcher: NameMatcher) -> str:
    for start, end, _ in matcher.find(label):
        label = label[:start] + " " * (end - start) + label[end:]
    return label


def restore_summaries(
    summaries: Sequence[Sequence[RoleSummary]], redacted: Sequence[Redacted]
) -> tuple[list[list[RoleSummary]], int]:
    """The summaries of redacted dialogues with the values restored, and how many placeholders have no value."""
    left, out = 0, []
    for of_dialogue, one in zip(summaries, redacted, strict=True):
        left += sum(len(one.restore(summary.text).left) for summary in of_dialogue)
        out.append([_restored_summary(summary, one) for summary in of_dialogue])
    return out, left


def _restored_summary(summary: RoleSummary, redacted: Redacted) -> RoleSummary:
    """The summary with the values restored, and its statements where they then stand."""

    def place(before: int) -> int:
        return len(redacted.put_back(summary.text[:before]))  # statements end outside of placeholders

    def restored(statements: Sequence[SummaryStatement]) -> tuple[SummaryStatement, ...]:
        return tuple(
            replace(one, start=place(one.start), end=place(one.end), text=redacted.put_back(one.text))
            for one in statements
        )

    return replace(
        summary,
        text=redacted.put_back(summary.text),
        statements=restored(summary.statements),
        dropped=restored(summary.dropped),
        quotes=tuple(replace(one, start=place(one.start), end=place(one.end)) for one in summary.quotes),
    )


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


class _Placeholders:
    """Gives the values of a dialogue their placeholders, in the order of the dialogue, and writes them."""

    def __init__(self, script: Script, masks: Masks, same: Mapping[str, str], taken: frozenset[str]) -> None:
        self.script, self.masks, self.same, self.taken = script, masks, same, taken
        self.values: dict[str, str] = {}
        self._placeholders: dict[str, str] = {}
        self._numbers: Counter[str] = Counter()  # the last number used, by kind
        self._written: dict[str, tuple[int, str]] = {}  # value -> how it was first written, in full if anywhere
        for number in script.order():
            for mask in masks[number]:
                value = same[mask.key]
                rank = 0 if not mask.is_whole else 1 if mask.key != value else 2
                if rank > self._written.get(value, (-1, ""))[0]:
                    self._written[value] = rank, script.texts[number][mask.start : mask.end]

    def redacted(self, dialogue: Dialogue) -> Redacted:
        order = self.script.order()
        texts = dict(zip(order, map(self._text, order), strict=True))
        return Redacted(self.script.changed(dialogue, texts), self.values, self.taken, dialogue)

    def _text(self, number: int) -> str:
        text, pieces, at = self.script.texts[number], [], 0
        for mask in sorted(self.masks[number]):
            pieces += [text[at : mask.start], self._placeholder(mask)]
            at = mask.end
        return "".join((*pieces, text[at:]))

    def _placeholder(self, mask: Mask) -> str:
        value = self.same[mask.key]
        if value not in self._placeholders:
            kind = mask.kind.upper()
            number = self._numbers[kind] + 1
            while f"{kind}_{number}" in self.taken:
                number += 1
            self._numbers[kind] = number
            self._placeholders[value] = f"[{kind}_{number}]"
            self.values[f"[{kind}_{number}]"] = self._written[value][1]
        return self._placeholders[value]
