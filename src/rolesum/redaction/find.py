"""Finds personal data by patterns and check digits: phone, card and ID numbers, e-mail and IP addresses, logins.

Check digits are verified (Luhn, ISO 7064). A bare run of digits counts only after a word such as "call" or 电话: order
numbers, prices, dates and times stay.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from datetime import date
from typing import NamedTuple

from rolesum.redaction.phones import find_phones


class Span(NamedTuple):
    """A span of a text (character offsets) and the kind of personal data in it."""

    start: int
    end: int
    kind: str


# Full-width and typographic characters are read as plain ones: one for one, so that the offsets stay.
_PLAIN = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_PLAIN |= dict.fromkeys(map(ord, "‐‑‒–—―−"), "-") | dict.fromkeys(map(ord, "\u00a0\u2002\u2003\u2009\u202f\u3000"), " ")

_DIGIT = re.compile(r"\d", re.A)
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
_LOGIN = re.compile(r"(?<=://)[^\s/@:\[\]]+:[^\s/@\[\]]+@[^\s/?#\[\]]+")
_IPV4 = re.compile(r"(?<![\w.-])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w-]|\.\d)", re.A)
_VERSION = re.compile(r"(?:\bv|version|release|firmware|ios|版本)\W{0,2}$", re.I)
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])", re.A)

# Groups of digits (the last may end in the X of a Chinese ID) with single spaces or dashes between them.
_GROUPS = re.compile(r"(?<![A-Za-z0-9])(?<!\d\.)\d+(?:[ -]\d+)*[Xx]?(?![A-Za-z0-9]|\.\d)")
_SSN = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])", re.A)
_TOLD_SSN = re.compile(
    r"(?:(?<![a-z])ssn|social security)\D{0,24}?(?!000|666|9)(\d{3} ?(?!00)\d{2} ?(?!0000)\d{4})(?!\w)", re.I | re.A
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_LOWER_IBAN = re.compile(r"(?<![A-Za-z0-9])[a-z]{2}\d{2}[a-z0-9]{11,30}(?![A-Za-z0-9])")

# First digits of the card networks, with the lengths of their numbers.
_CARDS = (
    (re.compile(r"4"), (13, 16, 19)),  # Visa
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),  # Mastercard
    (re.compile(r"3[47]"), (15,)),  # American Express
    (re.compile(r"62|81"), (16, 17, 18, 19)),  # UnionPay
    (re.compile(r"6011|64[4-9]|65|352[89]|35[3-8]"), (16, 17, 18, 19)),  # Discover, JCB
    (re.compile(r"30[0-5]|36|38|39"), (14, 16, 19)),  # Diners Club
    (re.compile(r"50|5[6-8]|6[379]"), (16, 17, 18, 19)),  # Maestro
)
_CARD_STARTS = {
    length: re.compile("|".join(first.pattern for first, lengths in _CARDS if length in lengths))
    for length in sorted({length for _, lengths in _CARDS for length in lengths})
}

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = "10X98765432"


def find_personal_data(text: str, kinds: frozenset[str]) -> Iterator[Span]:
    """The spans of personal data of these `kinds` in a text; spans may overlap."""
    plain = text.translate(_PLAIN)
    has = {"@": "@" in plain, "digit": _DIGIT.search(plain) is not None}  # most turns have neither
    for kind, (finder, needs) in _FINDERS.items():
        if kind in kinds and has[needs]:
            yield from (Span(start, end, kind) for start, end in finder(plain))


def _emails(text: str) -> Iterator[tuple[int, int]]:
    yield from (found.span() for found in _EMAIL.finditer(text))


def _logins(text: str) -> Iterator[tuple[int, int]]:
    """User, password and host of a URL: a part of them would pass for an e-mail address."""
    yield from (found.span() for found in _LOGIN.finditer(text))


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    for found in _IPV4.finditer(text):
        if not _VERSION.search(text[max(0, found.start() - 10) : found.start()]):
            yield found.span()
    for found in _IPV6.finditer(text):
        if _is_ipv6(found[0]):
            yield found.span()


def _is_ipv6(text: str) -> bool:
    """Whether a text is an IPv6 address, and not a clock time or a C++ name such as 12::30 or a::b."""
    groups = [group for group in text.split(":") if group]
    if len(groups) < 2 or not re.search(r"\d", text) or (len(groups) < 3 and not re.search(r"[A-Fa-f]", text)):
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _cards(text: str) -> Iterator[tuple[int, int]]:
    yield from _numbers(text, range(13, 20), is_card)


def _identities(text: str) -> Iterator[tuple[int, int]]:
    """Chinese resident IDs, US social security numbers, IBANs."""
    yield from _numbers(text, range(18, 19), is_resident_id)
    yield from (found.span() for found in _SSN.finditer(text))
    yield from (found.span(1) for found in _TOLD_SSN.finditer(text))
    for found in (*_IBAN.finditer(text), *_LOWER_IBAN.finditer(text)):
        # Words in capitals may follow: the longest that ends where a group does, and checks
        ends = [place for place in range(found.end(), found.start(), -1) if not text[place : place + 1].isalnum()]
        yield from ((found.start(), end) for end in ends[:12] if is_iban(text[found.start() : end].replace(" ", "")))


def _numbers(text: str, lengths: range, is_one: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    """Spans of neighboring groups of digits that together have one of the lengths and pass the test."""
    for chain in _GROUPS.finditer(text):
        groups = [(chain.start() + one.start(), chain.start() + one.end()) for one in re.finditer(r"[\dXx]+", chain[0])]
        digits = "".join(text[start:end] for start, end in groups).upper()
        count, begins, ends = 0, list[tuple[int, int]](), dict[int, int]()
        for start, end in groups:  # by the number of digits before and up to its end
            begins.append((count, start))
            count += end - start
            ends[count] = end
        for count, start in begins:
            for length in lengths:
                if count + length in ends and is_one(digits[count : count + length]):
                    yield start, ends[count + length]


def is_card(digits: str) -> bool:
    """Whether a card network issues such numbers and the Luhn check digit is right (ISO/IEC 7812-1)."""
    if not (digits.isascii() and digits.isdigit()):
        return False
    starts = _CARD_STARTS.get(len(digits))
    if not (starts and starts.match(digits)):
        return False
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def is_resident_id(number: str) -> bool:
    """Whether an 18-character Chinese ID has a region, a date of birth and the right check character (GB 11643)."""
    if not re.fullmatch(r"[1-9]\d{16}[\dX]", number, re.A):
        return False
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_ID_WEIGHTS, number, strict=False))
    return 1880 <= born.year <= 2100 and _ID_CHECKS[total % 11] == number[17]


def is_iban(number: str) -> bool:
    """Whether an account number's check digits are right (ISO 13616)."""
    if not re.fullmatch(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}", number.upper(), re.A):
        return False
    turned = number[4:].upper() + number[:4].upper()
    return int("".join(str(int(letter, 36)) for letter in turned)) % 97 == 1


# Kind -> its finder, and what a text must contain for the finder to run.
_FINDERS: dict[str, tuple[Callable[[str], Iterator[tuple[int, int]]], str]] = {
    "email": (_emails, "@"),
    "card": (_cards, "digit"),
    "id": (_identities, "digit"),
    "phone": (find_phones, "digit"),
    "ip": (_addresses, "digit"),
    "login": (_logins, "@"),
}

PATTERN_KINDS = frozenset(_FINDERS)
NAME = "name"
# The kinds that can be masked; a placeholder begins with its kind: [EMAIL_1].
KINDS = (*_FINDERS, NAME)
