"""Card numbers, bank accounts and the numbers that states give to people, by their shapes and check digits.

Most checks are python-stdnum's. A number whose shape is common and whose check is weak, such as nine bare digits, is
left to the words before it (see cues.py).
"""

import re
from collections.abc import Callable, Iterator
from datetime import date

from stdnum import iban
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ch import ssn as ahv
from stdnum.ch import uid
from stdnum.cn import uscc
from stdnum.dk import cpr
from stdnum.es import dni, nie
from stdnum.eu import vat
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.se import personnummer

Spans = Iterator[tuple[int, int]]

# Groups of digits (the last may end in the X of a Chinese ID) with separators between them.
_GROUPS = re.compile(r"(?<![A-Za-z0-9])\d+(?:[ ,./_·-]{1,3}\d+)*[Xx]?(?![A-Za-z0-9])", re.A)
_SSN = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}([-.])(?!00)\d{2}\1(?!0000)\d{4}(?![\w-])", re.A)
_TOLD_SSN = re.compile(
    r"(?:(?<![a-z])ssn|social security)\D{0,24}?(?!000|666|9)(\d{3}[ -]?(?!00)\d{2}[ -]?(?!0000)\d{4})(?!\w)",
    re.I | re.A,
)
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ ._-]?[A-Z0-9]{4}){2,7}(?:[ ._-]?[A-Z0-9]{1,3})?(?![A-Za-z0-9])", re.A
)
_LOWER_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[a-z]{2}\d{2}(?:[ ._-]?[a-z0-9]{4}){2,7}(?:[ ._-]?[a-z0-9]{1,3})?(?![A-Za-z0-9])", re.A
)
# Behind the word, or as the answer to a question for an account, its check digits may be wrong. Groups behind the first
# have a digit, so that no word after the number is taken for one.
_ACCOUNT = r"[A-Z]{2}\d{2}[ ._-]?[A-Z0-9]{2,4}(?:[ ._-]?(?=[A-Z]{0,3}\d)[A-Z0-9]{1,4}){2,7}(?![A-Za-z0-9])"
_TOLD_IBAN = re.compile(
    r"(?<![A-Za-z])iban(?: (?:number|no\.?|nr\.?))?[^A-Za-z0-9\n]{0,4}(?:(?:is|ist|lautet|est"
    r"|es)[ :]{1,2})?[^A-Za-z0-9\n]{0,3}"
    rf"({_ACCOUNT})",
    re.I | re.A,
)
_IBAN_ASKED = re.compile(
    r"\biban\b|\b(?:which|what|bank|your) account\b|哪个账户|哪张卡|什么账户|哪个账号|收款账", re.I
)
_IBAN_ANSWER = re.compile(
    r"[^A-Za-z0-9]{0,3}(?:(?:it'?s|it is|sure|yes|to|iban|是|退到|打到)[ ,:：]{0,2}){0,3}"
    rf"({_ACCOUNT})",
    re.A,
)

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

_LEFT, _RIGHT = r"(?<![A-Za-z0-9])(?<!\d[.,/-])", r"(?![A-Za-z0-9]|[.,/-]\d)"


def _shape(pattern: str) -> re.Pattern[str]:
    return re.compile(_LEFT + pattern + _RIGHT, re.I | re.A)


def _always(_: str) -> bool:
    return True


