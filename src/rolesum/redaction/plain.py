"""Texts as the patterns read them: plain characters, and digits where a number is spelled out.

Full-width letters and digits, digits of other scripts and typographic dashes become ASCII; invisible characters go.
Every character keeps the offsets of the text that it stands for.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

_HAN_DIGITS = "零〇一二三四五六七八九幺壹贰叁肆伍陆柒捌玖"
_HAN_VALUES = "00123456789" + "1" + "123456789"
_WORDS = {
    word: digit % 10
    for words in (
        "zero one two three four five six seven eight nine oh",
        "null eins zwei drei vier fünf sechs sieben acht neun o",
        "zéro un deux trois quatre cinq six sept huit neuf",
        "cero uno dos tres cuatro cinco seis siete ocho nueve",
        "zero uno due tre quattro cinque sei sette otto nove",
    )
    for digit, word in enumerate(words.split())
} | {"zwo": 2, "fuenf": 5}
_TIMES = {"double": 2, "doppel": 2, "triple": 3}
_UNIT = (
    rf"(?:(?:(?<![^\W\d_])(?:{'|'.join(_TIMES)})[ -])?(?:(?<![^\W\d_])(?:{'|'.join(_WORDS)})(?![^\W\d_])"
    rf"|[{_HAN_DIGITS}]|\d++))"
)
# Not between a number of several digits and a word behind a comma: "claim 4410, four sessions".
_BETWEEN = r"(?:[ -]{1,2}|(?<!\d\d)[,.，、] ?(?!\d\d))?"
_SPELLED = re.compile(rf"(?!\d){_UNIT}(?:{_BETWEEN}{_UNIT})+|\d++(?:{_BETWEEN}{_UNIT})+", re.I)
_LONGEST_FIRST = "|".join(sorted(_WORDS, key=len, reverse=True))
_PART = re.compile(rf"(?:({'|'.join(_TIMES)})[ -])?({_LONGEST_FIRST}|[{_HAN_DIGITS}]|\d)", re.I)
_FEWEST_SPELLED = 3  # digits of a run that are spelled out


@dataclass(frozen=True, slots=True)
class PlainText:
    """A text in plain characters; `starts` and `ends` are the offsets, in the text as written, of each of them."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span of the text as written that a span of the plain text stands for."""
        return self.starts[start], self.ends[end - 1]


@lru_cache(maxsize=1024)  # a dialogue's texts are read several times
def plain_text(text: str) -> PlainText:
    """The text in plain characters."""
    if text.isascii():
        return PlainText(text, range(len(text)), range(1, len(text) + 1))
    letters, starts, ends = list[str](), list[int](), list[int]()
    for place, letter in enumerate(text):
        if read := _plain(letter):
            letters.append(read)
            starts.append(place)
            ends.append(place + 1)
        elif ends:  # an invisible character belongs to the one before it
            ends[-1] = place + 1
    return PlainText("".join(letters), starts, ends)


def lower(text: str) -> str:
    """The text in small letters, of the same length."""
    low = text.lower()
    return low if len(low) == len(text) else "".join(one if len(one := each.lower()) == 1 else each for each in text)


@lru_cache(maxsize=4096)
def _plain(letter: str) -> str:
    """One character, or none, that is read for a character."""
    if letter.isascii():
        return letter
    category = unicodedata.category(letter)
    if category in ("Cf", "Me") or "\ufe00" <= letter <= "\ufe0f":
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(letter))
    if category == "Pd" or letter == "−":
        return "-"
    if category == "Zs":
        return " "
    same = unicodedata.normalize("NFKC", letter)
    return same if category != "No" and len(same) == 1 and same.isascii() else letter


@lru_cache(maxsize=1024)
def spelled_out(text: str) -> PlainText | None:
    """A text in plain characters with digits for numbers that are spelled digit by digit; None without such."""
    plain = plain_text(text)
    pieces, starts, ends = list[str](), list[int](), list[int]()
    at = 0
    for run in _SPELLED.finditer(plain.text):
        digits, spelled = list[tuple[str, int, int]](), 0
        for part in _PART.finditer(plain.text, run.start(), run.end()):
            digit = _digit(part[2])
            times = _TIMES.get((part[1] or "").lower(), 1)
            digits += [(digit, plain.starts[part.start()], plain.ends[part.end() - 1])] * times
            spelled += 0 if times == 1 and part[2].isascii() and part[2].isdigit() else times
        if spelled < _FEWEST_SPELLED:
            continue
        pieces += [plain.text[at : run.start()], "".join(digit for digit, _, _ in digits)]
        starts += [*plain.starts[at : run.start()], *(start for _, start, _ in digits)]
        ends += [*plain.ends[at : run.start()], *(end for _, _, end in digits)]
        at = run.end()
    if not at:
        return None
    pieces.append(plain.text[at:])
    return PlainText("".join(pieces), [*starts, *plain.starts[at:]], [*ends, *plain.ends[at:]])


def _digit(written: str) -> str:
    if written.isascii() and written.isdigit():
        return written
    if written in _HAN_DIGITS:
        return _HAN_VALUES[_HAN_DIGITS.index(written)]
    return str(_WORDS[written.lower()])
