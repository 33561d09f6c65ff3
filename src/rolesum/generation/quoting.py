"""Replaces the sentences of a summary with a doubtful statement by what the dialogue says, word for word.

A statement that the dialogue may not say was still written because of something in it. The turn that shares most of its
words, of those who play the summary's role, is quoted in its place. A quote says what was said, not that it is so: a
speaker may have been wrong, or have been put right later. The clauses of such a sentence that are not doubtful go too:
read by people, half of those that were kept were not true (docs/results.md).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rolesum.checks.evidence import MIN_FIRST_SHARE, ngram_scores
from rolesum.checks.index import DialogueIndex
from rolesum.checks.sentences import Sentence, split_sentences
from rolesum.checks.words import content_ngrams
from rolesum.dialogue import Dialogue, RoleSummary, SummaryStatement
from rolesum.formats.shown_times import shown_times
from rolesum.generation.dropping import Quoted, drop_doubtful, rewrite
from rolesum.redaction.mask import PLACEHOLDER

# The characters of a turn that are quoted; a sentence is cut only where it alone is longer than twice as many.
_LONGEST = {"en": 160, "zh": 60}
MAX_QUOTES = 4  # of one summary: those whose turns share most with the statements that they replace
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class _Candidate:
    turn: int
    score: float


def quote_doubtful(summary: RoleSummary, dialogue: Dialogue) -> RoleSummary:
    """The summary with quotes in place of the sentences with a doubtful statement, whose statements are its `dropped`.

    `dialogue` is what the model was shown. Where no turn shares enough words with a statement, it is left out without a
    quote; where nothing would stay, the summary is returned as it is.
    """
    if not summary.doubtful:
        return summary
    quoter = _Quoter(summary, dialogue)
    return rewrite(summary, dialogue.language, quoter.quotes_for, whole_sentences=True)


class _Quoter:
    """Chooses the turns that are quoted in place of statements, each turn once."""

    def __init__(self, summary: RoleSummary, dialogue: Dialogue) -> None:
        self.index = DialogueIndex(dialogue)
        own = self.index.turns_by_role.get(summary.role)
        self.places = sorted(own) if own else range(len(dialogue.turns))
        self.best = {one.text: found for one in _to_replace(summary, dialogue.language) if (found := self._best(one))}
        order = sorted(self.best.values(), key=lambda one: -one.score)
        self.allowed = set(list(dict.fromkeys(one.turn for one in order))[:MAX_QUOTES])
        self.times = shown_times(dialogue)

    def _best(self, statement: SummaryStatement) -> _Candidate | None:
        (scores,) = ngram_scores([statement.text], self.index)
        turn = max(self.places, key=lambda place: (scores[place], -place))
        return _Candidate(turn, scores[turn]) if scores[turn] >= MIN_FIRST_SHARE else None

    def quotes_for(self, statements: Sequence[SummaryStatement]) -> list[Quoted]:
        """The quotes in place of `statements`, in the dialogue's order."""
        turns = {self.best[one.text].turn for one in statements if one.text in self.best} & self.allowed
        self.allowed -= turns
        return [self._quote(turn, statements) for turn in sorted(turns)]

    def _quote(self, turn: int, statements: Sequence[SummaryStatement]) -> Quoted:
        """The sentences of a turn that share most with those of the statements that it stands for."""
        said = " ".join(one.text for one in statements if (best := self.best.get(one.text)) and best.turn == turn)
        whole = self.index.dialogue.turns[turn]
        words = f"“{excerpt(whole.text, said, self.index.language)}”"
        return Quoted(whole.speaker, words, turn, self.times[turn] if self.times else "")


def _to_replace(summary: RoleSummary, language: str) -> Iterator[SummaryStatement]:
    """The statements of the sentences that have a doubtful one."""
    doubtful = summary.doubtful
    for sentence in split_sentences(summary.text, language):
        own = [one for one in summary.statements if sentence.start <= one.start < sentence.end]
        if any(one in doubtful for one in own):
            yield from own


def excerpt(text: str, statement: str, language: str) -> str:
    """The sentences of a turn's `text` around the one that shares most with `statement`, as many as may be quoted.

    What was left out before or after them is marked by "…".
    """
    longest = _LONGEST["zh" if language == "zh" else "en"]
    text = _SPACE.sub(" ", text).strip()
    if len(text) <= longest:
        return text
    sentences = split_sentences(text, language)
    if not sentences:
        return _cut(text, longest)
    shared = _shared(sentences, statement, language)
    first = last = max(range(len(sentences)), key=lambda place: (shared[place], -place))
    while True:  # the neighbor that shares more comes first, the earlier one of two that are equal
        options = [
            (-shared[place], place)
            for place in (first - 1, last + 1)
            if 0 <= place < len(sentences)
            and max(sentences[place].end, sentences[last].end) - min(sentences[place].start, sentences[first].start)
            <= longest
        ]
        if not options:
            break
        _, place = min(options)
        first, last = min(first, place), max(last, place)
    start = 0 if first == 0 else sentences[first].start
    end = len(text) if last == len(sentences) - 1 else sentences[last].end
    words = text[start:end].strip()
    if len(words) > 2 * longest:
        return _cut(words, longest)
    return f"{'… ' if start else ''}{words}{' …' if end < len(text) else ''}"


def _shared(sentences: Sequence[Sentence], statement: str, language: str) -> list[float]:
    """How many of the n-grams of a statement stand in each sentence."""
    wanted = set(content_ngrams(statement, language))
    return [float(len(wanted & set(content_ngrams(one.text, language)))) for one in sentences]


def _cut(text: str, longest: int) -> str:
    """The beginning of a text without sentences, to the end of a word and to no place within a placeholder."""
    end = next((one.start() for one in PLACEHOLDER.finditer(text) if one.start() < longest < one.end()), longest)
    begin = text[:end]
    if (space := begin.rfind(" ")) > longest // 2 and text[end].strip():  # Chinese may have few spaces
        begin = begin[:space]
    return begin.rstrip() + " …"


Rewrite = Callable[[RoleSummary, Dialogue], RoleSummary]

# What becomes of a summary by the modes of --verify that change its text.
REWRITES: Mapping[str, Rewrite] = {
    "quote": quote_doubtful,
    "drop": lambda summary, dialogue: drop_doubtful(summary, dialogue.language),
}
