"""Statements of a model's own summaries, labeled by blind readers: how many are true, and data to verify by.

    rolesum evaluate --adapter A --data sample:dialogues-en-train --limit 90 --out runs/own-en
    python benchmarks/labeled_statements.py sheets runs/own-en --data sample:dialogues-en-train --out own
    python benchmarks/labeled_statements.py collect ANSWERS --keys own/keys --reader NAME > own-en.jsonl
    python benchmarks/labeled_statements.py report runs/own-en --labels own-en.jsonl --data sample:dialogues-en-train
    python benchmarks/labeled_statements.py add own-en.jsonl --data sample:dialogues-en-train --out runs/own-en.jsonl

A statement is `true` if every part of it is: who, to whom, what, degree (asked, offered, promised, done), condition,
amount and date. What the dialogue contradicts, does not say, or says so that the statement misleads is `untrue`, with
the reason (docs/reading.md). DIR/sheets is for the readers, DIR/keys is not. `add` writes the dialogues with
the statements on which all readers agree behind their own.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reading import collect_answers, dialogue_lines, read_lines, write_key
from record import Job

from rolesum.atomic_io import atomic_write_text
from rolesum.checks.statements import split_statements
from rolesum.counts import counted
from rolesum.dialogue import Dialogue, Statement, SummaryStatement
from rolesum.errors import DataError, RolesumError, UsageError
from rolesum.evaluation.predictions import Prediction, read_predictions
from rolesum.formats import read_dialogues
from rolesum.formats.jsonl import to_json

TRUE, UNTRUE = "true", "untrue"
KIND = "own"  # what `kind` calls an untrue statement of a model's own summary
HOW_TO = """\
Read each dialogue, then judge each statement under it by itself. Answer each number on a line of its own in a file with
this sheet's name and the ending .answers: `12 true`, or `13 untrue: the fee was 20, not 30`.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        if options.what == "collect":
            return collect_answers(options.answers, options.keys, options.reader, (TRUE, UNTRUE), answer_fault)
        dialogues = {one.id: one for one in read_dialogues(options.data)}
        if options.what == "sheets":
            write_sheets(dialogues, options)
        elif options.what == "report":
            print(report(read_run(options.run, dialogues), read_lines(options.labels)))
        else:
            made = with_statements(dialogues, read_lines(options.labels))
            atomic_write_text(options.out, "".join(f"{to_json(one)}\n" for one in made))
            print(f"{counted(len(made), 'dialogue')} with {sum(len(one.statements) for one in made)} statements")
    except RolesumError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def write_sheets(dialogues: dict[str, Dialogue], options: argparse.Namespace) -> None:
    """Write the sheets, and their keys, which tell the role and the support of each statement.

    Raises UsageError where there are sheets, and as `read_run` does.
    """
    if (options.out / "keys").exists():
        fix = "answers belong to their keys: name another --out"
        raise UsageError("there are sheets already", str(options.out), fix)
    written = read_run(options.run, dialogues)
    for folder in ("sheets", "keys"):
        (options.out / folder).mkdir(parents=True, exist_ok=True)
    ids = list(dict.fromkeys(one.id for one in written))[: options.limit]
    for part in range(options.parts):
        lines, items = [HOW_TO], list[Job]()
        for identity in ids[part :: options.parts]:
            dialogue = dialogues[identity]
            lines += [*dialogue_lines(dialogue), ""]
            for item in statements_of(dialogue, [one for one in written if one.id == identity], options.seed):
                items.append(item)
                lines.append(f"{len(items)}. {item['text']}")
            lines.append("")
        name = f"{options.run.name}-{part + 1}"
        atomic_write_text(options.out / "sheets" / f"{name}.txt", "\n".join(lines))
        write_key(options.out / "keys" / f"{name}.key", items)
        print(f"{name}.txt: {counted(len(items), 'statement')}")


def read_run(run: Path, dialogues: dict[str, Dialogue]) -> list[Prediction]:
    """The summaries of a run with their statements: where none were verified, what the text is split into.

    Raises DataError for a summary of another dialogue, and where no summary has a statement.
    """
    written = read_predictions(run / "predictions.jsonl")
    if unknown := [one.id for one in written if one.id not in dialogues]:
        raise DataError(f"a summary of no dialogue of the data: {unknown[0]}", str(run), "name its --data")
    if not any(one.statements for one in written):
        written = [
            replace(one, statements=tuple(SummaryStatement(each.start, each.end, each.text) for each in spans))
            for one in written
            for spans in [split_statements(one.prediction, dialogues[one.id].language)]
        ]
    if not any(one.statements for one in written):
        raise DataError("no summary has a statement", str(run), "name another run")
    return written


