"""A blind second reading of rolesum-dialogues: sheets for the readers, and how far they agree with the writers.

    python benchmarks/dialogue_reading.py sheets --out DIR           a sheet for each part of the splits
    python benchmarks/dialogue_reading.py collect DIR --reader NAME  the answers beside the sheets, as lines of JSON
    python benchmarks/dialogue_reading.py agreement FILE...          shares and Cohen's kappa, of what such files hold

A sheet shows dialogues, then numbered sentences: those of the reference summaries, and (test split) the six statements
in another order, without labels. A reader answers each in SHEET.answers, a line each: `12 said`, `13 not said: why` or
`14 misleading: why`. A statement's own label counts as said or not said.
"""

import argparse
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dialogue_rules import SUMMARIES
from record import Job, print_rows

from rolesum.atomic_io import atomic_write_text
from rolesum.checks.sentences import split_sentences
from rolesum.dialogue import Dialogue
from rolesum.formats import read_dialogues

LANGUAGES = ("en", "zh")
LABELS = ("said", "not said", "misleading")
TRAIN_SHARE, SEED = 0.1, 1
_ANSWER = re.compile(r"(\d+)[.:)]?\s+(said|not said|misleading)\b[\s:,.–—-]*(.*)")


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
        return collect(options.folder, options.reader)
    else:
        lines = [json.loads(line) for file in options.files for line in file.read_text(encoding="utf-8").splitlines()]
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
            keys = (json.dumps(vars(item), ensure_ascii=False) for of_one in items for item in of_one)
            atomic_write_text(out / f"{name}.key", "".join(f"{key}\n" for key in keys))
            print(f"{out / name}.txt: {len(dialogues)} dialogues, {sum(map(len, items))} sentences")


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
        roles = ", ".join(f"{label} = {role}" for label, role in dialogue.roles.items())
        lines += [f"=== {dialogue.id} ({dialogue.meta['channel']}; {roles})", ""]
        lines += [f"[{place}] {turn.speaker}: {turn.text}" for place, turn in enumerate(dialogue.turns, 1)]
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


def collect(folder: Path, reader: str) -> int:
    """Print the answers beside the sheets of a folder with their sentences, a line of JSON each."""
    missing = 0
    for answers in sorted(folder.glob("*.answers")):
        items = [json.loads(line) for line in answers.with_suffix(".key").read_text(encoding="utf-8").splitlines()]
        given = {
            int(found[1]): (found[2], found[3].strip())
            for line in answers.read_text(encoding="utf-8").splitlines()
            if (found := _ANSWER.match(line.strip()))
        }
        for number, item in enumerate(items, 1):
            if number not in given:
                missing += 1
                print(f"{answers}: no answer for {number}", file=sys.stderr)
                continue
            label, note = given[number]
            line = {"reader": reader, "sheet": answers.stem, **item, "label": label, "note": note}
            print(
                json.dumps({key: value for key, value in line.items() if value not in ("", None)}, ensure_ascii=False)
            )
    return int(missing > 0)


def statement_rows(lines: Sequence[Job]) -> list[Job]:
    """For each language: the readers against the writers' labels, and against each other where two read the same."""
    rows = []
    for language in LANGUAGES:
        by_reader: dict[str, dict[tuple[str, str], Job]] = {}
        for line in lines:
            if not line.get("reference") and line["dialogue"].startswith(language):
                by_reader.setdefault(line["reader"], {})[line["dialogue"], line["text"]] = line
        pairs = [
            ("said" if line["supported"] else "not said", line["label"])
            for read in by_reader.values()
            for line in read.values()
        ]
        if pairs:
            rows.append({"language": language, "between": "writer and readers", **_agreement(pairs)})
        names = sorted(by_reader)
        both = [
            (by_reader[one][key]["label"], by_reader[other][key]["label"])
            for place, one in enumerate(names)
            for other in names[place + 1 :]
            for key in by_reader[one].keys() & by_reader[other].keys()
        ]
        if both:
            rows.append({"language": language, "between": "two readers", **_agreement(both)})
    return rows


def _agreement(pairs: Sequence[tuple[str, str]]) -> Job:
    """The share of equal labels, said against the rest, and Cohen's kappa."""
    said = [(one == "said", other == "said") for one, other in pairs]
    share = sum(one == other for one, other in said) / len(said)
    return {"labels": len(said), "agreement": share, "kappa": cohens_kappa(said)}


def cohens_kappa(pairs: Sequence[tuple[object, object]]) -> float:
    """Agreement of two raters beyond chance; 1 where both give one label only. Source: Cohen 1960."""
    observed = sum(one == other for one, other in pairs) / len(pairs)
    first, second = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    expected = sum(first[label] * second[label] for label in first) / len(pairs) ** 2
    return 1.0 if expected == 1 else (observed - expected) / (1 - expected)


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
