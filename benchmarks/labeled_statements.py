"""Statements of a model's own summaries, labeled by blind readers, as training data for verification.

    rolesum evaluate --adapter A --data sample:dialogues-en-train --limit 90 --out runs/own-en
    python benchmarks/labeled_statements.py sheets runs/own-en --data sample:dialogues-en-train --out own
    python benchmarks/labeled_statements.py collect ANSWERS --keys own/keys --reader NAME > own-en.jsonl
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
from rolesum.counts import counted
from rolesum.dialogue import Dialogue, Statement
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

    Raises UsageError where there are sheets, DataError for a summary of another dialogue or without statements.
    """
    if (options.out / "keys").exists():
        fix = "answers belong to their keys: name another --out"
        raise UsageError("there are sheets already", str(options.out), fix)
    written = read_predictions(options.run / "predictions.jsonl")
    if unknown := [one.id for one in written if one.id not in dialogues]:
        raise DataError(f"a summary of no dialogue of the data: {unknown[0]}", str(options.run), "name its --data")
    if not any(one.statements for one in written):
        raise DataError("no summary has statements", str(options.run), "evaluate with an adapter that verifies")
    for folder in ("sheets", "keys"):
        (options.out / folder).mkdir(parents=True, exist_ok=True)
    ids = list(dict.fromkeys(one.id for one in written))
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


def with_statements(dialogues: dict[str, Dialogue], labels: Sequence[Job]) -> list[Dialogue]:
    """The dialogues that have labeled statements on which all their readers agree, with these behind their own.

    Raises DataError for a statement of no dialogue, and for one that a reader labels twice, in two ways.
    """
    by_reader: dict[tuple[str, str, str], str] = {}
    agreed: dict[str, dict[str, Statement | None]] = {}
    for line in labels:
        identity, text, label = line["dialogue"], line["text"], line["label"]
        if identity not in dialogues:
            raise DataError(f"a statement of no dialogue of the data: {identity}", fix="name its --data")
        if by_reader.setdefault((line["reader"], identity, text), label) != label:
            raise DataError(f"two labels of {text!r} by reader {line['reader']}", identity, "keep one of them")
        is_true = label == TRUE
        found = Statement(text, line["role"], is_true, kind="" if is_true else KIND)
        of = agreed.setdefault(identity, {})
        of[text] = found if of.get(text, found) == found else None
    made = []
    for identity, of in agreed.items():
        known = {one.text for one in dialogues[identity].statements}
        new = tuple(one for one in of.values() if one and one.text not in known)
        made.append(replace(dialogues[identity], statements=(*dialogues[identity].statements, *new)))
    return made


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    sheets = commands.add_parser("sheets", help="write sheets and keys")
    sheets.add_argument("run", type=Path, help="an evaluation's directory, with verified statements")
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
    for command in (sheets, added):
        command.add_argument("--data", required=True, help="the dialogues of the summaries: a file, or sample:NAME")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
