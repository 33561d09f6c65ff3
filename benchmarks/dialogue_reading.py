"""A blind second reading of rolesum-dialogues: sheets for the readers, and how far they agree with the writers.

    python benchmarks/dialogue_reading.py sheets --out DIR           a sheet for each part of the splits
    python benchmarks/dialogue_reading.py collect DIR --reader NAME  the answers beside the sheets, as lines of JSON
    python benchmarks/dialogue_reading.py agreement FILE...          shares and Cohen's kappa, of what such files hold

A sheet shows dialogues, then numbered sentences: those of the reference summaries, and (test split) the six statements
in another order, without labels. A reader answers each in SHEET.answers, a line each: `12 said`, `13 not said: why` or
`14 misleading: why`. A statement's own label counts as said or not said.
"""

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dialogue_rules import SUMMARIES
from reading import agreement, collect_answers, dialogue_lines, label_pairs, read_lines, write_key
from record import Job, print_rows

from rolesum.atomic_io import atomic_write_text
from rolesum.checks.sentences import split_sentences
from rolesum.counts import counted
from rolesum.dialogue import Dialogue
from rolesum.formats import read_dialogues

LANGUAGES = ("en", "zh")
LABELS = ("said", "not said", "misleading")
TRAIN_SHARE, SEED = 0.1, 1


@dataclass(frozen=True)
class Item:
    """A sentence to be read: of the reference with that number for a role, or a statement with its label."""

    dialogue: str
    role: str
    text: str
    reference: int = 0  # from 1; 0 for a statement
    supported: bool | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.what == "sheets":
        write_sheets(options.out, options.parts, options.train_share)
    elif options.what == "collect":
        return collect_answers(options.folder, options.folder, options.reader, LABELS, lambda *_: "")
    else:
        lines = read_lines(options.files)
        print_rows("statements of the test split", statement_rows(lines))
        print_rows("sentences of reference summaries", reference_rows(lines))
    return 0


def write_sheets(out: Path, parts: int, train_share: float) -> None:
    """Write the sheets of both languages, and beside each its items as lines of JSON, which no reader opens."""
    out.mkdir(parents=True, exist_ok=True)
    for language in LANGUAGES:
        test = read_dialogues(f"sample:dialogues-{language}-test")
        train = read_dialogues(f"sample:dialogues-{language}-train")
        drawn = random.Random(SEED).sample(train, round(train_share * len(train)))
        sheets = {f"{language}-test-{part + 1}": test[part::parts] for part in range(parts)}
        for name, dialogues in (sheets | {f"{language}-train": drawn}).items():
            items = [list(_items(one, with_statements="-test" in name)) for one in dialogues]
            atomic_write_text(out / f"{name}.txt", _sheet(dialogues, items))
            write_key(out / f"{name}.key", (vars(item) for of_one in items for item in of_one))
            sentences = counted(sum(map(len, items)), "sentence")
            print(f"{out / name}.txt: {counted(len(dialogues), 'dialogue')}, {sentences}")


def _items(dialogue: Dialogue, with_statements: bool) -> Iterator[Item]:
    for number in range(max(map(len, dialogue.summaries.values()))):
        for role in SUMMARIES:
            text = dialogue.summaries[role][number]
            for sentence in split_sentences(text, dialogue.language):
                yield Item(dialogue.id, role, sentence.text, number + 1)
    if with_statements:
        statements = list(dialogue.statements)
        random.Random(dialogue.id).shuffle(statements)
        for one in statements:
            yield Item(dialogue.id, one.role, one.text, supported=one.supported)


def _sheet(dialogues: Sequence[Dialogue], items: Sequence[Sequence[Item]]) -> str:
    lines, number = list[str](), 0
    for dialogue, of_one in zip(dialogues, items, strict=True):
        lines += dialogue_lines(dialogue)
        heading = ""
        for item in of_one:
            number += 1
            now = f"reference {item.reference}, {item.role}" if item.reference else "statements"
            if now != heading:
                lines += ["", f"-- {now}"]
                heading = now
            lines.append(f"{number}. {item.text}" + ("" if item.reference else f" (for: {item.role})"))
        lines.append("")
    return "\n".join(lines)


def statement_rows(lines: Sequence[Job]) -> list[Job]:
    """For each language: the readers against the writers' labels, and against each other where two read the same."""
    rows = []
    for language in LANGUAGES:
        by_reader: dict[str, dict[tuple[str, str], str]] = {}
        written: dict[tuple[str, str], str] = {}
        for line in lines:
            if not line.get("reference") and line["dialogue"].startswith(language):
                statement = (line["dialogue"], line["text"])
                by_reader.setdefault(line["reader"], {})[statement] = line["label"]
                written[statement] = "said" if line["supported"] else "not said"
        pairs = [(written[one], label) for read in by_reader.values() for one, label in read.items()]
        if pairs:
            rows.append({"language": language, "between": "writer and readers", **_said_or_not(pairs)})
        if both := list(label_pairs(by_reader)):
            rows.append({"language": language, "between": "two readers", **_said_or_not(both)})
    return rows


def _said_or_not(pairs: Sequence[tuple[str, str]]) -> Job:
    """The agreement on what is said against the rest."""
    return agreement([(one == "said", other == "said") for one, other in pairs])


def reference_rows(lines: Sequence[Job]) -> list[Job]:
    """For each language, split and role: how many sentences were read, and the share of each label."""
    rows = []
    groups: dict[tuple[str, str, str], list[str]] = {}
    for line in lines:
        if line.get("reference"):
            language, split = line["sheet"].split("-")[:2]
            for role in (line["role"], "all"):
                groups.setdefault((language, split, role), []).append(line["label"])
    for (language, split, role), labels in groups.items():
        shares = {label: labels.count(label) / len(labels) for label in LABELS}
        rows.append({"language": language, "split": split, "role": role, "sentences read": len(labels), **shares})
    return rows


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    sheets = commands.add_parser("sheets", help="write the sheets")
    sheets.add_argument("--out", type=Path, required=True, help="directory")
    sheets.add_argument("--parts", type=int, default=2, help="sheets of a language's test split")
    sheets.add_argument("--train-share", type=float, default=TRAIN_SHARE, help="share of the training split")
    collected = commands.add_parser("collect", help="answers as lines of JSON")
    collected.add_argument("folder", type=Path)
    collected.add_argument("--reader", required=True, help="a name for who read")
    agreement = commands.add_parser("agreement", help="shares and Cohen's kappa")
    agreement.add_argument("files", nargs="+", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
