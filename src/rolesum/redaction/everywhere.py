"""Finds values in all the texts of a dialogue, and every form in which each of them stands there again."""

import re
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rolesum.redaction.dates import find_dates
from rolesum.redaction.find import KINDS, NAME, Span, find_personal_data
from rolesum.redaction.names import NameMatcher
from rolesum.redaction.plain import plain_text, spelled_out
from rolesum.redaction.script import Script
from rolesum.redaction.values import FormIndex, Forms, Match, Piece

_KIND_ORDER = {kind: place for place, kind in enumerate(KINDS)}
_SHORTEST = 4  # characters of a part that is searched although it has neither letters nor digits
_QUESTION = 160  # characters of the turn before that are read for a question


class Mask(NamedTuple):
    """A span of a text that is masked, and the value that stands there; whole, or a part of it."""

    start: int
    end: int
    key: str
    kind: str
    is_whole: bool


Masks = Sequence[Sequence[Mask]]


def find_masks(
    script: Script, kinds: frozenset[str], matcher: NameMatcher, placeholder: re.Pattern[str]
) -> tuple[Masks, Mapping[str, str]]:
    """The masks of each text, and value -> the value whose placeholder it gets.

    What `placeholder` matches stays. Texts are searched until nothing more is found: a value may show beside another.
    """
    search = _Search(script, kinds, matcher, placeholder)
    todo: Sequence[int] = range(len(script.texts))
    while todo:
        changed = search.mask(todo)
        todo = sorted(changed | {number + 1 for number in changed if search.may_answer(number + 1)})
    return search.masks, search.forms.groups()


class _Search:
    """The masks found so far, and the forms of their values."""

    def __init__(
        self, script: Script, kinds: frozenset[str], matcher: NameMatcher, placeholder: re.Pattern[str]
    ) -> None:
        self.script, self.kinds, self.matcher = script, kinds, matcher
        self.forms = Forms()
        self.masks: list[list[Mask]] = [[] for _ in script.texts]
        self.typed = [[found.span() for found in placeholder.finditer(text)] for text in script.texts]
        self.covered = [bytearray(len(text)) for text in script.texts]
        for covered, spans in zip(self.covered, self.typed, strict=True):
            for start, end in spans:
                covered[start:end] = b"\1" * (end - start)
        self.kind_of: dict[str, str] = {}

    def mask(self, numbers: Iterable[int]) -> set[int]:
        """Mask what is found in these texts, and its forms in all texts; returns the numbers of the changed texts.

        Of two finds that overlap, the longer one counts: a part of a known card number is no phone number.
        """
        found, is_new = list[Match](), False
        for number in numbers:
            for key, start, end, new in self._find(number):
                found.append((key, [(number, start, end)]))
                is_new |= new
        if is_new:
            found += self._find_forms()
        changed = set[int]()
        found = _without_chance(found)
        for key, places in sorted(found, key=lambda one: sum(start - end for _, start, end in one[1])):
            if not any(any(self.covered[number][start:end]) for number, start, end in places):
                for number, start, end in places:
                    self.covered[number][start:end] = b"\1" * (end - start)
                    insort(self.masks[number], Mask(start, end, key, self.kind_of[key], len(places) == 1))
                    changed.add(number)
        return changed

    def _find(self, number: int) -> Iterator[tuple[str, int, int, bool]]:
        """The values in the parts of a text that are not masked: value, span, and whether it is a new value."""
        text = self.script.texts[number]
        question = self._question(number)
        for start, end in self._parts(number):
            if end - start < _SHORTEST and not any(map(str.isalnum, text[start:end])):
                continue
            spans = list(find_personal_data(text[start:end], self.kinds, "" if start else question))
            spans += self._names(text[start:end])
            for span in _longest(spans, end - start):
                key, is_new = self.forms.add(span.kind, span.value)
                self.kind_of.setdefault(key, span.kind)
                yield key, start + span.start, start + span.end, is_new

    def _find_forms(self) -> Iterator[Match]:
        """Where the known values stand in all texts."""
        index = FormIndex(self.forms)
        for sequence in self.script.sequences():
            for spelled in (False, True):
                pieces = [piece for number in sequence for piece in self._pieces(number, spelled)]
                if not spelled or any(piece.is_spelled for piece in pieces):
                    yield from index.find(pieces)
        if self.forms.days:
            for number, text in enumerate(self.script.texts):
                for at, end in self._parts(number):
                    plain = plain_text(text[at:end])
                    for left, right, days in find_dates(plain.text):
                        if key := self.forms.day(days):
                            start, stop = plain.span(left, right)
                            yield key, [(number, at + start, at + stop)]

    def may_answer(self, number: int) -> bool:
        """Whether a text is a turn that begins with what may be an answer to the turn before it."""
        first = next(self._parts(number), (1, 1)) if number in self.script.turns else (1, 1)
        return first[0] == 0 and any(letter.isdigit() for letter in self.script.texts[number][: first[1]])

    def _parts(self, number: int) -> Iterator[tuple[int, int]]:
        """The spans of a text between what is masked and what somebody typed in a placeholder's form."""
        at = 0
        for start, end in sorted([*((mask.start, mask.end) for mask in self.masks[number]), *self.typed[number]]):
            if start > at:
                yield at, start
            at = end
        if at < len(self.script.texts[number]):
            yield at, len(self.script.texts[number])

    def _pieces(self, number: int, spelled: bool) -> Iterator[Piece]:
        text = self.script.texts[number]
        for start, end in self._parts(number):
            view = spelled_out(text[start:end]) if spelled else None
            read = view or plain_text(text[start:end])
            yield Piece(number, start, read.text, read.starts, read.ends, view is not None)

    def _question(self, number: int) -> str:
        """The end of the turn before, as far as it is not masked; the key of a string of the meta."""
        before = self.script.before(number)
        if before is None:
            return self.script.questions.get(number, "")
        text = self.script.texts[before]
        last = max(
            (end for _, end in [*((mask.start, mask.end) for mask in self.masks[before]), *self.typed[before]]),
            default=0,
        )
        return text[max(last, len(text) - _QUESTION) :]

    def _names(self, text: str) -> Iterator[Span]:
        plain = plain_text(text)
        for start, end, name in self.matcher.find(plain.text):
            yield Span(*plain.span(start, end), NAME, name)


def _without_chance(found: list[Match]) -> list[Match]:
    """The finds but for those in parts, one of which lies in the same value in full: +45 34 41 23 45, 34412345."""
    full = dict[tuple[str, int], list[tuple[int, int]]]()
    for key, places in found:
        if len(places) == 1:
            number, start, end = places[0]
            full.setdefault((key, number), []).append((start, end))
    return [
        (key, places)
        for key, places in found
        if len(places) == 1
        or not any(
            left < end and start < right for number, start, end in places for left, right in full.get((key, number), ())
        )
    ]


def _longest(spans: list[Span], length: int) -> list[Span]:
    """Spans that do not overlap: the longest first, so that one that overlaps covers an end of another."""
    spans.sort(key=lambda span: (span.start - span.end, span.start, _KIND_ORDER[span.kind]))
    chosen, covered = list[Span](), bytearray(length)
    for span in spans:
        if not (covered[span.start] or covered[span.end - 1]):
            chosen.append(span)
            covered[span.start : span.end] = b"\1" * (span.end - span.start)
    return sorted(chosen)
