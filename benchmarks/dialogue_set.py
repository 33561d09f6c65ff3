"""Validate the dialogues of rolesum-dialogues against their guide, and print what the set is made of.

    python benchmarks/dialogue_set.py                    the files of the package
    python benchmarks/dialogue_set.py BATCH.jsonl        a batch before it is added; the files are compared with it
    python benchmarks/dialogue_set.py --add BATCH.jsonl  check it so, then put each dialogue into its split's file

Exit codes: 0 no problem, 1 problems, each with its file, line and id.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dialogue_overlap import Comparison
from dialogue_rules import (
    CHANNELS,
    DOMAINS,
    KINDS,
    MARK_SHARES,
    OUTCOMES,
    SPLITS,
    dialogue_problems,
    length_of,
    split_of,
)
from rich.console import Console
from rich.table import Table

from rolesum.atomic_io import atomic_write_text
from rolesum.counts import counted
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem
from rolesum.formats import ReadOptions, read_dialogues

SAMPLES = Path(__file__).resolve().parent.parent / "src" / "rolesum" / "samples"
MOST_ALIKE = 0.2  # Jaccard similarity of two dialogues' 5-grams
SAME_STORY, SHARED_DETAILS = 0.25, 3  # cosine, and details of one domain, from which two dialogues tell one story
SHARES_FROM = 200  # dialogues of a language from which the shares of marks are held to
LEAST_SHARE = 0.8  # of a mark's share
LONG_TURNS, LISTED = 25, 5


def find_problems(compared: Comparison) -> Iterator[Problem]:
    """The problems of each dialogue, and those between dialogues, of one language."""
    dialogues = compared.dialogues
    counts = Counter(one.id for one in dialogues)
    for one in dialogues:
        if counts[one.id] > 1:
            yield Problem("the id stands twice", _where(one), "give it another number")
        yield from dialogue_problems(one)
        named = re.search(rf"-({'|'.join(SPLITS)})\.jsonl", one.source)
        if named and one.id[-1].isdigit() and named[1] != split_of(one.id):
            yield Problem(f"in the {named[1]} file", _where(one), f"its id belongs to {split_of(one.id)}")
    for (left, right), value in compared.jaccard.items():
        if value >= MOST_ALIKE:
            yield _pair(dialogues, left, right, f"{value:.2f} of the 5-grams are those of", "write another dialogue")
    yield from _shared_stories(compared)
    if len(dialogues) >= SHARES_FROM:
        marks = Counter(mark for one in dialogues for mark in one.meta.get("marks", ()))
        for mark, share in MARK_SHARES.items():
            if marks[mark] < LEAST_SHARE * share * len(dialogues):
                what = f"{marks[mark]} of {len(dialogues)} dialogues have the mark {mark}"
                yield Problem(what, dialogues[0].language, f"{share:.0%} are meant to")


def _shared_stories(compared: Comparison) -> Iterator[Problem]:
    dialogues = compared.dialogues
    splits = [split_of(one.id) if one.id[-1].isdigit() else "" for one in dialogues]
    fix = "change the story of one of them"
    for (left, right), value in compared.stories.items():
        if splits[left] != splits[right] and value >= SAME_STORY:
            yield _pair(dialogues, left, right, f"a story as that of another split (cosine {value:.2f}):", fix)
    for (left, right), both in compared.shared_details():
        if splits[left] != splits[right] and len(both) >= SHARED_DETAILS:
            what = f"domain and {', '.join(sorted(both)[:LISTED])} shared with another split:"
            yield _pair(dialogues, left, right, what, fix)


def _pair(dialogues: Sequence[Dialogue], left: int, right: int, what: str, fix: str) -> Problem:
    return Problem(f"{what} {dialogues[right].id} ({dialogues[right].source})", _where(dialogues[left]), fix)


def _where(dialogue: Dialogue) -> str:
    return f"{dialogue.source}, id {dialogue.id}"


def read(paths: Iterable[Path]) -> tuple[list[Dialogue], list[Problem]]:
    """The dialogues of the files, and the problems of files that cannot be read."""
    dialogues: list[Dialogue] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            dialogues += read_dialogues(path, ReadOptions(format="rolesum"))
        except DataError as error:
            problems += error.problems
    return dialogues, problems


def print_shares(console: Console, dialogues: Sequence[Dialogue], language: str) -> None:
    """Print the shares of splits, domains, channels, outcomes, marks and lengths of one language."""
    count = len(dialogues)
    table = Table("", "dialogues", "share", "meant", title=f"{language}: {count} dialogues")
    rows: list[tuple[str, Iterable[str], Iterable[str]]] = [
        ("split", SPLITS, (split_of(one.id) for one in dialogues)),
        ("channel", CHANNELS, (str(one.meta.get("channel")) for one in dialogues)),
        ("outcome", OUTCOMES, (str(one.meta.get("outcome")) for one in dialogues)),
        ("domain", DOMAINS, (str(one.meta.get("domain")) for one in dialogues)),
        ("mark", MARK_SHARES, (str(mark) for one in dialogues for mark in one.meta.get("marks", ()))),
        ("kind", KINDS, (said.kind for one in dialogues for said in one.statements if said.kind)),
    ]
    meant = {**{f"mark {mark}": share for mark, share in MARK_SHARES.items()}, "long": 0.1, "with times": 0.25}
    meant |= {"split train": 0.8, "split validation": 0.08, "split test": 0.12, "channel meeting": 0.1}
    for field, known, values in rows:
        found = Counter(values)
        for value in known:
            if found[value] or field != "domain":
                _row(table, f"{field} {value}", found[value], count, meant)
        table.add_section()
    _row(table, "long", sum(len(one.turns) > LONG_TURNS for one in dialogues), count, meant)
    _row(table, "with times", sum(bool(one.turns[0].time) for one in dialogues), count, meant)
    console.print(table)


def _row(table: Table, name: str, found: int, count: int, meant: dict[str, float]) -> None:
    table.add_row(name, str(found), f"{found / count:.0%}", f"{meant[name]:.0%}" if name in meant else "")


def print_language(console: Console, compared: Comparison, language: str) -> None:
    """Print what repeats (first turns, endings, names), the most alike pairs, and how statements betray their label."""
    dialogues = compared.dialogues
    table = Table("", "most frequent", title=f"{language}: what repeats")
    table.add_row("first turns", _frequent(_opening(one.turns[0].text, language) for one in dialogues))
    table.add_row("endings", _frequent(_opening(one.turns[-1].text, language) for one in dialogues))
    table.add_row("names", _frequent(name for details in compared.details for name in details if name[0].isalpha()))
    table.add_row("labels", _frequent(label for one in dialogues for label in one.speakers()))
    for name, pairs in (("5-grams", compared.jaccard), ("stories", compared.stories)):
        best = sorted(pairs.items(), key=lambda item: -item[1])[:LISTED]
        table.add_row(
            f"most alike, {name}",
            ", ".join(f"{dialogues[a].id} {dialogues[b].id} {value:.3f}" for (a, b), value in best) or "none",
        )
    console.print(table)
    table = Table(
        "statements", "number", "mean length", "with digits", "with a negation", title=f"{language}: statements"
    )
    for label in (True, False):
        texts = [said.text for one in dialogues for said in one.statements if said.supported is label]
        if texts:
            shares = [sum(bool(re.search(what, text)) for text in texts) / len(texts) for what in (r"\d", NEGATION)]
            mean = sum(length_of(text, language) for text in texts) / len(texts)
            table.add_row(
                "true" if label else "false", str(len(texts)), f"{mean:.1f}", *(f"{one:.0%}" for one in shares)
            )
    console.print(table)


NEGATION = r"(?i)\bnot?\b|n't\b|\bcannot\b|\bwithout\b|不|没|未|无"


def _opening(text: str, language: str) -> str:
    return " ".join(text.lower().split()[:3]) if language == "en" else text[:4]


def _frequent(values: Iterable[str]) -> str:
    return (
        ", ".join(f"{value!r} {count}" for value, count in Counter(values).most_common(LISTED) if count > 1) or "none"
    )


def add(paths: Sequence[Path], samples: Path) -> None:
    """Put the dialogues of checked batches into the files of their splits, in the order of their ids."""
    lines: dict[Path, dict[str, str]] = {}
    for path in paths:
        for line in filter(str.strip, path.read_text(encoding="utf-8").splitlines()):
            value = json.loads(line)
            target = samples / f"dialogues-{value['language']}-{split_of(value['id'])}.jsonl"
            if target not in lines:
                held = target.read_text(encoding="utf-8").splitlines() if target.exists() else []
                lines[target] = {json.loads(one)["id"]: one for one in held}
            lines[target][value["id"]] = json.dumps(value, ensure_ascii=False)
    for target, by_id in lines.items():
        atomic_write_text(target, "".join(f"{by_id[identity]}\n" for identity in sorted(by_id)))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("batch", nargs="*", type=Path, help="files of dialogues that are not in the set yet")
    parser.add_argument("--samples", type=Path, default=SAMPLES, help="the directory of the set's files")
    parser.add_argument("--add", action="store_true", help="put the batch into the files if it has no problem")
    options = parser.parse_args(arguments)
    held = sorted(options.samples.glob("dialogues-*.jsonl"))
    if not held and not options.batch:
        parser.error(f"no dialogues-*.jsonl in {options.samples}")
    dialogues, problems = read([*held, *options.batch])
    console = Console(width=None if sys.stdout.isatty() else 120)
    for language in ("en", "zh"):
        if of_language := [one for one in dialogues if one.language == language]:
            compared = Comparison(of_language)
            found = list(find_problems(compared))
            problems += found
            if all(re.fullmatch(r"\w\w-\d+", one.id) for one in of_language):
                print_shares(console, of_language, language)
                print_language(console, compared, language)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{counted(len(dialogues), 'dialogue')}, {counted(len(problems), 'problem')}")
    if options.add and not problems:
        add(options.batch, options.samples)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
