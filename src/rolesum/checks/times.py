"""Find clock times, dates, weekdays and durations in Chinese and English; equal times have equal keys."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rolesum.checks.numerals import find_numbers

Key = tuple[str | float, ...]

# A run of numerals is read from its beginning and as a whole: what does not fit from there fits from no place within.
_RUN_ZH = r"(?<![一二三四五六七八九十])[一二三四五六七八九十]++"
_NUM_ZH = r"(?:(?<!\d)\d++(?:\.\d++)?|(?<![零〇一二三四五六七八九十百两半])[零〇一二三四五六七八九十百两半]++|\[数字\])"
_NUM_EN = (
    r"(?:\d+(?:\.\d+)?|(?:an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|"
    r"forty|fifty|sixty|ninety|half an|a couple of|a few|several)(?=[\s-]))"
)
_SPAN_ZH = re.compile(
    rf"({_NUM_ZH})(?:多)?(?:个)?(?:半)?(?:(分钟)|(小时|钟头)|(天|工作日)|(周|星期|礼拜)(?![一二三四五六日天末])|"
    rf"(?<=个)(月)|(年)(?!\d|[一二三四五六七八九十]+月))"
)
_SPAN_EN = re.compile(
    rf"\b({_NUM_EN})[\s-]*(?:more |full |working |business )?(?:(minutes?|mins?)|(hours?|hrs?)|(days?)|(weeks?|wks?)|"
    rf"(months?)|(years?|yrs?))\b"
)
_UNIT_ORDER = ("minute", "hour", "day", "week", "month", "year")
_CLOCK = re.compile(r"(?<![\d.:])(\d{1,2}):(\d{2})(?::\d{2})?(?![\d:])(?:\s*([ap])\.?m\b)?")
_CLOCK_EN = re.compile(
    r"(?<![\d.:$£€])(\d{1,2})(?:[.:](\d{2}))?\s*([ap])\.?\s?m\b\.?|\b(\d{1,2}|[a-z]+)\s?o'?clock|"
    r"\b(half past|quarter past|quarter to)\s+(\d{1,2}|[a-z]+)\b|\b(noon|midnight)\b"
)
_CLOCK_ZH = re.compile(
    r"(上午|下午|早上|晚上|中午|凌晨|傍晚|今晚|明早)?(\d{1,2}|(?<![一二三四五六七八九十两])[一二三四五六七八九十两]++)点(?!击|评|开|选|儿|了|心|播|的|卡)"
    r"(半|一刻|三刻|(?:\d{1,2}|[一二三四五六七八九十]++)分)?"
)
_MINUTES_ZH = {"": 0.0, "半": 30.0, "一刻": 15.0, "三刻": 45.0}
_HALVES_ZH = {
    **dict.fromkeys(("上午", "早上", "凌晨", "明早"), "a"),
    **dict.fromkeys(("下午", "晚上", "今晚", "傍晚"), "p"),
}
_DATE_ZH = re.compile(rf"(?:(\d{{1,2}}|{_RUN_ZH})月(?:份)?)?(\d{{1,2}}|{_RUN_ZH})[号日](?!线|楼|店|码|常|用|期|志|电)")
_WEEKDAY_ZH = re.compile(r"(?:周|星期|礼拜)([一二三四五六日天])(?!次|个)")
WEEKDAYS_EN = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS_EN = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAY_EN = re.compile(rf"\b({'|'.join(WEEKDAYS_EN)})s?\b")
_MONTH = "|".join(_MONTHS_EN)
_DATE_EN = re.compile(
    rf"\b(?:(?P<m1>{_MONTH})\s+(?:the\s+)?(?P<d1>\d{{1,2}})|(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<m2>{_MONTH}))"
    r"(?:st|nd|rd|th)?\b|\b(?P<d3>\d{1,2})(?:st|nd|rd|th)\b"
)


@dataclass(frozen=True, slots=True)
class Time:
    """A time and its place. `kind` is clock, date, weekday or span; `key` is equal for equal times of a kind."""

    start: int
    end: int
    kind: str
    key: Key


def find_times(text: str, language: str) -> list[Time]:
    """The times of a text in half-width characters, without overlaps, in order."""
    found = _times_zh(text) if language == "zh" else _times_en(text.lower().replace("’", "'"))
    kept: list[Time] = []
    for one in sorted(found, key=lambda one: (one.start, -one.end)):
        if not kept or one.start >= kept[-1].end:
            kept.append(one)
    return kept


def _times_zh(text: str) -> Iterator[Time]:
    yield from _digital(text)
    for one in _SPAN_ZH.finditer(text):
        yield Time(one.start(), one.end(), "span", (_value(one[1], "zh"), _unit(one)))
    for one in _CLOCK_ZH.finditer(text):
        hour, tail = _value(one[2], "zh"), one[3] or ""
        vague = one[2] in ("一", "两", "二") and not one[1] and not tail  # 快一点, 两点问题
        if isinstance(hour, float) and hour <= 24 and not vague:
            minute = _MINUTES_ZH[tail] if tail in _MINUTES_ZH else _value(tail[:-1], "zh")
            yield Time(*one.span(), "clock", _clock(hour, minute, _HALVES_ZH.get(one[1] or "", "")))
    for one in _DATE_ZH.finditer(text):
        month, day = _value(one[1] or "", "zh"), _value(one[2], "zh")
        if isinstance(day, float) and 1 <= day <= 31:
            yield Time(*one.span(), "date", (month, day))
    for one in _WEEKDAY_ZH.finditer(text):
        yield Time(*one.span(), "weekday", ("一二三四五六日".find(one[1].replace("天", "日")),))


def _times_en(text: str) -> Iterator[Time]:
    yield from _digital(text)
    for one in _SPAN_EN.finditer(text):
        yield Time(*one.span(), "span", (_value(one[1], "en"), _unit(one)))
    for one in _CLOCK_EN.finditer(text):
        key = _clock_en(one)
        if key:
            yield Time(*one.span(), "clock", key)
    for one in _DATE_EN.finditer(text):
        month = one["m1"] or one["m2"] or ""
        day = float(one["d1"] or one["d2"] or one["d3"])
        if 1 <= day <= 31:
            yield Time(*one.span(), "date", (float(_MONTHS_EN.index(month) + 1) if month else "", day))
    for one in _WEEKDAY_EN.finditer(text):
        yield Time(*one.span(), "weekday", (WEEKDAYS_EN.index(one[1]),))


def _digital(text: str) -> Iterator[Time]:
    for one in _CLOCK.finditer(text):
        if int(one[1]) <= 24 and int(one[2]) < 60:
            yield Time(*one.span(), "clock", _clock(float(one[1]), float(one[2]), one[3] or ""))


def _clock_en(one: re.Match[str]) -> Key | None:
    if one[7]:
        return _clock(12.0, 0.0, "p" if one[7] == "noon" else "a")
    hour = _value(one[1] or one[4] or one[6], "en")
    if not isinstance(hour, float) or hour > 24:
        return None
    minute = float(one[2] or 0)
    if one[5]:
        minute = {"half past": 30.0, "quarter past": 15.0, "quarter to": 45.0}[one[5]]
        hour -= one[5] == "quarter to"
    return _clock(hour, minute, one[3] or "") if minute < 60 else None


def _clock(hour: float, minute: str | float, half: str) -> Key:
    """(hour of twelve, minute, a or p or nothing where the text does not say)."""
    if 12 < hour < 24 or (hour == 12 and half == ""):
        half = "p" if hour > 12 else ""
    return (hour % 12, minute, half)


def _value(text: str, language: str) -> str | float:
    """A number's value; the text itself where it is none (a placeholder, a few)."""
    if text in ("a", "an"):
        return 1.0
    found = find_numbers(text, language)
    return found[0].value if len(found) == 1 else text


def _unit(one: re.Match[str]) -> str:
    return next(unit for unit, group in zip(_UNIT_ORDER, one.groups()[1:], strict=False) if group)
