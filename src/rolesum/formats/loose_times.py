"""Times that no colon marks: 22h01, 10.01, 10 PM, 3s, 10点05分, a date alone, seconds since 1970.

Such words are a time only beside a name and before a colon, or in brackets there: rolesum.formats.speech_lines looks
for them where a line names a speaker. They are located and kept as written.
"""

import re
from enum import Enum

from rolesum.formats.clock import full_date_end


class Certainty(Enum):
    """How sure it is that the words are a time."""

    SURE = "a date, or a clock with a word for the part of the day or for hours and minutes"
    DOUBTFUL = "perhaps a part of the name: a version, an age"


_AM_PM = r"\s?[AaPp]\.?\s?[Mm]\b\.?"
_NOT_WITHIN = r"(?![\w.,:：]*\d)(?!\w)"
_SURE = re.compile(
    r"(?:(?:上午|下午|午前|午後|早上|晚上|中午|凌晨|오전|오후)\s?)?"
    r"\d{1,2}\s?[点點时時시](?:\s?\d{1,2}\s?[分분]?)?(?:\s?\d{1,2}\s?[秒초])?[半整]?(?!\d)|"
    r"\d{1,3}\s?[分분]\s?\d{1,2}\s?[秒초]|"
    rf"(?:\d{{1,2}}(?:\.\d{{2}})?{_AM_PM}|"
    r"(?:(?:kl\.?|klo|um)\s)?\d{1,2}(?:\.\d{2})?\s?Uhr|(?:kl\.?|klo)\s\d{1,2}\.\d{2}|"
    r"(?:[Àà]\s)?\d{1,2}\s?[hH]\s?\d{2}(?:\s?m(?:in)?)?(?:\s?\d{1,2}\s?s(?:ec)?)?|"
    r"\d{1,3}\s?m(?:in)?\s?\d{1,2}(?:[.,]\d{1,6})?\s?s(?:ec)?|"
    r"(?:\d{1,6}[.,]\d{1,6}|\d{0,5}[1-9]|0{1,3})\s?(?:s|sec|secs|seconds)"  # "20s" may be an age
    rf"){_NOT_WITHIN}"
)
_EPOCH = re.compile(rf"1\d{{9}}(?:\d{{3}})?(?:\.\d{{1,9}})?{_NOT_WITHIN}")
_SECONDS = re.compile(rf"\d{{1,6}}\s?(?:s|sec|secs|seconds){_NOT_WITHIN}")
_DOTS = re.compile(rf"(?:[01]?\d|2[0-3])\.[0-5]\d(?:\.[0-5]\d)?{_NOT_WITHIN}")
_DECIMAL = re.compile(rf"\d{{1,6}}\.\d{{1,6}}{_NOT_WITHIN}")
_HOUR = re.compile(rf"(?:[01]?\d|2[0-3])\s?[hH]{_NOT_WITHIN}")
_UNIT = re.compile(rf"\d{{1,3}}\s?(?:h|m|min|hours?|minutes?){_NOT_WITHIN}")
_DAY_AND_MONTH = re.compile(rf"(?:0?[1-9]|[12]\d|3[01])/(?:0?[1-9]|[12]\d|3[01]){_NOT_WITHIN}(?!/)")
_INTEGER = re.compile(rf"\d{{1,6}}{_NOT_WITHIN}")
_PLAIN = re.compile(r"\d{1,6}[.,]\d{1,6}")
_DAY_FIRST = re.compile(r"\d{1,2}\.?\s[^\W\d_]{3}")
_RANGE = re.compile(r"\s?(?:--?>|→|[-–—~]|to)\s?")
_MAY_BEGIN = re.compile(r"[\d上下午早晚中凌오kuàÀ]|[^\W\d_]{3,12}\.?,? (?:\d|[^\W\d_]{3,12}\.? \d)")
_DATE_AND_TIME = re.compile(r",?\s")


def loose_time_end(text: str, *, alone: bool = False) -> tuple[int, Certainty] | None:
    """The end of the time, or of the range of times, with which a text begins, and how sure it is; None without one.

    With `alone`, the text stands in brackets, where a time may be written shorter, and must be a time to its end.
    """
    if not _MAY_BEGIN.match(text):
        return None
    if found := _one_end(text, 0, alone=alone):
        end, certainty = found
        if link := _RANGE.match(text, end):
            whole = _INTEGER.match(text, link.end())  # "4.0-5"
            other = _one_end(text, link.end(), alone=alone) or (whole and (whole.end(), certainty))
            end, certainty = (other[0], Certainty.SURE) if other else (end, certainty)
        return (end, certainty) if not alone or end == len(text) else None
    first = _INTEGER.match(text) if alone else None  # "[0-5]"
    link = _RANGE.match(text, first.end()) if first else None
    return (len(text), Certainty.DOUBTFUL) if link and _INTEGER.fullmatch(text, link.end()) else None


def loose_time_start(label: str) -> tuple[int, Certainty] | None:
    """The start of the time without brackets that ends a label behind a name, and how sure it is; None without one."""
    if not label[-1:].isdigit() and not re.search(r"\d.{0,12}$", label):
        return None
    for word in re.finditer(r"(?<=[\s,@|-])[^\s,@|-]", label):
        rest = label[word.start() :]
        if _PLAIN.fullmatch(rest):  # "iOS 17.2" has a version
            if _DOTS.fullmatch(rest):
                return word.start(), Certainty.DOUBTFUL
        elif (found := loose_time_end(rest)) and found[0] == len(rest):
            return word.start(), found[1]
    return None


def _one_end(text: str, begin: int, *, alone: bool) -> tuple[int, Certainty] | None:
    # without brackets a date without a year is one where it begins with the day: "May 2" may be a name
    date = full_date_end(text, begin, with_year=not alone and not _DAY_FIRST.match(text, begin))
    if date is not None:
        behind = _DATE_AND_TIME.match(text, date)
        clock = behind and (_SURE.match(text, behind.end()) or _DOTS.match(text, behind.end()))
        return (clock.end() if clock else date), Certainty.SURE
    if found := _SURE.match(text, begin):
        return found.end(), Certainty.SURE
    if alone and (found := _DOTS.match(text, begin)):
        return found.end(), Certainty.SURE
    forms = (_SECONDS, _EPOCH, _DOTS, _DECIMAL, _DAY_AND_MONTH, _UNIT if alone else _HOUR)
    ends = [found.end() for form in forms if (found := form.match(text, begin))]
    return (max(ends), Certainty.DOUBTFUL) if ends else None
