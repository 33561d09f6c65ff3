"""Check the numbers, amounts, times and placeholders of a summary against those of its dialogue."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from rolesum.checks.numerals import Number, find_numbers, half_width, possible_numbers
from rolesum.checks.times import WEEKDAYS_EN, Key, Time, find_times
from rolesum.counts import counted

_PLACEHOLDER = re.compile(r"\[[^\[\]\s]{1,20}\]")
_HIDDEN = re.compile(rf"{_PLACEHOLDER.pattern}|https?://\S+")
_GLUE = re.compile(r"(?<=\d)[\s().-]+(?=\d)")
_WORD = re.compile(r"[a-z]+")
_CURRENCIES = {
    "yuan": "元|块钱|块|¥|rmb|yuan",
    "dollar": r"\$|dollars?|bucks?|usd|美元|美金",
    "pound": "£|pounds?|quid|gbp|英镑",
    "euro": "€|euros?|eur|欧元",
    "percent": "%|per ?cent",
}
_AMOUNT_ZH = re.compile(
    r"(?P<before>[¥$£€])?\s?(?P<number>\d[\d,]*(?:\.\d+)?|[一二三四五六七八九十百千万两]+)\s?(?P<after>元|块钱|块|美元|%)?"
)
_AMOUNT_EN = re.compile(
    r"(?P<before>[$£€])?\s?(?P<number>(?<!\d)\d[\d,]*(?:\.\d+)?)\s?(?P<k>k|m|million|thousand)?\b\s?"
    r"(?P<after>%|\$|€|£|per ?cent\b|dollars?\b|bucks?\b|euros?\b|pounds?\b|quid\b|usd\b|eur\b|gbp\b)?"
)
_SCALES = {"k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6}
# A Chinese numeral counts things where a measure follows it, and is otherwise part of a word (第三方, 千万).
_MEASURE_ZH = re.compile(r"\s?[个件次台款种条张家单套瓶袋包位人箱双只本部支枚楼层米斤倍折份片盒块元点号天年月周分]")


_WEEKDAY_STEMS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# Written small, a number may be the summary's own count ("both", 两种): no flag is worth reading there.
_COUNTED = 2.0


@dataclass(frozen=True)
class DialogueFacts:
    """The facts of a dialogue that a summary may state. `text` is half-width and in lower case."""

    language: str
    text: str
    numbers: frozenset[float]
    amounts: frozenset[tuple[float, str]]
    times: frozenset[tuple[str, Key]]
    placeholders: Mapping[str, int]
    digits: str = ""


@dataclass(frozen=True, slots=True)
class StatedFact:
    """One fact that a summary states: its check, its position, and what is wrong with it (empty if nothing is)."""

    check: str
    start: int
    end: int
    problem: str


def dialogue_facts(text: str, language: str) -> DialogueFacts:
    """The facts of a dialogue's text, speakers' labels included."""
    text = half_width(text)
    times = frozenset((one.kind, one.key) for one in find_times(text, language))
    amounts = frozenset((value, currency) for _, _, value, currency in _amounts(text, language))
    numbers = frozenset(possible_numbers(text, language)) | {value for value, _ in amounts}
    return DialogueFacts(
        language, text.lower(), numbers, amounts, times, Counter(_PLACEHOLDER.findall(text)), _GLUE.sub("", text)
    )


def check_facts(summary: str, known: DialogueFacts) -> list[StatedFact]:
    """Every amount, time, number and placeholder of the summary, checked; of the first three none overlap."""
    text = half_width(summary)
    masked = [one.span() for one in _HIDDEN.finditer(text)]
    found: list[StatedFact] = []
    for start, end, value, currency in _amounts(text, known.language):
        found.append(StatedFact("amount", start, end, _amount_fault(text[start:end], value, currency, known)))
    covered = [(one.start, one.end) for one in found] + masked
    for time in find_times(text, known.language):
        if _free(time.start, time.end, covered) or time.kind == "span":
            found.append(
                StatedFact("time", time.start, time.end, _time_fault(text[time.start : time.end], time, known))
            )
    covered = [(one.start, one.end) for one in found] + masked
    for number in find_numbers(text, known.language):
        if _free(number.start, number.end, covered) and _counts(number, text, known.language):
            problem_text = (
                "" if _is_said(number.value, text[number.start : number.end], known) else _absent(text, number)
            )
            found.append(StatedFact("number", number.start, number.end, problem_text))
    return found + _placeholders(text, known)


def _amounts(text: str, language: str) -> Iterator[tuple[int, int, float, str]]:
    """(start, end, value, currency) of what has a currency or a percent sign."""
    for one in (_AMOUNT_ZH if language == "zh" else _AMOUNT_EN).finditer(text):
        mark = one["before"] or one["after"]
        values = find_numbers(one["number"], language)
        if mark and len(values) == 1:
            scale = _SCALES.get((one.groupdict().get("k") or "").lower(), 1.0)
            currency = next(name for name, forms in _CURRENCIES.items() if re.fullmatch(forms, mark, re.IGNORECASE))
            start = one.start() + len(one.group()) - len(one.group().lstrip())
            yield start, start + len(one.group().strip()), values[0].value * scale, currency


def _amount_fault(stated: str, value: float, currency: str, known: DialogueFacts) -> str:
    if not _is_said(value, re.sub(r"[^\d.,]", "", stated), known):
        return f"the dialogue does not say {stated}"
    others = {other for said_value, other in known.amounts if said_value == value}
    if others and currency not in others and not _word_of(currency, known):
        return f"the dialogue says {value:g} in another unit"
    return ""


def _word_of(currency: str, known: DialogueFacts) -> bool:
    return bool(re.search(_CURRENCIES[currency], known.text))


def _is_said(value: float, digits_text: str, known: DialogueFacts) -> bool:
    """Long runs of digits (telephone, order) may be parted by spaces or dashes in the dialogue."""
    return value in known.numbers or (len(digits_text) > 2 and digits_text.isdigit() and digits_text in known.digits)


def _absent(text: str, number: Number) -> str:
    return f"the dialogue does not say {text[number.start : number.end]}"


def _counts(number: Number, text: str, language: str) -> bool:
    if not number.spelled_out:
        return True
    if number.value <= _COUNTED:
        return False
    return language == "en" or (
        bool(_MEASURE_ZH.match(text, number.end)) and not text.startswith("方", number.end) and number.value < 10_000
    )


def _time_fault(stated: str, time: Time, known: DialogueFacts) -> str:
    supported = {"clock": _clock_said, "date": _date_said, "weekday": _weekday_said, "span": _span_said}[time.kind]
    return "" if supported(time.key, known) else f"the dialogue does not say {stated}"


def _clock_said(key: Key, known: DialogueFacts) -> bool:
    hour, minute, half = key
    same = [other for kind, other in known.times if kind == "clock" and other[:2] == (hour, minute)]
    if same:
        return any(not half or not other[2] or other[2] == half for other in same)
    if not isinstance(hour, float) or not isinstance(minute, float):
        return True
    hours = {hour, hour + 12} | ({12.0} if not hour else set())
    if not minute:
        return bool(hours & known.numbers)
    joined = {100 * one + minute for one in hours} | {one + minute / 100 for one in hours}
    near = bool((hours | {hour + 1}) & known.numbers) and (minute in known.numbers or minute in (15.0, 30.0, 45.0))
    return bool(joined & known.numbers) or near


def _date_said(key: Key, known: DialogueFacts) -> bool:
    month, day = key
    same = [other for kind, other in known.times if kind == "date" and other[1] == day]
    return any("" in (month, other[0]) or month == other[0] for other in same) or (not same and day in known.numbers)


def _weekday_said(key: Key, known: DialogueFacts) -> bool:
    if ("weekday", key) in known.times:
        return True
    day = int(key[0])
    if known.language == "zh":
        return day > 4 and "周末" in known.text
    dialogue_tokens = set(_WORD.findall(known.text))
    words = {word for word in dialogue_tokens if word.startswith(_WEEKDAY_STEMS[day])}
    full = WEEKDAYS_EN[day]
    return bool(words & {full[: len(word)] for word in words}) or bool(get_close_matches(full, dialogue_tokens, 1, 0.8))


def _span_said(key: Key, known: DialogueFacts) -> bool:
    """Whether the value is said, and the unit is said with it or at least with some value."""
    spans = {other for kind, other in known.times if kind == "span"}
    if key in spans:
        return True
    value, unit = key
    if isinstance(value, float):
        if any(_minutes(key) == _minutes(other) for other in spans):
            return True
        if value not in known.numbers:
            return value <= _COUNTED
    same = [other for other in spans if other[0] == value]
    return not same or any(other[1] == unit for other in spans)


def _minutes(key: Key) -> float | None:
    sizes = {"minute": 1, "hour": 60, "day": 1440, "week": 10_080, "month": 43_200, "year": 525_600}
    return key[0] * sizes[str(key[1])] if isinstance(key[0], float) else None


def _placeholders(text: str, known: DialogueFacts) -> list[StatedFact]:
    """Placeholders by their number: the third [地址] of a summary is one too many where the dialogue has two."""
    found, left = [], Counter(known.placeholders)
    for one in _PLACEHOLDER.finditer(text):
        name = one.group()
        problem_text = ""
        many = known.placeholders.get(name, 0)
        masks = name == "[数字]" and not many and re.search(r"\d", known.text)  # the summary masked a plain number
        if not left[name] and not masks:
            problem_text = f"the dialogue has no {name}"
            if many:
                problem_text = f"the dialogue has {name} {counted(many, 'time')} only"
        left[name] -= bool(left[name])
        found.append(StatedFact("placeholder", *one.span(), problem_text))
    return found


def _free(start: int, end: int, covered: Sequence[tuple[int, int]]) -> bool:
    return all(end <= begin or start >= stop for begin, stop in covered)
