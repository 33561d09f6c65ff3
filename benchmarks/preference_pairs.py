"""Make pairs of summaries for preference tuning: the chosen one is a reference, the rejected one says something false.

    python benchmarks/preference_pairs.py sample:dialogues-en-train runs/pairs-en.jsonl
    python benchmarks/preference_pairs.py sample:dialogues-en-train runs/pairs-en.jsonl --rejected errors runs/own-en

The rejected summaries are of three kinds:

- statements: for each false statement of the data, the reference with the sentence that shares most content with it
  replaced by it. Where none shares enough, or the summary is that one sentence, the statement is added at a place that
  is drawn. `--replaced-only` leaves those pairs out, whose rejected summary is longer.
- errors: the reference with one error that a rule makes (summary_errors.py).
- a directory of `rolesum evaluate`: what a model wrote, where it doubts a statement of it: its support is less than
  `--threshold`.

The dialogues are written with their pairs, in rolesum's own format.
"""

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

from summary_errors import errors

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
    made, kinds = list[Dialogue](), Counter[str]()
    makers = [_maker(source, options) for source in options.rejected]
    for dialogue in read_dialogues(options.data):
        found = [made for make in makers for made in make(dialogue)]
        kinds.update(kind for _, kind in found)
        if found:
            made.append(replace(dialogue, pairs=tuple(pair for pair, _ in found)))
    if not made:
        sys.exit(f"{options.data}: no false statement or error for a role that has a summary")
    atomic_write_text(options.out, "".join(f"{to_json(one)}\n" for one in made))
    by_kind = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    print(f"{counted(len(made), 'dialogue')}, {counted(kinds.total(), 'pair')}: {by_kind}")
    return 0


def _maker(source: str, options: argparse.Namespace) -> Callable[[Dialogue], Iterator[tuple[Pair, str]]]:
    """What makes a dialogue's pairs from one source of rejected summaries, each with its kind."""
    if source == "errors":
        return partial(pairs_with_errors, seed=options.seed, count=options.errors)
    if source != "statements":
        return partial(pairs_with_doubtful, written=doubtful_summaries(Path(source), options.threshold))

    def with_statements(dialogue: Dialogue) -> Iterator[tuple[Pair, str]]:
        for pair, replaced in make_pairs(dialogue, options.seed, options.least_overlap):
            if replaced or not options.replaced_only:
                yield pair, "replaced" if replaced else "added"

    return with_statements


def pairs_with_errors(dialogue: Dialogue, seed: int, count: int = 1) -> Iterator[tuple[Pair, str]]:
    """Up to `count` pairs of each reference, whose rejected summary has an error of the kind that is told."""
    drawn = random.Random(f"{seed} {dialogue.id}")
    for role, references in dialogue.summaries.items():
        for kind, rejected in islice(errors(references[0].strip(), dialogue, drawn), count):
            yield Pair(role, references[0].strip(), rejected), kind


def pairs_with_doubtful(dialogue: Dialogue, written: Mapping[tuple[str, str], str]) -> Iterator[tuple[Pair, str]]:
    """A pair of each reference and what a model has `written`, by dialogue and role, where it doubts it."""
    for role, references in dialogue.summaries.items():
        rejected = written.get((dialogue.id, role))
        if rejected and rejected.split() != references[0].split():
            yield Pair(role, references[0].strip(), rejected), "doubtful"


def doubtful_summaries(run: Path, threshold: float) -> dict[tuple[str, str], str]:
    """The summaries of an evaluation with a statement of less support, by dialogue and role."""
    lines = (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    found: dict[tuple[str, str], str] = {}
    for row in map(json.loads, lines):
        supports = [one["support"] for one in row.get("statements", ()) if one.get("support") is not None]
        if supports and min(supports) < threshold:
            found[row["id"], row["role"]] = row["prediction"].strip()
    return found


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
    sources = "statements, errors, or an evaluation's directory; several may be named"
    parser.add_argument("--rejected", nargs="+", default=["statements"], metavar="SOURCE", help=sources)
    parser.add_argument("--errors", type=int, default=1, help="pairs with an error of each summary")
    parser.add_argument("--replaced-only", action="store_true", help="leave out pairs with an added statement")
    parser.add_argument("--threshold", type=float, default=0.5, help="support under which a statement is doubtful")
    parser.add_argument("--seed", type=int, default=1, help="decides what is drawn")
    parser.add_argument("--least-overlap", type=float, default=LEAST_OVERLAP, help="of a sentence that is replaced")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