# Shapes that are rare in other numbers, each with its check.
_SHAPES: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
    (_shape(r"756[ .-]?\d{4}[ .-]?\d{4}[ .-]?\d{2}"), ahv.is_valid),  # Swiss social insurance
    (_shape(r"CHE[ -]?\d{3}[ .]?\d{3}[ .]?\d{3}"), uid.is_valid),
    (_shape(r"[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]"), codicefiscale.is_valid),  # Italian tax code
    (_shape(r"[12][ .-]?\d\d[ .-]?\d\d[ .-]?(?:\d\d|2[AB])[ .-]?\d{3}[ .-]?\d{3}[ .-]?\d\d"), nir.is_valid),  # France
    (_shape(r"\d{8}[ -]?[A-Z]"), dni.is_valid),  # Spain
    (_shape(r"[XYZ][ -]?\d{7}[ -]?[A-Z]"), nie.is_valid),
    (_shape(r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]"), hetu.is_valid),  # Finland
    (_shape(r"(?:\d\d)?\d{6}[-+]\d{4}"), personnummer.is_valid),  # Sweden
    (_shape(r"\d{6}-\d{4}"), cpr.is_valid),  # Denmark
    (_shape(r"\d\d\.\d\d\.\d\d-\d{3}[.-]\d\d"), nn.is_valid),  # Belgium
    (_shape(r"\d{3}\.\d{3}\.\d{3}-\d\d"), cpf.is_valid),  # Brazil
    (_shape(r"[2-9]\d{3}([ -])\d{4}\1\d{4}"), aadhaar.is_valid),  # India
    # Britain's National Insurance, whose check is its letters
    (_shape(r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D]"), _always),
    (
        _shape(r"\d\d ?[0-3]\d[01]\d\d\d ?[A-Z] ?\d{3}"),
        _always,
    ),  # Germany's pension insurance: area, birth date, letter
    (
        _shape(
            r"(?:AT ?U|BE|BG|CY|CZ|DE|DK|EE|EL|ES|FI|FR|HR|HU|IE|IT|LT|LU|LV|MT|NL|PL|PT|RO|SE|SI|SK) ?[A-Z0-9]{8,12}"
        ),
        vat.is_valid,
    ),
    (_shape(r"[0-9A-HJ-NPQRTUWXY]{2}\d{6}[0-9A-HJ-NPQRTUWXY]{10}"), uscc.is_valid),  # Chinese companies
)


def find_cards(text: str) -> Spans:
    """The spans of card numbers."""
    yield from _numbers(text, range(13, 20), is_card)


def find_identities(text: str) -> Spans:
    """The spans of IBANs, and of the ID, tax and social insurance numbers of China, the US and much of Europe."""
    yield from _numbers(text, range(18, 19), is_resident_id)
    yield from (found.span() for found in _SSN.finditer(text))
    yield from (found.span(1) for found in _TOLD_SSN.finditer(text))
    for shape, is_one in _SHAPES:
        yield from (found.span() for found in shape.finditer(text) if is_one(found[0]))
    yield from (found.span(1) for found in _TOLD_IBAN.finditer(text) if _is_mostly_digits(found[1]))
    for found in (*_IBAN.finditer(text), *_LOWER_IBAN.finditer(text)):
        # Words in capitals may follow: the longest that ends where a group does, and checks
        ends = [place for place in range(found.end(), found.start(), -1) if not _is_joined(text[place : place + 1])]
        yield from ((found.start(), end) for end in ends[:12] if is_iban(text[found.start() : end]))


def _is_joined(letter: str) -> bool:
    """Whether a character goes on with a code before it: Chinese is written without spaces."""
    return letter.isascii() and letter.isalnum()


def find_iban_in_answer(question: str, answer: str) -> Spans:
    """The span of an account number in the form of an IBAN, at the start of an answer to a question for an account."""
    if _IBAN_ASKED.search(question[-120:]):
        found = _IBAN_ANSWER.match(answer)
        if found and _is_mostly_digits(found[1]):
            yield found.span(1)


def _is_mostly_digits(number: str) -> bool:
    """Whether an account number has the digits of an IBAN, and is not a row of words in capitals."""
    return sum(map(str.isdigit, number)) >= 10


def _numbers(text: str, lengths: range, is_one: Callable[[str], bool]) -> Spans:
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
                    end = ends[count + length]
                    if _is_grouped(text[start:end]) and not _is_decimal(text, start, end):
                        yield start, end


def _is_grouped(number: str) -> bool:
    """Whether the groups of a number may be those of one: dates and times have dots, slashes and short groups."""
    sizes = [len(group) for group in re.findall(r"[\dXx]+", number)]
    plain = re.fullmatch(r"[\dXx]+(?:[ -][\dXx]+)*", number) is not None
    return plain or min(sizes[:-1]) >= 3 or max(sizes) == 1


def _is_decimal(text: str, start: int, end: int) -> bool:
    """Whether a group of digits has a decimal point before or after it."""
    return text[start:end].isdigit() and (
        re.search(r"\d[.,]$", text[max(0, start - 2) : start]) is not None
        or re.match(r"[.,]\d", text[end : end + 2]) is not None
    )


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
    """Whether an account number has its country's form and the right check digits (ISO 13616)."""
    return iban.is_valid(re.sub(r"[ ._-]", "", number).upper(), check_country=False)
