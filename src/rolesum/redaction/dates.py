"""Dates in the forms of English, German and Chinese texts, and those of them that are dates of birth."""

import re
from collections.abc import Iterator
from datetime import date

# The day that a date names: (year, month, day), with year 0 where it is not said. 3/4/1985 names two.
Days = frozenset[tuple[int, int, int]]

_MONTHS = (
    *(
        "jan(?:uary|uar)?|jänner",
        "feb(?:ruary|ruar)?",
        "mar(?:ch)?|märz|maerz|mär",
        "apr(?:il)?",
        "may|mai",
        "june?|juni",
    ),
    *("july?|juli", "aug(?:ust)?", "sept?(?:ember)?", "o[ck]t(?:ober)?", "nov(?:ember)?", "de[cz](?:ember)?"),
)
_MONTH = "(?:" + "|".join(_MONTHS) + r")\b\.?"
_DAY, _YEAR = r"(?:[12]\d|3[01]|0?[1-9])", r"(?:1[89]\d\d|20\d\d)"
_HAN_YEAR = r"(?:1[89]\d\d|20\d\d|\d\d)"
_FORMS = tuple(
    re.compile(rf"(?<![A-Za-z0-9_./-])(?<!\d,){form}(?![A-Za-z0-9_]|[/-]\d|\.\d)", re.I)
    for form in (
        rf"(?P<y>{_YEAR})(?P<sep>[-./ ])(?P<m>1[0-2]|0?[1-9])(?P=sep)(?P<d>{_DAY})",
        rf"(?P<a>{_DAY})(?P<sep>[-./ ]{{1,2}})(?P<b>{_DAY})(?P=sep)(?P<y>{_YEAR}|\d\d)",
        rf"(?P<d>{_DAY})(?:st|nd|rd|th|\.)?[ -]?(?:of )?(?P<name>{_MONTH})(?:,? ?-?(?P<y>{_YEAR}))?",
        rf"(?P<name>{_MONTH})[ -]?(?:the )?(?P<d>{_DAY})(?:st|nd|rd|th)?(?:,? ?(?P<y>{_YEAR}))?",
        rf"(?P<y>{_YEAR})(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])",
        r"(?P<a>0[1-9]|[12]\d|3[01])(?P<b>0[1-9]|[12]\d|3[01])(?P<y>19\d\d|20\d\d)",
    )
)
_HAN_FORM = re.compile(rf"(?:(?P<y>{_HAN_YEAR})年 ?)?(?P<m>1[0-2]|0?[1-9])月 ?(?P<d>{_DAY})[日号]?", re.A)
_SHORT_FORM = re.compile(
    rf"(?<![A-Za-z0-9_./-])(?<!\d,)(?P<a>{_DAY})[./](?P<b>{_DAY})\.?(?![A-Za-z0-9_]|[/-]\d|\.\d)", re.A
)

_WORDS = (
    r"(?:(?<![a-z])(?:born|birthday|birth ?date|date of birth|d\.?o\.?b\.?|b-day|bday|geboren|geb\.|geburtsdatum"
    r"|geburtstag|geburtsdaten"
    r"|date de naissance|née?|fecha de nacimiento|nacido|nacida|data di nascita|nato il|nata il|geboortedatum)(?![a-z])"
    r"|生日|出生日期|出生年月日?|出生于|出生)"
)
_WORDS_AFTER = r"(?:[,，]? ?(?:is|was) my (?:birthday|date of birth|birth date)|出生|生的|生人)"
_HINT = re.compile(f"{_WORDS}|{_WORDS_AFTER}", re.I)
_BORN = re.compile(
    _WORDS + r"(?:(?!party|parties|dinner|present|gift|cake|celebrat|feier|geschenk|聚会|派对|蛋糕|礼物|[?!？！。;]"
    r"|[.] )[^\d\n]){0,24}?$",
    re.I,
)
_BORN_AFTER = re.compile(_WORDS_AFTER, re.I)


def find_dates(text: str) -> Iterator[tuple[int, int, Days]]:
    """The spans of dates with the days that each may name; they may overlap."""
    for form in (*_FORMS, _HAN_FORM, _SHORT_FORM):
        for found in form.finditer(text):
            if days := _days(found):
                yield *found.span(), days


def find_births(text: str) -> Iterator[tuple[int, int]]:
    """The spans of the dates of birth."""
    if not _HINT.search(text):
        return
    for start, end, _ in find_dates(text):
        if _BORN.search(text[max(0, start - 60) : start]) or _BORN_AFTER.match(text[end : end + 24]):
            yield start, end


def asks_birth(question: str) -> bool:
    """Whether a turn ends with a question for a date of birth."""
    return any(_BORN.search(question[:end]) for end in (len(question), len(question.rstrip("?？!！。. "))))


def birth_in_answer(answer: str, latest: int) -> Iterator[tuple[int, int]]:
    """The span of the date near the start of an answer."""
    for start, end, _ in find_dates(answer):
        if start <= latest:
            yield start, end


def day_of(text: str) -> Days:
    """The days that a text, which is a date, may name."""
    return next((days for start, end, days in find_dates(text) if (start, end) == (0, len(text))), frozenset())


def digits_of(days: Days) -> Iterator[str]:
    """The ways to write days in eight digits."""
    for year, month, day in days:
        if year:
            yield from (f"{day:02}{month:02}{year}", f"{month:02}{day:02}{year}", f"{year}{month:02}{day:02}")


def is_same_day(one: Days, other: Days) -> bool:
    """Whether two dates may name one day; a date without a year is the same only as another without one."""
    return bool(one & other)


def _days(found: re.Match[str]) -> Days:
    group = found.groupdict()
    year = int(group.get("y") or 0)
    if 0 < year < 100:
        year += 1900 if year > 30 else 2000
    if group.get("name"):
        month = next(n for n, name in enumerate(_MONTHS, 1) if re.fullmatch(name, group["name"].rstrip("."), re.I))
        pairs = [(month, int(group["d"]))]
    elif group.get("a"):
        first, second = int(group["a"]), int(group["b"])
        pairs = [(second, first), (first, second)]
    else:
        pairs = [(int(group["m"]), int(group["d"]))]
    return frozenset((year, month, day) for month, day in pairs if _exists(year or 2000, month, day))


def _exists(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
