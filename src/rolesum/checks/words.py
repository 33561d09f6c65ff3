"""Tokenize Chinese and English texts, and extract the n-grams that carry their content."""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

_PIECES_ZH = re.compile(r"\[[^\[\]\s]{1,12}\]|[a-z0-9]+(?:\.[0-9]+)?|[\u3400-\u9fff]")
_WORDS_EN = re.compile(r"\[[^\[\]\s]{1,20}\]|[^\W_]+(?:['’][^\W_]+)*")

# Characters that carry no content of their own: particles, pronouns, politeness. They are passed over.
_EMPTY_ZH = frozenset("的了吗呢吧啊哦嗯哈呀嘛哟噢么您你我他她它们这那是就也都还又在有个会亲请下把被给和与及对为")
# Words that a summary uses instead of the dialogue's own: no n-gram spans one of them.
_BREAKS_ZH = re.compile(r"用户|客服|顾客|客户|表示|询问|回答|回复|告知|认为|咨询|建议|解释|查询后|一下|可以|需要|如果")

_STOP_EN = frozenset(
    re.findall(
        r"\S+",
        """
        a about after again agent all also am an and any are aren as asked asks at be because been being but by can
        can't client could customer d did didn do does doesn doing don don't done for from get gets getting go goes
        going got had has have having he he's her here hers him his how i i'll i'm i've if in into is isn it it's
        its just let like ll m may me might more my need needs no not now of off on once only or other our out over
        person re s said say says she she's should so some such t tell tells than that that's the their them then
        there these they thing things this those to told too until up us user ve very want wants was wasn we well
        were what when where which while who why will with would yes you you're your
        """,
    )
)


def tokenize(text: str, language: str) -> list[str]:
    """Characters without spaces in Chinese; words in lower case in English."""
    return [c for c in text if not c.isspace()] if language == "zh" else _WORDS_EN.findall(text.lower())


def content_ngrams(text: str, language: str) -> list[str]:
    """The content n-grams of a text, in order: Chinese bigrams; English stems of content words and their bigrams."""
    return _grams_zh(text.lower()) if language == "zh" else _grams_en(text.lower())


def ngrams(tokens: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[place:] for place in range(size)), strict=False))


def _grams_zh(text: str) -> list[str]:
    found = []
    for run in re.split(r"[^\w\[\]]+", _BREAKS_ZH.sub(" ", text)):
        pieces = [piece for piece in _PIECES_ZH.findall(run) if piece not in _EMPTY_ZH]
        found += [left + right for left, right in pairwise(pieces)]
        found += [piece for piece in pieces if len(piece) > 1]
    return found


def _grams_en(text: str) -> list[str]:
    words = [stem(word) for word in _WORDS_EN.findall(text) if word not in _STOP_EN]
    return words + [f"{left} {right}" for left, right in pairwise(words)]


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """An English word without the endings of inflection: enough to let "orders" meet "ordered"."""
    word = word.split("'")[0].split("’")[0]
    for ending in ("ingly", "edly", "ing", "ied", "ies", "ed", "es", "ly", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            return word + "y" if ending in ("ied", "ies") else _undoubled(word).removesuffix("e")
    return word.removesuffix("e") if len(word) > 4 else word


def _undoubled(word: str) -> str:
    return word[:-1] if word[-1:] == word[-2:-1] and word[-1] not in "aeiouls" else word
