"""Tokenize many texts at once into arrays of token ids, on which the scorers count."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
TextTokenizer = Callable[[Sequence[str]], "TokenizedTexts"]

_WORD = re.compile(r"[a-z0-9]+")
_STEMMED_FROM = 4  # rouge-score stems words of more than three characters


@dataclass(frozen=True)
class TokenizedTexts:
    """Texts as token ids. Line l is ids[line_starts[l]:line_starts[l+1]]; text t is lines text_starts[t] to its next.

    Equal tokens have equal ids within one process, whichever call made them.
    """

    ids: Ints  # (tokens,)
    line_starts: Ints  # (lines + 1,)
    text_starts: Ints  # (texts + 1,)

    @cached_property
    def starts(self) -> Ints:
        """Where each text's tokens begin, (texts + 1,)."""
        return self.line_starts[self.text_starts]

    @cached_property
    def lengths(self) -> Ints:
        """Tokens of each text, (texts,)."""
        return np.diff(self.starts)

    @cached_property
    def text_of_token(self) -> Ints:
        """The text in which each token stands, (tokens,)."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def take(self, texts: Ints) -> "TokenizedTexts":
        """The chosen texts in this order; one may be chosen more than once."""
        lines, text_starts = _ranges(self.text_starts, texts)
        tokens, line_starts = _ranges(self.line_starts, lines)
        return TokenizedTexts(self.ids[tokens], line_starts, text_starts)


def characters(texts: Sequence[str]) -> TokenizedTexts:
    """Every character but the newline is a token; its id is its code point."""
    whole = "\n".join(texts)
    ids = np.frombuffer(whole.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.int64)
    newline = ids == ord("\n")
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    ends = np.cumsum(lengths + 1) - 1  # in `whole`, of each text: the newline that joins it to the next
    before = np.concatenate([[0], np.cumsum(newline)])  # newlines before each character
    breaks = np.flatnonzero(np.append(newline, True))  # the ends of all lines
    line_starts = np.concatenate([[0], breaks - np.arange(len(breaks))])
    text_starts = np.concatenate([[0], before[np.minimum(ends, len(ids))] + 1])
    return TokenizedTexts(ids[~newline], line_starts, text_starts)


def characters_without_space(texts: Sequence[str]) -> TokenizedTexts:
    """sacrebleu's tokenizer "char", and chrF's characters: every one that is no white space."""
    return characters(["".join(text.split()) for text in texts])


def words(texts: Sequence[str]) -> TokenizedTexts:
    """rouge-score's tokens: runs of a-z and 0-9 in the lower-cased text."""
    return _of_lists((_WORD.findall(line.lower()) for line in text.split("\n")) for text in texts)


def stems(texts: Sequence[str]) -> TokenizedTexts:
    """rouge-score's tokens with `use_stemmer`: those of more than three characters by Porter's stemmer."""
    return _of_lists((map(_stem, _WORD.findall(line.lower())) for line in text.split("\n")) for text in texts)


def mteval(texts: Sequence[str]) -> TokenizedTexts:
    """sacrebleu's tokenizer "13a", its default: that of mteval-v13a, as WMT uses it."""
    tokenize = _tokenizer_13a()
    return _of_lists([tokenize(text.rstrip()).split()] for text in texts)


def _of_lists(texts: Iterable[Iterable[Iterable[str]]]) -> TokenizedTexts:
    """Tokens of texts that are lists of lines, which are lists of words."""
    vocabulary, ids = _vocabulary(), list[int]()
    line_starts, text_starts = [0], [0]
    for lines in texts:
        for line in lines:
            ids += [vocabulary.setdefault(word, len(vocabulary)) for word in line]
            line_starts.append(len(ids))
        text_starts.append(len(line_starts) - 1)
    arrays = (np.array(numbers, dtype=np.int64) for numbers in (ids, line_starts, text_starts))
    return TokenizedTexts(*arrays)


@cache
def _vocabulary() -> dict[str, int]:
    """Word -> id, for the whole process."""
    return {}


@cache
def _stem(word: str) -> str:
    return str(_stemmer().stem(word)) if len(word) >= _STEMMED_FROM else word


@cache
def _stemmer():  # type: ignore[no-untyped-def]
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


@cache
def _tokenizer_13a() -> Callable[[str], str]:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    tokenizer: Callable[[str], str] = Tokenizer13a()  # type: ignore[no-untyped-call]  # sacrebleu is untyped here
    return tokenizer


def _ranges(starts: Ints, chosen: Ints) -> tuple[Ints, Ints]:
    """All places from starts[c] to starts[c + 1] of each chosen c, one after the other, and where each c's begin."""
    lengths = starts[chosen + 1] - starts[chosen]
    begins = np.concatenate([[0], np.cumsum(lengths)])
    return np.arange(begins[-1]) + np.repeat(starts[chosen] - begins[:-1], lengths), begins
