"""What is one value in several forms, and where the forms of known values stand in a dialogue.

Numbers are compared by their digits, other values by their letters and digits. So 212-555-0123 is found again as
"2 1 2 5 5 5 0 1 2 3", +1 (212) 555.0123, in two turns, and behind other words.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rolesum.redaction import phones
from rolesum.redaction.addresses import normalized_address, street_of
from rolesum.redaction.dates import Days, day_of, digits_of
from rolesum.redaction.emails import normalized_email

_LONG = 7  # digits of a number that is also found where words stand between its digits
_LONGER = 9  # digits of a number that is also found inside a longer one
_SHORTEST, _SHORTEST_TEXT = 3, 4  # digits, letters and digits


def canonical(kind: str, value: str) -> str:
    """A key that is equal for the forms of one value; `value` is in plain characters."""
    if kind == "email":
        return normalized_email(value)
    if kind == "birth":
        return "born " + " ".join(f"{y}-{m}-{d}" for y, m, d in sorted(day_of(value)))
    if kind == "address":
        return "at " + normalized_address(value)
    if kind == "ip":
        return f"ip {_ip(value)}"
    if kind in ("login", "name"):
        return f"{kind} {value if kind == 'login' else ' '.join(value.lower().split())}"
    letters = letters_and_digits(value)
    if kind == "phone":
        return phones.national_digits(value)
    return letters if letters and (kind != "secret" or letters.isdigit()) else f"secret {value.casefold()}"


def _ip(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:  # the address of a network card
        return letters_and_digits(value)


def letters_and_digits(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())


@dataclass
class Forms:
    """The keys by which known values are found again: digits, or small letters and digits -> canonical value."""

    digits: dict[str, str] = field(default_factory=dict)
    weak: dict[str, str] = field(default_factory=dict)  # a part of a number, such as it is without its area code
    texts: dict[str, str] = field(default_factory=dict)
    days: dict[tuple[int, int, int], str] = field(default_factory=dict)
    _local: dict[str, set[str]] = field(
        default_factory=dict
    )  # a part of a number or address -> those that it may be of
    _known: dict[str, str] = field(default_factory=dict)  # canonical value -> its kind
    _same: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, value: str) -> tuple[str, bool]:
        """The canonical value, and whether it is new."""
        key = canonical(kind, value)
        if key in self._known:
            if kind == "phone":  # written in other groups
                self._add_phone(key, value)
            return key, False
        self._known[key] = kind
        if kind == "birth":
            self._add_day(key, day_of(value))
        elif kind == "address":
            self._add_text(normalized_address(value), key)
            self._local.setdefault("at " + normalized_address(street_of(value)), set()).add(key)
            self._add_text(letters_and_digits(street_of(value)), key)
            self._add_text(letters_and_digits(value), key)
        elif kind == "phone":
            self._add_phone(key, value)
        elif kind == "login":
            self._add_text(letters_and_digits(value), key)
            for part in value.rpartition("@")[0].split(":")[1:]:
                self._add_text(letters_and_digits(part), key)
        elif kind == "name":
            if " " in value or "-" in value:
                self._add_text(letters_and_digits(value), key)
        else:
            letters = letters_and_digits(value)
            self._add_text(letters, key)
            if kind == "id" and re.match(r"[a-z]{2}\d{2}[a-z0-9]{11}", letters):  # an IBAN: the account by itself
                self._add_text(letters[4:], key)
            if letters.isdigit():
                for form in phones.shorter_forms(letters) if len(letters) > 9 else ():
                    self._local.setdefault(form, set()).add(key)
        return key, True

    def _add_phone(self, key: str, value: str) -> None:
        self.digits.setdefault(key, key)
        for form in phones.shorter_forms(value):
            self.digits.setdefault(form, key)
            self._local.setdefault(form, set()).add(key)
        for form in phones.local_forms(value):
            self.weak.setdefault(form, key)
            self._local.setdefault(form, set()).add(key)

    def _add_day(self, key: str, days: Days) -> None:
        for day in days:
            self._union(self.days.setdefault(day, key), key)
        for form in digits_of(days):
            self.digits.setdefault(form, key)

    def _add_text(self, letters: str, key: str) -> None:
        if letters.isdigit() and letters.isascii():
            if len(letters) >= _SHORTEST:
                self.digits.setdefault(letters, key)
        elif len(letters) >= _SHORTEST_TEXT or (len(letters) == _SHORTEST and not letters.isalpha()):
            self.texts.setdefault(letters, key)

    def _union(self, one: str, other: str) -> None:
        first, second = self._root(one), self._root(other)
        if first != second:
            self._same[max(first, second, key=lambda key: (-len(key), key))] = min(
                first, second, key=lambda key: (-len(key), key)
            )

    def _root(self, key: str) -> str:
        while key in self._same:
            key = self._same[key]
        return key

    def phones(self) -> frozenset[str]:
        """The canonical values that are phone numbers."""
        return frozenset(key for key, kind in self._known.items() if kind == "phone")

    def day(self, days: Days) -> str | None:
        """The known date of birth that a date may be."""
        return next((self.days[day] for day in sorted(days) if day in self.days), None)

    def groups(self) -> Mapping[str, str]:
        """Canonical value -> the one that stands for all that are the same value, as with and without area code."""
        for form, wholes in self._local.items():
            others = {whole for whole in wholes if whole != form}
            if form in self._known and len({self._root(one) for one in others}) == 1:
                self._union(form, next(iter(others)))
        return {key: self._root(key) for key in self._known}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text that is not masked, in plain characters; `text` is the number of the text, `at` its offset."""

    text: int
    at: int
    plain: str
    starts: Sequence[int]
    ends: Sequence[int]
    is_spelled: bool = False


