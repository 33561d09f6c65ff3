"""Merges the lists that were written for the parts of a long dialogue, such as its decisions, without a model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rolesum.checks.numerals import find_numbers, half_width
from rolesum.checks.sentences import split_sentences
from rolesum.checks.words import content_ngrams
from rolesum.generation.engine import Generation

# Two items say the same where the shorter has so large a share of its words and pairs of words in the longer.
_SAME_SHARE = 0.75

_BULLET = re.compile(r"\s*(?:[-*•·–—]\s+|[•·]|\(?\d{1,2}[.)、）]\s*(?!\d))")
_NONE = re.compile(
    r"(?:none|nothing|n/a|nobody(?: was)? named|no (?:decisions?|action items?|next steps?)(?: (?:was|were) \w+)?"
    r"|无|没有|暂无|未指明)\W*",
    re.IGNORECASE,
)
_NEGATION = re.compile(r"\b(?:not|no|never|without|cannot)\b|n['’]t\b|[不没未无别]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Item:
    """An item of a list with what it is compared by: its content, its numbers, and whether it negates."""

    text: str
    grams: frozenset[str]
    numbers: frozenset[float]
    is_negative: bool

    def says(self, other: "_Item") -> bool:
        """Whether all that another item says is probably in this one."""
        if self.is_negative != other.is_negative or not other.numbers <= self.numbers:
            return False
        if not other.grams:
            return self.text.lower() == other.text.lower()
        return len(self.grams & other.grams) >= _SAME_SHARE * len(other.grams)


def merge_lists(lists: Sequence[Generation], language: str) -> Generation:
    """One list of the items of all, one a line, in order: of items that say the same the one that says most.

    An item is a line, or a sentence where the model wrote several on a line. "None" is left out beside other items. The
    tokens are those of all lists, and the log-probabilities too.
    """
    kept: list[_Item] = []
    for one in lists:
        for text in _items(one.text, language):
            item = _item(text, language)
            if not any(before.says(item) for before in kept):
                same = [place for place, before in enumerate(kept) if item.says(before)]
                kept = [before for place, before in enumerate(kept) if place not in same]
                kept.insert(same[0] if same else len(kept), item)
    text = "\n".join(item.text for item in kept) or lists[0].text
    return replace(_statistics(lists), text=text)


def _items(text: str, language: str) -> list[str]:
    lines = [_BULLET.sub("", line, count=1).strip() for line in text.split("\n")]
    sentences = [one.text for line in lines for one in split_sentences(line, language)]
    return [one for one in sentences if not _NONE.fullmatch(one)]


def _item(text: str, language: str) -> _Item:
    plain = half_width(text)
    numbers = frozenset(one.value for one in find_numbers(plain, language))
    return _Item(text, frozenset(content_ngrams(plain, language)), numbers, bool(_NEGATION.search(plain)))


def _statistics(lists: Sequence[Generation]) -> Generation:
    """The statistics of several texts as those of one."""
    tokens = sum(one.tokens for one in lists)
    means = [(one.mean_logprob, one.tokens) for one in lists if one.mean_logprob is not None and one.tokens]
    weight = sum(number for _, number in means)
    lowest = [one.lowest_logprob for one in lists if one.lowest_logprob is not None]
    return Generation(
        text="",
        tokens=tokens,
        finish_reason="length" if any(one.finish_reason == "length" for one in lists) else "stop",
        mean_logprob=sum(mean * number for mean, number in means) / weight if weight else None,
        lowest_logprob=min(lowest, default=None),
        seconds=max(one.seconds for one in lists),
    )
