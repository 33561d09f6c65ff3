"""Dates and clock times as programs write them: any order, digits of any script, the words of any locale.

The words (PM, ÖS, 오후, ब.ظ, ч., Mär) are those of the Unicode CLDR, which babel brings. A time is known by its clock,
hours and minutes; a date alone is none. A time is located and kept as written: no file says whether 3/4 is in April.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from babel import Locale

# Marks of direction, and others without width, which exports put around dates and names.
MARKS = re.compile(r"[\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")

# The languages of WhatsApp and of other exporters, and some whose words their older versions used (ne, sa for hi).
LOCALES = (
    *("af", "am", "ar", "as", "az", "be", "bg", "bn", "bs", "ca", "cs", "cy", "da", "de"),
    *("el", "en", "en_AU", "es", "es_MX", "et", "eu", "fa", "ff", "fi", "fil", "fr", "fr_CA", "ga"),
    *("gl", "gu", "ha", "he", "hi", "hr", "hu", "hy", "id", "ig", "is", "it", "ja", "ka"),
    *("kk", "km", "kn", "ko", "ky", "lo", "lt", "lv", "mai", "mk", "ml", "mn", "mr", "ms"),
    *("my", "nb", "ne", "nl", "or", "pa", "pl", "ps", "pt", "pt_PT", "ro", "ru", "rw", "sa"),
    *("sd", "si", "sk", "sl", "so", "sq", "sr", "sr_Latn", "sv", "sw", "ta", "te", "th", "tk"),
    *("tr", "uk", "ur", "uz", "vi", "yo", "yue", "zh", "zh_Hant", "zu"),
)

_LONGEST = 90  # characters of a date with its time, or of a range
_DATE_TOKENS = 7  # of a date that names its month
_MOST_WORDS = 3  # of one part of the day, "de la tarde"

# No digits, no spaces and no signs: letters with their accents, and the dots of abbreviations.
_WORD = r"[^\d\s!-\-/:-@\[-`{-~،、，：·•|–—→（）【】]+"
_WORDS = re.compile(_WORD)
_SPACE = re.compile(r"[\s,،、，]{0,3}")
_AM_PM = re.compile(r"[ap]\.?\s?m\b\.?", re.IGNORECASE)

_NUMERIC_DATE = re.compile(r"\d{1,4}\s?[./-]\s?\d{1,2}(?:\s?[./-]\s?\d{1,4})?\.?(?![\d:])")
_CHARACTER_DATE = re.compile(r"(?:\d{2,4}\s?[年년]\s?)?\d{1,2}\s?[月월]\s?\d{1,2}\s?[日일]")
_DATE_TOKEN = re.compile(
    rf"(?:(?P<number>\d{{1,4}})(?!\d|\s?[:：])(?:\(\w+\))?|(?P<word>{_WORD}))(?P<behind>[\s.,،-]{{0,3}})"
)
_WEEKDAY = re.compile(rf"\(?(?P<name>{_WORD})\)?[\s,]+")
_GLUE = re.compile(rf"[\s,،(]{{0,3}}{_WORD}(?:\s{_WORD})?(?=\s?\d)")
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}[T_]\d{2}:?\d{2}(?::?\d{2})?(?:[.,]\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})?(?![\d:])")

_ZONE = r"(?:\s?Z\b|\s?[+-]\d{2}:?\d{2}\b|\s\(?(?:UTC|GMT|[A-Z]{2,4}T)(?:[+-]\d{1,2}(?::\d{2})?)?\b\)?)?"
_CLOCK = re.compile(
    rf"(?:\d{{1,4}}[:：]\d{{2}}(?:[:：]\d{{2}})?|\d{{1,2}}:\d{{1,2}}:\d{{1,2}}(?=\.\d))(?:[.,]\d{{1,6}})?(?!\d|[:：]\d){_ZONE}"
)
# Clocks that are clear only beside a date: 14.08, 22 h 01, 10時05分.
_DATED_CLOCK = re.compile(
    r"\d{1,2}\.\d{2}(?:\.\d{2})?(?![\d.])|"
    r"\d{1,2}\s?(?:h|[時时시])\s?\d{2}(?:\s?(?:[分분]|min\b)(?:\s?\d{2}\s?(?:[秒초]|s\b))?)?",
    re.IGNORECASE,
)
_ANY_CLOCK = re.compile(r"(?<![\d:])\d{1,2}[:：]\d{2}(?!\d)")
# Looked for first: the names of months take time to load.
_MAY_BE_DATE = re.compile(r"\(?[^\W\d]{0,12}\)?[.,،]?\s?(?:[^\W\d]{0,12}\.?\s)?\d{1,4}(?!\d)")
_THREE_PARTS = re.compile(
    r"(?:\d{1,2}([./-])\s?\d{1,2}\1\s?(?:\d{4}|\d{2})|\d{4}([./-])\s?\d{1,2}\2\s?\d{1,2}|"
    r"\d{2,4}\s?[年년]\s?\d)(?![\d:]*:)"
)
_WEEKDAY_BEHIND = re.compile(rf"[\s,،]{{0,2}}[(（]?(?P<name>{_WORD})[)）]?(?=\s|$)")
_CLOCK_OR_SIMILAR = re.compile(r"\d\s?[:：.hH時时시]\s?\d")  # looked for first: most lines have none
_RANGE = re.compile(r"\s*(?:--?>|→|[-–—])\s*")


def has_clock(text: str) -> bool:
    """Whether a clock time stands anywhere in the text."""
    return _ANY_CLOCK.search(text) is not None


def may_have_clock(text: str) -> bool:
    """Whether two digits stand as they do in clocks: a quick check before a time is looked for."""
    return _CLOCK_OR_SIMILAR.search(text) is not None


def time_end(text: str, begin: int = 0, *, dated: bool = False) -> int | None:
    """The end of the time, or of the range of times, that begins at `begin`; None where none does.

    With `dated`, a time counts only with its date.
    """
    text = text[: begin + _LONGEST]
    if not _CLOCK_OR_SIMILAR.search(text, begin):
        return None
    end = _one_time_end(text, begin, dated)
    if end is not None and (link := _RANGE.match(text, end)):
        return _one_time_end(text, link.end(), False) or end
    return end


def time_start(text: str) -> int | None:
    """The start of the time with which the text ends; None where it ends with none."""
    text = text.rstrip()
    if not _ANY_CLOCK.search(text):
        return None
    first = max(0, len(text) - _LONGEST)
    for word in re.finditer(r"(?<![^\s,(\[@-])[^\s,(\[@-]", text[first:]):
        if time_end(text, first + word.start()) == len(text):
            return first + word.start()
    return None


def full_date_end(text: str, begin: int = 0, *, with_year: bool = True) -> int | None:
    """The end of a date at a place, with the day of the week before it or behind; None where none stands.

    A date of digits has three parts. Where it names its month, it may lack the year without `with_year`.
    """
    text = text[: begin + _LONGEST]
    if not _MAY_BE_DATE.match(text, begin):
        return None
    at = _weekday_end(text, begin)
    end = _date_end(text, at)
    if end is None or not (_THREE_PARTS.match(text, at) or re.search(r"[^\W\d]", text[at:end])):
        return None
    if with_year and not (_THREE_PARTS.match(text, at) or re.search(r"\d{4}", text[at:end])):
        return None
    behind = _WEEKDAY_BEHIND.match(text, end)
    return behind.end() if behind and behind["name"] in _weekday_names() else end


def is_full_date(text: str) -> bool:
    """Whether a text is a date with its year and nothing else, perhaps with the day of the week and lines around it."""
    text = text.strip(" \t-–—=*_~[]|")
    return len(text) <= _LONGEST and full_date_end(text) == len(text)


def _one_time_end(text: str, begin: int, dated: bool) -> int | None:
    """The end of one time: a date and a clock in either order, or a clock."""
    if found := _ISO.match(text, begin):
        return _day_part_end(text, found.end())
    at = begin if _date_end(text, begin) else _weekday_end(text, begin)  # "Mar" is March, and Tuesday in Spanish
    if date := _date_end(text, at):
        clock = _clock_end(text, _glue_end(text, date), beside_date=True)
        return clock if clock is not None else _clock_end(text, date, beside_date=True)
    end = _clock_end(text, at)
    if end is None:
        return None
    date = _date_end(text, _weekday_end(text, _SPACE.match(text, end).end()))  # type: ignore[union-attr]  # it matches anywhere
    return date or (None if dated else end)


def _clock_end(text: str, begin: int, *, beside_date: bool = False) -> int | None:
    """The end of a clock with the part of the day before or behind it."""
    at = _SPACE.match(text, begin).end()  # type: ignore[union-attr]  # it matches anywhere
    before = _day_part_end(text, at)
    for start in dict.fromkeys((at, _SPACE.match(text, before).end())):  # type: ignore[union-attr]
        found = _CLOCK.match(text, start) or (_DATED_CLOCK.match(text, start) if beside_date else None)
        if found:
            return _day_part_end(text, found.end())
    return None


def _day_part_end(text: str, begin: int) -> int:
    """The end of the words for a part of the day ("PM", "ч.", "de la tarde") at a place; the place where none stand."""
    space = begin + (text[begin : begin + 1].isspace())
    if found := _AM_PM.match(text, space):
        return found.end()
    end = at = begin
    for _ in range(_MOST_WORDS):
        word = _WORDS.match(text, at + (text[at : at + 1].isspace()))
        if not word or not _is_day_part(text[space : word.end()], word[0]):
            break
        end = at = word.end()
    return end


def _is_day_part(phrase: str, word: str) -> bool:
    phrases, words = _day_parts()
    return _day_part_key(phrase) in phrases or _day_part_key(word) in words


def _date_end(text: str, begin: int) -> int | None:
    found = _CHARACTER_DATE.match(text, begin) or _NUMERIC_DATE.match(text, begin)
    if found:
        word = _WORDS.match(text, found.end() + 1)  # behind the year: "12.03.23 г."
        return word.end() if word and len(word[0]) == 2 and word[0].endswith(".") else found.end()
    return _named_date_end(text, begin)


def _named_date_end(text: str, begin: int) -> int | None:
    """The end of a date with the name of its month: "12 mars 2023", "March 12, 2023", "2023. gada 12. marts"."""
    end, at, numbers, has_month, most_numbers = None, begin, 0, False, 2
    for _ in range(_DATE_TOKENS):
        token = _DATE_TOKEN.match(text, at)
        if not token:
            break
        at = token.end()
        numbers += token["number"] is not None
        if word := token["word"]:
            is_month = _key(word) in _month_names()
            most_numbers += _key(word) in _numbered_months()  # "12 thg 3, 2023"
            if (is_month and has_month) or not (is_month or _key(word) in _date_words()):
                break
            has_month = has_month or is_month
        if numbers > most_numbers:
            break
        if has_month and numbers and (token["number"] or numbers > 1 or _key(token["word"]) in _month_names()):
            end = token.start("behind") + token["behind"].startswith(".")
    return end


def _weekday_end(text: str, begin: int) -> int:
    """The place behind the name of a weekday, in parentheses or not, and its comma, where a date follows."""
    found = _WEEKDAY.match(text, begin)
    behind = found.end() if found and found["name"] in _weekday_names() else begin
    return behind if _date_end(text, behind) else begin


def _glue_end(text: str, begin: int) -> int:
    """The place behind a word that joins a date to its clock in any language, such as "at", "à" or "klo"."""
    found = _GLUE.match(text, begin)
    return found.end() if found else begin


def _key(word: str) -> str:
    """A word as it is looked up: without dots, spaces and joiners, in lower case."""
    return re.sub(r"[.\s\u200c\u202f\u2024]", "", word).casefold()


def _day_part_key(word: str) -> str:
    """As _key, but Latin words as CLDR writes them: "sabah" is a part of the day in Turkish, and Sabah a person."""
    return " ".join(word.split()) if word.isascii() else _key(word)


@cache
def _day_parts() -> tuple[frozenset[str], frozenset[str]]:
    """The phrases for parts of the day and for the hour in all languages, and those of one word.

    Single ASCII letters, of which CLDR has some, are no words: they would be initials.
    """
    phrases: set[str] = set()
    for locale in _locales():
        for context in locale.day_periods.values():
            for names in context.values():
                phrases.update(names.values())
        for pattern in (form.pattern for form in locale.time_formats.values()):
            phrases.update(re.findall(r"'([^']+)'", pattern))
            phrases.update(word for word in _WORDS.findall(pattern) if not word.isascii())
    keys = {_day_part_key(phrase): phrase for phrase in phrases}
    kept = {key: phrase for key, phrase in keys.items() if len(key) > 1 or (key and not key.isascii())}
    return frozenset(kept), frozenset(key for key, phrase in kept.items() if " " not in phrase)


@cache
def _date_words() -> frozenset[str]:
    """Words within dates, such as "de" and "г."."""
    patterns = (form.pattern for locale in _locales() for form in locale.date_formats.values())
    quoted = {
        word for pattern in patterns for part in re.findall(r"'([^']+)'|([^\x00-\x7f]+)", pattern) for word in part
    }
    return frozenset(_key(word) for words in quoted for word in words.split())


@cache
def _month_names() -> frozenset[str]:
    return frozenset(_without_digits(name) for name in _calendar_names("months") if not name.isdigit())


@cache
def _numbered_months() -> frozenset[str]:
    """The word of months that are numbered, as in Vietnamese."""
    return frozenset(_without_digits(name) for name in _calendar_names("months") if re.search(r"\d", name)) - {""}


@cache
def _weekday_names() -> frozenset[str]:
    return frozenset(_calendar_names("days", ["format"]))  # as they are written: "Sam" is none, "sam." is


def _without_digits(name: str) -> str:
    return _key(re.sub(r"\d", "", name))


def _calendar_names(kind: str, used: Sequence[str] = ("format", "stand-alone")) -> list[str]:
    contexts = [getattr(locale, kind).get(context, {}) for locale in _locales() for context in used]
    widths = [context[width] for context in contexts for width in ("wide", "abbreviated") if width in context]
    return [name for width in widths for name in width.values()]


@cache
def _locales() -> "tuple[Locale, ...]":
    from babel import Locale  # here: it and its data take time to load, and few files need them

    return tuple(Locale.parse(name) for name in LOCALES)