Place = tuple[int, int, int]  # number of the text, start, end
Match = tuple[str, list[Place]]  # a canonical value, and the fragments where it stands

# Between two digits or letters of one value.
_ADJACENT, _SEPARATED, _NEXT_TURN, _WORDS, _FAR = range(5)
_SEPARATORS = re.compile(r"[\s\-./\\()\[\]·•,，、_*|:：+~=#'\"@]{1,4}")
_LOOSE = re.compile(r"[\W_]{0,12}")
_WORDS_BETWEEN, _TURNS_BETWEEN = 40, 4
# What is dialed before a phone number: a country code, or 1 or 86 without a plus; a zero; the bracket before an area.
_PREFIX = re.compile(
    r"(?:(?:\+|(?<!\d)00) ?[1-9]\d{0,2}[ .()/-]{0,3}(?:\(?0\)?[ .()/-]{0,2})?|(?<![\d.,])(?:1|86)[ .-])?\(?(?:"
    r"(?<!\d)0[ .)/-]{0,2})?\(?$"
)


class FormIndex:
    """The forms of known values by their first characters, to be found in many texts."""

    def __init__(self, forms: Forms) -> None:
        weak = frozenset(forms.weak) - forms.digits.keys()
        self._digits = _Index({**forms.weak, **forms.digits}, weak, forms.phones())
        self._texts = _Index(forms.texts, frozenset(), frozenset())

    def find(self, sequence: Sequence[Piece]) -> Iterator[Match]:
        """Where the values stand in pieces that follow each other; a value may begin in one and end in a later one."""
        if self._digits.keys:
            yield from _Stream(sequence, is_text=False).find(self._digits)
        if self._texts.keys:
            yield from _Stream(sequence, is_text=True).find(self._texts)


class _Index:
    def __init__(self, keys: Mapping[str, str], weak: frozenset[str], phones: frozenset[str]) -> None:
        self.keys, self.weak, self.phones = keys, weak, phones
        self.shortest = min(map(len, keys), default=0)
        self.by_start: dict[str, dict[int, set[str]]] = {}
        for key in keys:
            self.by_start.setdefault(key[: self.shortest], {}).setdefault(len(key), set()).add(key)

    def at(self, text: str, place: int) -> Iterator[str]:
        """The keys that stand at a place of a text, the longest first."""
        if by_length := self.by_start.get(text[place : place + self.shortest]):
            for length in sorted(by_length, reverse=True):
                if (key := text[place : place + length]) in by_length[length]:
                    yield key


