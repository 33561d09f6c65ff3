"""Find numbers as people write them (1,000, １０００, 一千, two, third), with their values."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_DIGITS_ZH = {**{c: place for place, c in enumerate("零一二三四五六七八九")}, "〇": 0, "两": 2, "俩": 2, "壹": 1}
_TENS_ZH = {"十": 10, "百": 100, "千": 1000, "万": 10_000, "亿": 100_000_000}
_NUMERAL_ZH = re.compile(f"[{''.join(_DIGITS_ZH)}{''.join(_TENS_ZH)}]+")
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")

_ONES_EN = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS_EN = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS_EN = dict(
    zip(("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"), range(1, 9), strict=True)
) | {"ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "thirteenth": 13, "fifteenth": 15, "twentieth": 20}
_OTHER_EN = {"once": 1, "twice": 2, "both": 2, "couple": 2, "pair": 2, "dozen": 12, "fortnight": 14, "half": 0.5}
_WORDS_EN = {
    **{word: float(value) for value, word in enumerate(_ONES_EN)},
    **{word: float(10 * value) for value, word in enumerate(_TENS_EN, 2)},
}
_SCALES_EN = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "k": 1000}
_NUMERAL_EN = re.compile(
    rf"\b(?:(?:{'|'.join([*_WORDS_EN, *_SCALES_EN])})(?:[\s-]+(?:and\s+)?|\b))+(?<![\s-])", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Number:
    """A number and its position in the text; `written` tells digits from words."""

    start: int
    end: int
    value: float
    spelled_out: bool


def half_width(text: str) -> str:
    """The text with full-width digits, letters and marks as ASCII; its length stays."""
    if text.isascii():
        return text
    return "".join(c if "\u4e00" <= c <= "\u9fff" else _narrow(c) for c in text)


@lru_cache(maxsize=4096)
def _narrow(character: str) -> str:
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 else character


def find_numbers(text: str, language: str) -> list[Number]:
    """The numbers of a text whose full-width characters are gone, in order; ranges are two."""
    digits = [
        Number(one.start(), one.end(), float(one.group().replace(",", "")), False)
        for one in _NUMBER.finditer(text)
        if one.end() - one.start() <= 25
    ]
    words = _chinese(text) if language == "zh" else _english(text)
    return sorted([*digits, *words], key=lambda one: one.start)


def possible_numbers(text: str, language: str) -> set[float]:
    """All values that a text may be taken to say: also the parts of what can be read in several ways (三四天, half)."""
    found = {one.value for one in find_numbers(text, language)}
    if language == "zh":
        found |= {float(_DIGITS_ZH[c]) for c in text if c in _DIGITS_ZH}
        found |= {float(value) for c, value in (("半", 0.5), ("双", 2), ("俩", 2), ("仨", 3)) if c in text}
    else:
        words = set(re.findall(r"[a-z]+", text.lower()))
        found |= {float(value) for word, value in {**_ORDINALS_EN, **_OTHER_EN}.items() if word in words}
        found |= {_WORDS_EN[word] for word in words if word in _WORDS_EN}
    scaled = re.finditer(
        r"((?<!\d)\d++(?:\.\d++)?+)\s*(k|w|万|千|百|亿|m|million|thousand|hundred)\b", text, re.IGNORECASE
    )
    scales = {"k": 1e3, "w": 1e4, "万": 1e4, "千": 1e3, "百": 1e2, "亿": 1e8, "m": 1e6, "million": 1e6}
    scales |= {"thousand": 1e3, "hundred": 1e2}
    return found | {float(one[1]) * scales[one[2].lower()] for one in scaled}


def _chinese(text: str) -> Iterator[Number]:
    for one in _NUMERAL_ZH.finditer(text):
        value = read_chinese(one.group())
        if value is not None:
            yield Number(one.start(), one.end(), value, True)


def read_chinese(numeral: str) -> float | None:
    """The value of a Chinese numeral, 一百二十 or 二〇二四; None where it is no single number (三四, 万一)."""
    if all(c in _DIGITS_ZH for c in numeral):
        return float("".join(str(_DIGITS_ZH[c]) for c in numeral)) if len(numeral) != 2 else None
    total = section = 0.0
    digit: int | None = None
    if len(numeral) > 2 and numeral[-1] in _DIGITS_ZH and _TENS_ZH.get(numeral[-2], 0) >= 100:
        shorter = read_chinese(numeral[:-1])  # 一百二 is 120
        return shorter and shorter + _DIGITS_ZH[numeral[-1]] * _TENS_ZH[numeral[-2]] / 10
    for c in numeral:
        if c in _DIGITS_ZH:
            if digit:
                return None
            digit = _DIGITS_ZH[c]
            continue
        unit = _TENS_ZH[c]
        if digit is None and not section and not total and unit != 10:
            return None
        if unit < 10_000:
            section += (1 if digit is None else digit) * unit
        else:
            total, section = (total + section + (digit or 0)) * unit, 0.0
        digit = None
    value = total + section + (digit or 0)
    return value or None


def _english(text: str) -> Iterator[Number]:
    for one in _NUMERAL_EN.finditer(text):
        value = _read_english(re.findall(r"[a-z]+", one.group().lower()))
        if value is not None:
            yield Number(one.start(), one.end(), value, True)


def _read_english(words: list[str]) -> float | None:
    total = section = 0.0
    for word in words:
        if word in _WORDS_EN:
            value = _WORDS_EN[word]
            if section % 100 and (section % 100 < 20 or section % 10 or not 0 < value < 10):
                return None  # "two three": no single number
            section += value
        elif word in _SCALES_EN and section:
            scale = _SCALES_EN[word]
            section *= scale
            if scale > 100:
                total, section = total + section, 0.0
    return total + section if words[0] in _WORDS_EN else None