def statements_of(dialogue: Dialogue, written: Sequence[Prediction], seed: int) -> list[Job]:
    """The different statements of a dialogue's summaries in an order that is drawn, each with its first role."""
    found: dict[str, Job] = {}
    for prediction in written:
        for one in prediction.statements:
            about = {"dialogue": dialogue.id, "role": prediction.role, "text": one.text, "support": one.support}
            found.setdefault(one.text, about)
    items = list(found.values())
    random.Random(f"{seed} {dialogue.id}").shuffle(items)
    return items


def answer_fault(_item: Job, label: str, note: str) -> str:
    """What is wrong with an answer, empty if nothing: a statement that is not true needs its reason."""
    return "no reason" if label == UNTRUE and not note else ""


def agreed_labels(labels: Sequence[Job]) -> dict[tuple[str, str], bool]:
    """(dialogue, statement) -> whether it is true, where all its readers agree, in the order of the labels.

    Raises DataError for a statement that a reader labels twice, in two ways.
    """
    by_reader: dict[tuple[str, str, str], str] = {}
    found: dict[tuple[str, str], set[bool]] = {}
    for line in labels:
        identity, text, label = line["dialogue"], line["text"], line["label"]
        if by_reader.setdefault((line["reader"], identity, text), label) != label:
            raise DataError(f"two labels of {text!r} by reader {line['reader']}", identity, "keep one of them")
        found.setdefault((identity, text), set()).add(label == TRUE)
    return {key: is_true for key, of in found.items() if len(of) == 1 for is_true in of}


def with_statements(dialogues: dict[str, Dialogue], labels: Sequence[Job]) -> list[Dialogue]:
    """The dialogues that have labeled statements, with those on which all readers agree behind their own.

    Raises DataError for a statement of no dialogue, and as `agreed_labels` does.
    """
    if unknown := [line["dialogue"] for line in labels if line["dialogue"] not in dialogues]:
        raise DataError(f"a statement of no dialogue of the data: {unknown[0]}", fix="name its --data")
    roles = {(line["dialogue"], line["text"]): line["role"] for line in reversed(labels)}
    new: dict[str, list[Statement]] = {line["dialogue"]: [] for line in labels}
    for (identity, text), is_true in agreed_labels(labels).items():
        if all(text != one.text for one in dialogues[identity].statements):
            new[identity].append(Statement(text, roles[identity, text], is_true, kind="" if is_true else KIND))
    return [
        replace(dialogues[identity], statements=(*dialogues[identity].statements, *of)) for identity, of in new.items()
    ]


def report(written: Sequence[Prediction], labels: Sequence[Job]) -> str:
    """How many statements are true, and how many summaries hold no other, of those that are labeled whole."""
    known = agreed_labels(labels)
    said = [[known.get((one.id, each.text)) for each in one.statements] for one in written]
    whole = [of for of in said if of and None not in of]
    shown = f"{sum(known.values())} of {counted(len(known), 'statement')} true"
    return f"{shown}; {sum(map(all, whole))} of {counted(len(whole), 'summary', 'summaries')} without an untrue one"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    sheets = commands.add_parser("sheets", help="write sheets and keys")
    sheets.add_argument("run", type=Path, help="an evaluation's directory")
    sheets.add_argument("--limit", type=int, help="the first N dialogues; default: all")
    sheets.add_argument("--out", type=Path, required=True, help="directory")
    sheets.add_argument("--parts", type=int, default=2, help="sheets")
    sheets.add_argument("--seed", type=int, default=1, help="of the order of a dialogue's statements")
    collected = commands.add_parser("collect", help="answers as lines of JSON")
    collected.add_argument("answers", type=Path, help="directory of a reader's .answers files")
    collected.add_argument("--keys", type=Path, required=True, help="directory that `sheets` wrote")
    collected.add_argument("--reader", required=True, help="a name for who read")
    added = commands.add_parser("add", help="the dialogues with the labeled statements")
    added.add_argument("labels", nargs="+", type=Path, help="what `collect` printed, for each reader")
    added.add_argument("--out", type=Path, required=True, help="file of dialogues that is written")
    reported = commands.add_parser("report", help="how many statements are true, and how many summaries all true")
    reported.add_argument("run", type=Path, help="the directory of the sheets")
    reported.add_argument("--labels", nargs="+", type=Path, required=True, help="what `collect` printed")
    for command in (sheets, added, reported):
        command.add_argument("--data", required=True, help="the dialogues of the summaries: a file, or sample:NAME")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
