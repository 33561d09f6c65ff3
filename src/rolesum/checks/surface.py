"""Surface checks of a summary: repetition, copying, length, and empty, echoed or truncated outputs."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from rolesum.checks.index import DialogueIndex
from rolesum.checks.sentences import Sentence, ends_sentence
from rolesum.checks.types import Flag
from rolesum.checks.words import ngrams, tokenize
from rolesum.instructions.sets import LANGUAGES, instruction_set

Counts = dict[str, tuple[float, float]]

REPETITION_NGRAM = 4  # tokens of the n-grams whose repetition is counted
MIN_ECHOED_TURNS = 2  # so many turns copied with their labels are an echo
_OPENING = {"zh": 7, "en": 20}  # characters of an instruction that no summary begins with by chance
_TURN_BEGINS = 4  # characters of a turn after its label


def surface_counts(summary: str, index: DialogueIndex) -> Counts:
    """Repetition, distinct n-grams, coverage, density, length and compression, each as (hits, cases)."""
    tokens = tokenize(summary, index.language)
    fours = ngrams(tokens, REPETITION_NGRAM)
    pairs = ngrams(tokens, 2)
    fragments = list(_fragments(tokens, index))
    size = float(len(tokens))
    return {
        "repetition": (len(fours) - len(set(fours)), len(fours)),
        "distinct1": (len(set(tokens)), size),
        "distinct2": (len(set(pairs)), len(pairs)),
        "coverage": (sum(fragments), size),
        "density": (sum(length**2 for length in fragments), size),
        "length": (size, 1),
        "compression": (len(index.tokens), size),
    }


def _fragments(tokens: Sequence[str], index: DialogueIndex) -> Iterator[int]:
    """Lengths of the runs that the dialogue holds word by word, longest first at each place (Grusky et al. 2018)."""
    spelling = "".join(index.token_characters.get(token, " ") for token in tokens)
    begin = 0
    while begin < len(spelling):
        length = 0
        while begin + length < len(spelling) and spelling[begin : begin + length + 1] in index.token_string:
            length += 1
        if length:
            yield length
        begin += max(1, length)


def duplicate_flags(sentences: Sequence[Sentence]) -> Iterator[Flag]:
    """Flags of sentences that repeat an earlier sentence of the summary, apart from the final punctuation."""
    seen: set[str] = set()
    for sentence in sentences:
        text = re.sub(r"(?<![\s。.!！?？])[\s。.!！?？]++$", "", sentence.text).casefold()
        if text in seen:
            yield Flag("duplicate", sentence.start, sentence.end, "this sentence repeats an earlier one")
        seen.add(text)


def broken_output_flags(summary: str, role: str, sentences: Sequence[Sentence], index: DialogueIndex) -> Iterator[Flag]:
    """Flags of outputs that are empty, repeat the prompt, or stop within a sentence."""
    if not sentences:
        yield Flag("empty", 0, len(summary), "no words")
        return
    if echo := _echo(summary, role, index):
        yield echo
    if not ends_sentence(summary):
        yield Flag("truncated", sentences[-1].start, sentences[-1].end, "no end of a sentence")


def _echo(summary: str, role: str, index: DialogueIndex) -> Flag | None:
    """The first piece of an instruction, or the run of turns that are copied with their labels."""
    lowered = summary.casefold()
    for opening in _openings(role):
        if (place := lowered.find(opening)) >= 0:
            return Flag("echo", place, place + len(opening), "the words of an instruction")
    found = list(_copied_turns(summary, index))
    if len(found) < MIN_ECHOED_TURNS:
        return None
    turns = tuple(sorted({turn for _, turn in found}))
    return Flag("echo", found[0][0], len(summary.rstrip()), "turns copied with their speakers' labels", turns)


@lru_cache(maxsize=64)
def _openings(role: str) -> tuple[str, ...]:
    """How the built-in instructions begin, up to where they name the role's speakers."""
    found = set()
    for language in LANGUAGES:
        chosen = instruction_set(language)
        for template in (*chosen.instructions.values(), chosen.custom.replace("{role}", role)):
            begin = re.split(r"\{", template)[0].casefold()
            if len(begin) >= _OPENING[language]:
                found.add(begin[: 2 * _OPENING[language]])
    return tuple(sorted(found))


def _copied_turns(summary: str, index: DialogueIndex) -> Iterator[tuple[int, int]]:
    """(place in the summary, turn) of each label that a colon and the beginning of one of its turns follow."""
    labels = index.dialogue.speakers()
    if not any(label and label in summary for label in labels):
        return
    listed = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True) if label)
    for one in re.finditer(rf"(?<!\w)({listed})[:：]\s*", summary):
        after = summary[one.end() :]
        for place, turn in enumerate(index.dialogue.turns):
            begin = turn.text[:_TURN_BEGINS]
            if turn.speaker == one[1] and begin and after.startswith(begin):
                yield one.start(), place
                break
