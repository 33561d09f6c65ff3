"""The terms by which the similarity of turns is computed: Chinese characters and bigrams, English stems."""

import re
from collections.abc import Hashable, Sequence

from rolesum.metrics.tokenizers import TokenizedTexts, characters, stems

_HAN = re.compile(r"[\u3400-\u9fff]+")
_WORD = re.compile(r"[a-z0-9]+")
_STOP = frozenset(
    re.findall(
        r"\S+",
        """
        a about all also am an and any are as at be been but by can could d did do does doing don for from get go got
        had has have he her here him his how i if in into is it its just know let ll m me more my no not now of oh ok
        okay on one or our out please re s she should so some t than that the their them then there these they this
        those to too up us ve was we well were what when where which who why will with would yeah yes you your
        """,
    )
)


def han_bigrams(text: str) -> list[str]:
    """The bigrams of a text's Chinese runs, and runs of one character whole; all else is passed over."""
    runs = _HAN.findall(text)
    return [run[place : place + 2] for run in runs for place in range(max(len(run) - 1, 1))]


def similarity_terms(texts: Sequence[str], language: str) -> list[list[Hashable]]:
    """Each text's terms. Chinese: characters, their bigrams, and words of a-z and 0-9. Else: stems, no stop words."""
    words = [_WORD.findall(text.lower()) for text in texts]
    if language == "zh":
        pairs = zip(texts, words, strict=True)
        return [[*"".join(_HAN.findall(text)), *han_bigrams(text), *of_text] for text, of_text in pairs]
    return _lists(stems([" ".join(word for word in of_text if word not in _STOP) for of_text in words]))


def rouge_tokens(texts: Sequence[str], language: str) -> list[list[Hashable]]:
    """What the default scorers count: every character of Chinese, else the stems of all words of a-z and 0-9."""
    return _lists(characters(texts) if language == "zh" else stems(texts))


def _lists(tokens: TokenizedTexts) -> list[list[Hashable]]:
    bounds = zip(tokens.starts[:-1], tokens.starts[1:], strict=True)
    return [tokens.ids[start:end].tolist() for start, end in bounds]
