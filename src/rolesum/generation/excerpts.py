"""A turn as it is shown in short: who speaks, and the part of what is said that is not too long."""

import re
from collections.abc import Sequence

from rolesum.checks.sentences import Sentence, split_sentences
from rolesum.checks.words import content_ngrams
from rolesum.redaction.mask import PLACEHOLDER

# The characters of a turn that are quoted; a sentence is cut only where it alone is longer than twice as many.
_LONGEST = {"en": 200, "zh": 80}
_SPACE = re.compile(r"\s+")


def speaker_label(speaker: str, language: str) -> str:
    """Who speaks, with the colon that stands before the words."""
    return f"{speaker}：" if language == "zh" else f"{speaker}: "


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
    words, before = text[start:end].strip(), "… " if start else ""
    if len(words) > 2 * longest:
        return before + _cut(words, longest)
    return f"{before}{words}{' …' if end < len(text) else ''}"


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
