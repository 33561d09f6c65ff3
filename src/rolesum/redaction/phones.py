"""Phone numbers as people write them in China, North America, Britain and the rest of Europe.

With separators or a country code the pattern decides. A bare run of digits may be an order number: it counts only if it
has the 11 digits and the beginning of a number in China or Britain, or if a word before it announces a phone number.
"""

import re
from collections.abc import Iterator

# Not behind a letter, an amount's sign, #, a decimal point, or inside a longer code such as a UUID.
_LEFT, _RIGHT = r"(?<![A-Za-z0-9$€£¥#])(?<![\w-]-)(?<!\d[.,])", r"(?![A-Za-z0-9]|[.,]\d)"

_FORMS = tuple(
    re.compile(_LEFT + form + _RIGHT, re.A)
    for form in (
        # China: mobile, also 138-0013-8000; landline with its area code; 400 and 800 numbers
        r"(?:(?:\+|00)?86[ -]?)?1[3-9]\d([ -]?)\d{4}\1\d{4}",
        r"(?:(?:\+|00)?86[ -]?)?1[3-9]\d[ -]\d{3}[ -]\d{5}",
        r"(?:\+?86[ -]?)?(?:\(0(?:10|2\d|[3-9]\d\d)\) ?|0(?:10|2\d|[3-9]\d\d)[ -])\d{3,4}[ -]?\d{4}(?:-\d{1,6})?",
        r"[48]00[ -]\d{3}[ -]?\d{4}|[48]00[ -]\d{4}[ -]?\d{3}",
        # With a country code: +44 20 7946 0018, +49 (0)30 1234567
        r"\+[1-9](?:[ .()/-]{0,2}\d){7,14}",
        # North America: (212) 555-0123, 212-555-0123, 1.212.555.0123
        r"(?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d([ .-]))[2-9]\d\d[ .-]\d{4}",
        # Britain: 07700 900123, 020 7946 0018, (0161) 496 0018; and 11 digits behind a zero, as also in Nigeria
        r"(?:\(0[1-9]\d{1,3}\) ?|0[1-9]\d{1,3}[ -])\d{3,4}[ -]?\d{3,4}",
        r"0[1-9]\d{9}",
        # France, Belgium: 06 12 34 56 78; Germany, Italy, the Netherlands: 0151 23456789, 030/1234567, 06-12345678
        r"0[1-9](?:[ .-]\d\d){4}",
        r"0[1-9]\d{0,4}[ /-]\d{5,9}",
        # Spain, Poland: 612 345 678, but not an amount
        r"(?<!\d[ -])[1-9]\d\d([ -])\d{3}\1\d{3}(?! ?[$€£¥元%]|[ -]\d)",
    )
)

# Words before a phone number that looks like an order number; _GAP excludes the words before an order number.
_CUE = (
    r"(?:(?<![a-z])(?:phone|telephone|mobile|cell|landline|tel|ph|fax|call|calling|called|text|ring|dial|whatsapp|contact"
    r"|my (?:\w+ )?(?:number|nr|line))(?![a-z])"
    r"|电话|手机|座机|联系方式|拨打|热线)"
)
_GAP = r"(?:(?!order|订单|单号|编号|#|[$€£¥?!？！。])[^\d+]){0,28}?"
_BARE = r"\d{3}[ .-]?\d{4}|\d{3}(?:[ .-]\d{3}){2}|\+?\d{9,12}"
_AFTER_CUE = re.compile(rf"{_CUE}{_GAP}(?<![\d.])({_BARE}){_RIGHT}", re.I | re.A)

# Digits of the shortest and the longest number (E.164: 15, and a prefix).
_FEWEST, _MOST = 9, 17


def find_phones(text: str) -> Iterator[tuple[int, int]]:
    """The spans of phone numbers; they may overlap."""
    for form in _FORMS:
        for found in form.finditer(text):
            if _FEWEST <= sum(letter.isdigit() for letter in found[0]) <= _MOST:
                yield found.span()
    for found in _AFTER_CUE.finditer(text):
        yield found.span(1)
