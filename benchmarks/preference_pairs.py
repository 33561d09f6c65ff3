"""Make pairs of summaries for preference tuning from the false statements of a data file.

    python benchmarks/preference_pairs.py sample:dialogues-en-train runs/pairs-en.jsonl

Each false statement gives a pair: the chosen summary is the reference of its role, the rejected one the same with the
sentence that shares most content with the statement replaced by it. Where none shares enough, or the summary is that
one sentence, the statement is added at a place that is drawn. The dialogues are written with their pairs, in
rolesum's own format.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rolesum.atomic_io import atomic_write_text
from rolesum.checks.sentences import Sentence, split_sentences
from rolesum.checks.words import content_ngrams
from rolesum.counts import counted
from rolesum.dialogue import Dialogue, Pair
from rolesum.formats import read_dialogues
from rolesum.formats.jsonl import to_json

# The least overlap of a sentence that is replaced: about two content words in common, such as a name and a thing.
LEAST_OVERLAP = 0.08


def main() -> int:
    options = _options()
    made, replaced = list[Dialogue](), Counter[bool]()
    for dialogue in read_dialogues(options.data):
        found = list(make_pairs(dialogue, options.seed, options.least_overlap))
        replaced.update(was_replaced for _, was_replaced in found)
        if found:
            made.append(replace(dialogue, pairs=tuple(pair for pair, _ in found)))
    if not made:
        sys.exit(f"{options.data}: no false statement for a role that has a summary")
    atomic_write_text(options.out, "".join(f"{to_json(one)}\n" for one in made))
    sentences = f"a sentence replaced in {replaced[True]}, added in {replaced[False]}"
    print(f"{counted(len(made), 'dialogue')}, {counted(replaced.total(), 'pair')}: {sentences}")
    return 0


def make_pairs(dialogue: Dialogue, seed: int, least_overlap: float = LEAST_OVERLAP) -> Iterator[tuple[Pair, bool]]:
    """A pair for each false statement whose role has a reference, and whether a sentence was replaced.

    What is drawn depends on the seed and the dialogue's id only. Of several references the first is taken.
    """
    drawn = random.Random(f"{seed} {dialogue.id}")
    for statement in dialogue.statements:
        if statement.supported or not dialogue.summaries.get(statement.role):
            continue
        chosen = dialogue.summaries[statement.role][0].strip()
        sentences = split_sentences(chosen, dialogue.language)
        place = _most_alike(sentences, statement.text, dialogue.language, least_overlap)
        if place is None:
            rejected = _with_added(chosen, sentences, statement.text, dialogue.language, drawn)
        else:
            rejected = chosen[: sentences[place].start] + statement.text + chosen[sentences[place].end :]
        if rejected.split() != chosen.split():
            yield Pair(statement.role, chosen, rejected), place is not None


def overlap(one: str, other: str, language: str) -> float:
    """The content n-grams that both texts have, as a share of those that either has (Jaccard)."""
    left, right = set(content_ngrams(one, language)), set(content_ngrams(other, language))
    return len(left & right) / len(left | right) if left | right else 0.0


def _most_alike(sentences: list[Sentence], statement: str, language: str, least: float) -> int | None:
    """The place of the first of the sentences that overlap most; None where that is less than `least`.

    None too for a single sentence: without it nothing true would be left.
    """
    if len(sentences) < 2:
        return None
    overlaps = [overlap(sentence.text, statement, language) for sentence in sentences]
    best = max(range(len(overlaps)), key=overlaps.__getitem__)
    return best if overlaps[best] >= least else None


def _with_added(summary: str, sentences: list[Sentence], statement: str, language: str, drawn: random.Random) -> str:
    """The summary with the statement before a sentence that is drawn, or behind the last."""
    space = "" if language == "zh" else " "
    place = drawn.randint(0, len(sentences))
    if place == len(sentences):
        return f"{summary}{space}{statement}"
    start = sentences[place].start
    return f"{summary[:start]}{statement}{space}{summary[start:]}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", help="a file with summaries and statements, or sample:NAME")
    parser.add_argument("out", type=Path, help="the file of dialogues with pairs that is written")
    parser.add_argument("--seed", type=int, default=1, help="decides where a statement is added")
    parser.add_argument("--least-overlap", type=float, default=LEAST_OVERLAP, help="of a sentence that is replaced")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
