"""Finds personal data in one text, by patterns, check digits and the words before a value."""

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rolesum.redaction.addresses import find_addresses, find_han_addresses
from rolesum.redaction.announced_addresses import find_address_in_answer, find_announced_addresses
from rolesum.redaction.cues import FEWEST_ANNOUNCED, LATEST_ANSWER, find_announced, find_answer, find_secrets
from rolesum.redaction.dates import asks_birth, birth_in_answer, find_births
from rolesum.redaction.emails import find_emails
from rolesum.redaction.numbers import find_cards, find_iban_in_answer, find_identities
from rolesum.redaction.phones import find_phones
from rolesum.redaction.plain import PlainText, plain_text, spelled_out
from rolesum.redaction.plates import find_plate_in_answer, find_plates


class Span(NamedTuple):
    """A span of a text (character offsets), the kind of personal data in it, and the data in plain characters."""

    start: int
    end: int
    kind: str
    value: str = ""


NAME = "name"
# The kinds that can be masked; a placeholder begins with its kind: [EMAIL_1]. Of equal spans, the first kind counts.
KINDS = ("email", "card", "id", "secret", "plate", "order", "account", "phone", "ip", "login", "birth", "address", NAME)
PATTERN_KINDS = frozenset(KINDS) - {NAME}

_SHORTEST = 3  # characters of a value
_DIGIT = re.compile(r"\d", re.A)
_LOGIN = re.compile(r"(?<=://)[^\s/@:\[\]]+:[^\s/@\[\]]+@[^\s/?#\[\]]+")
_IPV4 = re.compile(r"(?<![\w.-])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w-]|\.\d)", re.A)
_VERSION = re.compile(r"(?:\bv|version|release|firmware|ios|版本)\W{0,2}$", re.I)
_MAC = re.compile(r"(?<![\w:-])[0-9A-Fa-f]{2}(?:([:-])[0-9A-Fa-f]{2})(?:\1[0-9A-Fa-f]{2}){4}(?![\w:-])", re.A)
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])", re.A)


def find_personal_data(text: str, kinds: frozenset[str], question: str = "") -> Iterator[Span]:
    """The spans of personal data of these `kinds` in a text; spans may overlap.

    `question` is the end of what was said before, which the text may answer: "Your account number?"
    """
    if len(text) < _SHORTEST:
        return
    plain = plain_text(text)
    spelled = spelled_out(text)
    for view in (plain, spelled) if spelled else (plain,):
        for start, end, kind in _find(view, question):
            if kind in kinds and end > start:
                yield Span(*view.span(start, end), kind, view.text[start:end])


def _find(view: PlainText, question: str) -> Iterator[tuple[int, int, str]]:
    text = view.text
    for kind, finder in _ALWAYS:
        yield from ((start, end, kind) for start, end in finder(text))
    yield from find_secrets(text)
    asked = plain_text(question).text
    if asked:
        for kind, in_answer in _ASKED:
            yield from ((start, end, kind) for start, end in in_answer(asked, text))
    digits = len(_DIGIT.findall(text))
    if not digits:  # as in most turns
        return
    for kind, finder, fewest in _WITH_DIGITS:
        if digits >= fewest:
            yield from ((start, end, kind) for start, end in finder(text))
    announced = list(find_announced(text)) if digits >= FEWEST_ANNOUNCED else []
    yield from announced
    if asked:
        answers = find_answer(asked, text)
        yield from (one for one in answers if not any(start < one[1] and one[0] < end for start, end, _ in announced))
        if asks_birth(asked):
            yield from ((start, end, "birth") for start, end in birth_in_answer(text, LATEST_ANSWER))


def _logins(text: str) -> Iterator[tuple[int, int]]:
    """User, password and host of a URL: a part of them would pass for an e-mail address."""
    yield from (found.span() for found in _LOGIN.finditer(text))


def _ip_addresses(text: str) -> Iterator[tuple[int, int]]:
    for found in _IPV4.finditer(text):
        if not _VERSION.search(text[max(0, found.start() - 10) : found.start()]):
            yield found.span()
    yield from (found.span() for found in _MAC.finditer(text))
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


_Finder = Callable[[str], Iterator[tuple[int, int]]]
_ALWAYS: tuple[tuple[str, _Finder], ...] = (
    ("email", find_emails),
    ("login", _logins),
    ("address", find_announced_addresses),
    ("address", find_han_addresses),
)
# Kind, and what finds it in a turn that answers the question before it.
_ASKED: tuple[tuple[str, Callable[[str, str], Iterator[tuple[int, int]]]], ...] = (
    ("address", find_address_in_answer),
    ("plate", find_plate_in_answer),
    ("id", find_iban_in_answer),
)
# Kind, finder, and the fewest digits that a text with such a value has.
_WITH_DIGITS: tuple[tuple[str, _Finder, int], ...] = (
    ("card", find_cards, 13),
    ("id", find_identities, 6),
    ("phone", find_phones, 7),
    ("plate", find_plates, 1),
    ("ip", _ip_addresses, 1),
    ("birth", find_births, 1),
    ("address", find_addresses, 1),
)
