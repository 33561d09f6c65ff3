"""Phone numbers as people write them in China, North America, Europe and elsewhere, and what two forms of one share.

With separators or a country code the form decides, or the numbering plan of a country (phonenumbers). A bare run of
digits may be an order number: it counts only if it has the 11 digits and the beginning of a number in China or Britain,
or if a word beside it announces a phone number.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

import phonenumbers

from rolesum.redaction.plain import lower

# Not behind a letter, an amount's sign, #, a decimal point, or inside a longer code such as a UUID.
_LEFT, _RIGHT = r"(?<![A-Za-z0-9$€£¥#])(?<![\w-]-)(?<!\d[.,])", r"(?!(?![xX]\d{1,6}(?![A-Za-z0-9]))[A-Za-z0-9]|[.,]\d)"

_SEPARATOR = r"(?:[ .]| ?[()/-]{1,2} ?)?"

_FORMS = tuple(
    re.compile(_LEFT + form + _RIGHT, re.A)
    for form in (
        # China: mobile, also 138-0013-8000; landline with its area code; 400 and 800 numbers
        r"(?:(?:\+|00)?86[ -]?)?1[3-9]\d([ .-]?)\d{4}\1\d{4}",
        r"(?:(?:\+|00)?86[ -]?)?1[3-9]\d[ -]\d{3}[ -]\d{5}",
        r"(?:\+?86[ -]?)?(?:\(0(?:10|2\d|[3-9]\d\d)\) ?|0(?:10|2\d|[3-9]\d\d)[ -])\d{3,4}[ -]?\d{4}(?:-\d{1,6})?",
        r"[48]00[ -]\d{3}[ -]?\d{4}|[48]00[ -]\d{4}[ -]?\d{3}",
        # With a country code: +44 20 7946 0018, +49 (0)30 1234567
        r"\+[1-9](?:" + _SEPARATOR + r"\d){7,14}",
        # North America: (212) 555-0123, 212-555-0123, 1.212.555.0123, 212/555-0123
        r"(?:1[ .-])?(?:\([2-9]\d\d\)[ -]?|[2-9]\d\d([ ./-]))[2-9]\d\d[ .-]\d{4}",
        # Britain: 07700 900123, 020 7946 0018, (0161) 496 0018; and 11 digits behind a zero, as also in Nigeria
        r"(?:\(0[1-9]\d{1,3}\) ?|0[1-9]\d{1,3}[ -])\d{3,4}[ -]?\d{3,4}",
        r"0[1-9]\d{9}",
        # France, Belgium: 06 12 34 56 78; Germany, Italy, the Netherlands: 0151 23456789, 030/1234567, 06-12345678
        r"0[1-9](?:[ .-]\d\d){4}",
        r"0[1-9]\d{0,4}[ /-]\d{5,9}",
        # Italian mobiles: 347 123 4567, 347 1234567; Indian ones: 98765 43210
        r"3[2-9]\d[ .-]\d{3}[ .-]?\d{4}|[6-9]\d{4}[ -]\d{5}",
        # Spain, Poland: 612 345 678, but not an amount
        r"(?<!\d[ -])[1-9]\d\d([ -])\d{3}\1\d{3}(?! ?[$€£¥元%]|[ -]\d)",
    )
)

# Digits with separators that begin as a number with its area code does: behind a zero, in parentheses, Russia's 8.
_WITH_AREA = re.compile(
    _LEFT + r"(?<!\d[ -])(?:\((?=\d{1,5}\))|(?=0)|8 ?\((?=\d{3}\)))\d(?:" + _SEPARATOR + r"\d){7,14}" + _RIGHT, re.A
)
_WITH_EXIT_CODE = re.compile(_LEFT + r"(?<!\d[ -])00[1-9](?:" + _SEPARATOR + r"\d){8,13}" + _RIGHT, re.A)
_DATE = re.compile(
    r"(?<!\d)(?:\d{1,2}[./-]\d{1,2}[./-](?:19|20)?\d\d|(?:19|20)\d\d[./-]?(?:0?[1-9]|1[0-2])[./-]?(?:0?[1-9]|[12]\d"
    r"|3[01]))(?!\d)"
)
_REGIONS = (
    "GB DE FR IT CH AT NL BE ES PL PT IE SE FI DK NO CZ HU RO GR BG HR SK SI UA RU TR IL ZA AU NZ JP KR IN BR MX EG NG"
)

# Words before a phone number that looks like an order number; _GAP excludes the words before an order number.
_CUE = (
    r"(?:(?<![a-z])(?:phone|telephone|mobile|cell|cellphone|landline|tel|tlf|gsm|ph|fax|call|calling|called|text"
    r"|ring|dial|whatsapp"
    r"|wechat|contact|(?:phone|mobile|cell|contact|home|work|office) (?:number|no|nr)|(?:my|the|his|her|our|their"
    r"|this|alternate|registered|callback|council) (?:new |old |other )?(?:number|nr|no|line)(?:'s)?(?! of )"
    r"|reach (?:me|us|him|her|them)|number is|handynummer|handy|telefon|telefonnummer|mobil|mobilnummer|rufnummer"
    r"|rückrufnummer|rückruf|festnetz|anrufen|erreichbar|erreichen|ruf(?:en)?|durchwahl"
    r"|téléphone|portable|teléfono|móvil|telefono|cellulare|telefoon)(?![a-z])"
    r"|电话|電話|手机|手機|手机号|座机|联系方式|聯絡|联系号码|拨打|请打|热线|打给|致电|回电|微信)"
)
_GAP = r"(?:(?!order|account|bestell|kunden|auftrag|订单|单号|编号|账号|帐号|#|[$€£¥?!？！。])[^\d+]){0,28}?"
_BARE = r"\+?\(?\d(?:" + _SEPARATOR + r"\d){6,14}"
_AFTER_CUE = re.compile(rf"{_CUE}{_GAP}(?<![\d.])({_BARE}){_RIGHT}", re.A)
_BEFORE_CUE = re.compile(
    rf"{_LEFT}({_BARE})[,，)]? ?(?:(?:(?:is|was|that'?s|that is|ist|=|是|为) ?(?:my|our|his|her|their|the|meine|unsere"
    rf"|我的?|他的?|她的?)?|我的)"
    r" ?(?:\w{1,10} )?(?:phone|cell|mobile|number|landline|nummer|handynummer|telefonnummer|电话|手机|号码)"
    r"|\((?:cell|mobile|home|work|office|tel|phone|handy|mobil|手机)\))",
    re.A,
)
CUE = re.compile(_CUE)
ANSWER = re.compile(rf"(?<![\w.$€£¥#-])({_BARE}){_RIGHT}", re.A)

_DIALED_ON = re.compile(r",? ?(?:ext\.?|extension|x|durchwahl|转|分机) ?\d{1,6}(?![A-Za-z0-9])", re.I | re.A)
_AFTER_NUMBER = re.compile(r",? ?(?:[A-Za-z]|转|分机).*$")
_PUBLIC = re.compile(
    r"(?:https?:|www\.)\S*$|(?:(?<![a-z])(?:product|item|model|part|article|sku|artikel-?|produkt-?|modell-?)(?: ?"
    r"(?:number|no\.?|nr\.?"
    r"|nummer|id|code|#))?|商品(?:id|编号|号|编码)?|产品(?:id|编号|号|编码)?|货号|型号|款号)[\s:：#=]{0,3}(?:(?:is|ist|是|为)[\s:：]?)?$",
    re.I,
)

# Digits of the shortest and the longest number (E.164: 15, and a prefix).
_FEWEST, _MOST = 9, 17
_EXTENSION = re.compile(r"((?:\+?86[ -]?)?\(?0?\d{2,3}\)?[ -]?\d{7,8})-(\d{1,6})")
_FEWEST_NATIONAL = 5  # digits behind a country code
_PREFIX_DIGITS = 7  # of what is left where a country code or a zero is taken off


def find_phones(text: str) -> Iterator[tuple[int, int]]:
    """The spans of phone numbers, with their extensions; they may overlap."""
    for start, end in _find(text):
        extended = _DIALED_ON.match(text, end)
        yield start, extended.end() if extended else end


def _find(text: str) -> Iterator[tuple[int, int]]:
    for form in _FORMS:
        for found in form.finditer(text):
            if _FEWEST <= sum(letter.isdigit() for letter in found[0]) <= _MOST:
                yield found.start(), found.end() - _decimals(found[0])
    for found in _WITH_AREA.finditer(text):
        if _is_in_a_plan(found[0]):
            yield found.start(), found.end() - _decimals(found[0])
    for found in _WITH_EXIT_CODE.finditer(text):
        if _national("+" + re.sub(r"\D", "", found[0])[2:]):
            yield found.span()
    low = lower(text)
    for found in (*_AFTER_CUE.finditer(low), *_BEFORE_CUE.finditer(low)):
        if not _DATE.search(found[1]) and not is_public(text, found.start(1)):
            yield found.start(1), found.end(1) - _decimals(found[1])


def is_public(text: str, start: int) -> bool:
    """Whether the number that begins there is said to be a product's, or is a part of a link."""
    return _PUBLIC.search(text[max(0, start - 60) : start]) is not None