class _Stream:
    """The digits, or the letters and digits, of a sequence of pieces, with what stands between them."""

    def __init__(self, sequence: Sequence[Piece], *, is_text: bool) -> None:
        self.sequence, self.is_text = sequence, is_text
        self._gaps: dict[int, int] = {}
        pattern = re.compile(r"[^\W_]") if self.is_text else re.compile(r"\d", re.A)
        self.units = [(n, one.start()) for n, piece in enumerate(sequence) for one in pattern.finditer(piece.plain)]
        self.letters = "".join(_lower(sequence[n].plain[place]) for n, place in self.units)

    def find(self, index: _Index) -> Iterator[Match]:
        for at in range(len(self.letters) - index.shortest + 1):
            for key in index.at(self.letters, at):
                if self._is_one(at, at + len(key), key in index.weak):
                    yield index.keys[key], self._places(at, at + len(key), index.keys[key] in index.phones)

    def _gap(self, at: int) -> int:
        """What stands between the unit and the one before it."""
        if (known := self._gaps.get(at)) is None:
            known = self._gaps[at] = self._between(at)
        return known

    def _between(self, at: int) -> int:
        (before, end), (after, start) = self.units[at - 1], self.units[at]
        left, right = self.sequence[before], self.sequence[after]
        if before == after:
            between = left.plain[end + 1 : start]
            if not between:
                return _ADJACENT
            if _SEPARATORS.fullmatch(between):
                return _SEPARATED
            return _WORDS if len(between) <= _WORDS_BETWEEN else _FAR
        if left.text == right.text or right.text - left.text > 2 * _TURNS_BETWEEN:
            return _FAR
        tail, head = left.plain[end + 1 :], right.plain[:start]
        if _LOOSE.fullmatch(tail) and _LOOSE.fullmatch(head):
            return _NEXT_TURN
        return _WORDS if max(len(tail), len(head)) <= _WORDS_BETWEEN else _FAR

    def _is_one(self, start: int, end: int, is_weak: bool) -> bool:
        """Whether the units from `start` to `end` are one value, and not a part of something longer."""
        gaps = [self._gap(at) for at in range(start + 1, end)]
        length = end - start
        if self.is_text:
            return max(gaps, default=0) <= _NEXT_TURN and (self._is_bounded(start, end) or self._is_code(start, end))
        if length >= _LONG and not is_weak:
            whole = self._has_edges(start, end)
            return max(gaps) <= (_WORDS if whole else _SEPARATED if length >= _LONGER else -1)
        if max(gaps) > _NEXT_TURN or not self._has_edges(start, end):
            return False
        in_turn = [gap for gap in gaps if gap != _NEXT_TURN]
        uniform = len(set(in_turn)) <= 1
        return (uniform or length >= 6 or self._has_plain_gaps(start, end)) and self._stands_alone(start, end, length)

    def _has_edges(self, start: int, end: int) -> bool:
        """Whether no digit is joined to the first or the last one."""
        return (start == 0 or self._gap(start) != _ADJACENT) and (end == len(self.units) or self._gap(end) != _ADJACENT)

    def _has_plain_gaps(self, start: int, end: int) -> bool:
        """Whether a short number has spaces and dashes between its groups, and not the point of a price or a time."""
        for at in range(start + 1, end):
            (piece, left), (other, right) = self.units[at - 1], self.units[at]
            if piece == other and set(self.sequence[piece].plain[left + 1 : right]) - set(" -"):
                return False
        return True

    def _stands_alone(self, start: int, end: int, length: int) -> bool:
        """Whether a short number is no part of a word, a price, a time or a longer number with separators."""
        (first, left), (last, right) = self.units[start], self.units[end - 1]
        before, after = (
            self.sequence[first].plain[max(0, left - 2) : left],
            self.sequence[last].plain[right + 1 : right + 3],
        )
        if length < 6 and (re.search(r"[A-Za-z]$", before) or re.match(r"[A-Za-z]", after)):
            return False
        return not (re.search(r"\d[.,:/-]$", before) or re.match(r"[.,:/-]\d", after))

    def _is_bounded(self, start: int, end: int) -> bool:
        """Whether no letter or digit of the same word is joined to the first or the last one."""
        return all(
            at in (0, len(self.units))
            or self._gap(at) != _ADJACENT
            or _is_han(self.letters[at - 1])
            or _is_han(self.letters[at])
            for at in (start, end)
        )

    def _is_code(self, start: int, end: int) -> bool:
        """Whether this is a long code with digits, which cannot stand in a longer word by chance."""
        letters = self.letters[start:end]
        return (
            len(letters) >= _LONGER and sum(letter.isdigit() for letter in letters) >= 4 and self._has_edges(start, end)
        )

    def _places(self, start: int, end: int, is_phone: bool) -> list[Place]:
        """The fragments of the value: what stands between two digits is one of them where it is only separators."""
        places, at = list[Place](), start
        for place in range(start + 1, end + 1):
            if place < end and self._gap(place) <= _SEPARATED and self.units[place][0] == self.units[place - 1][0]:
                continue
            (number, left), (_, right) = self.units[at], self.units[place - 1]
            piece = self.sequence[number]
            if is_phone and at == start:
                before = _PREFIX.search(piece.plain[max(0, left - 14) : left])
                prefix = before[0] if before else ""
                if prefix.count("(") > (prefix + piece.plain[left:right]).count(")"):
                    prefix = prefix.rpartition("(")[2]
                left -= len(prefix)
            places.append((piece.text, piece.at + piece.starts[left], piece.at + piece.ends[right]))
            at = place
        return places


def _is_han(letter: str) -> bool:
    return "\u3400" <= letter <= "\u9fff"


def _lower(letter: str) -> str:
    low = letter.lower()
    return low if len(low) == 1 else letter
