"""Split a summary into statements: its sentences, and the clauses of those in which each side has a verb of its own.

The rules leave a sentence whole where they are in doubt: a whole sentence can be verified, while half of one may say
something else. So nothing is split behind a condition, or where an auxiliary may be shared. A clause without a subject
gets that of the clause before it, a statement with a pronoun the text before it in front.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rolesum.checks.clauses_en import split_clauses as split_english
from rolesum.checks.clauses_zh import split_clauses as split_chinese
from rolesum.checks.sentences import split_sentences

_SPLIT: dict[str, Callable[[str], Iterator[tuple[int, int, str]]]] = {"en": split_english, "zh": split_chinese}
_LONGEST = 1000  # characters of a sentence that is split: the rules' time is quadratic
_PRONOUN_EN = re.compile(
    r"\b(?:he|she|they|him|her|them|his|hers|their|theirs|himself|herself|themselves)\b"
    r"|^\W*(?:it|its|this|these|those|that(?! (?:the|a|an)\b))\b",
    re.IGNORECASE,
)
_PRONOUN_ZH = re.compile(r"(?<!其)[他她它]|对方|(?<![极尤])其(?![他中余实])|^(?:这|那|该|此)(?!里|外)")


@dataclass(frozen=True, slots=True)
class StatementSpan:
    """A statement of a summary.

    `start` and `end` count characters of the summary. `text` is what is to be verified: it may have the subject of an
    earlier clause, and the text before it, in front.
    """

    start: int
    end: int
    text: str


def split_statements(text: str, language: str) -> list[StatementSpan]:
    """The statements of a summary in their order; `language` is "en" or "zh".

    Example:
        >>> [one.text for one in split_statements("Jana asked the depot, and explained the refund.", "en")]
        ['Jana asked the depot.', 'Jana explained the refund.']
    """
    found: list[StatementSpan] = []
    pronoun, gap = (_PRONOUN_ZH, "") if language == "zh" else (_PRONOUN_EN, " ")
    before = ""  # the sentence, or the clause of the same sentence, before
    for sentence in split_sentences(text, language):
        whole = [(0, len(sentence.text), sentence.text)]
        for start, end, said in _SPLIT[language](sentence.text) if len(sentence.text) <= _LONGEST else whole:
            shown = f"{before}{gap}{said}" if before and pronoun.search(said) else said
            found.append(StatementSpan(sentence.start + start, sentence.start + end, shown))
            before = said
        before = sentence.text
    return found