def _decimals(number: str) -> int:
    """How many characters at the end of a number follow the only point in it: "01723 500693.12"."""
    found = re.fullmatch(r"[^.]*\d\d(\.\d{1,2})", number)
    return len(found[1]) if found else 0


def _is_in_a_plan(number: str) -> bool:
    """Whether some country gives out a number of this form, which has separators and is no date."""
    digits = re.sub(r"\D", "", number)
    if len(digits) == len(number) or len(digits) < _FEWEST or _DATE.search(number):
        return False
    return any(_is_valid(digits, region) for region in _REGIONS.split())


@lru_cache(maxsize=4096)
def _is_valid(digits: str, region: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(digits, region))
    except phonenumbers.NumberParseException:
        return False


@lru_cache(maxsize=4096)
def _national(number: str) -> str:
    """The national number of one with its country code, without leading zeros; empty if no country has it."""
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return ""
    return str(parsed.national_number) if phonenumbers.is_possible_number(parsed) else ""


def national_digits(number: str) -> str:
    """The digits that all forms of a phone number share: no country code, no zero before the area."""
    number = _AFTER_NUMBER.sub("", number)
    found = _EXTENSION.fullmatch(number)
    extension = found[2] if found else ""
    digits = re.sub(r"\D", "", found[1] if found else number)
    international = ""
    if number.lstrip("( ").startswith("+"):
        international = digits
    elif digits.startswith("00"):
        international = digits[2:]
    elif re.fullmatch(r"861[3-9]\d{9}|1[2-9]\d\d[2-9]\d{6}", digits) and not re.fullmatch(r"1[3-9]\d{9}", number):
        international = digits
    national = _national("+" + international) if international else ""
    short = national or digits.lstrip("0")
    return (short if len(short) >= (_FEWEST_NATIONAL if national else _PREFIX_DIGITS) else digits) + extension


def shorter_forms(number: str) -> tuple[str, ...]:
    """Digits by which a phone number is told too: without what may be a country code; without its area code."""
    digits = re.sub(r"\D", "", _AFTER_NUMBER.sub("", number))
    forms = [digits, digits.lstrip("0"), f"0{national_digits(number)}"]
    if len(digits) >= 11:
        forms.append(_national("+" + digits))
    if len(digits) == 11 and digits[0] == "1":
        forms.append(digits[1:])
    return tuple(dict.fromkeys(form for form in forms if len(form) >= _PREFIX_DIGITS))


def local_forms(number: str) -> tuple[str, ...]:
    """Digits of a phone number without its area code, as far as its groups show where that ends."""
    groups = re.findall(r"\d+", _AFTER_NUMBER.sub("", number))
    forms = ["".join(groups[place:]) for place in range(1, len(groups))]
    if len(national := national_digits(number)) == 10 and len(groups) == 1:
        forms.append(national[3:])
    return tuple(dict.fromkeys(form for form in forms if len(form) >= _PREFIX_DIGITS))
