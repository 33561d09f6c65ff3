"""What blind readings share: dialogues as a reader sees them, answers by number, and Cohen's kappa.

A sheet is a text with numbered items. Its key holds the items in the same order, a line of JSON each; no reader opens
it. A reader answers in SHEET.answers, a line an item: `12 said`, `13 not said: why`.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TypeVar

from record import Job

from rolesum.atomic_io import atomic_write_text
from rolesum.dialogue import Dialogue

Item = TypeVar("Item")


def dialogue_lines(dialogue: Dialogue) -> list[str]:
    """The dialogue with its id, its channel where known, who plays which role, and its turns numbered from 1."""
    known = [str(dialogue.meta["channel"])] if dialogue.meta.get("channel") else []
    roles = ", ".join(f"{label} = {role}" for label, role in dialogue.roles.items())
    about = "; ".join([*known, *([roles] if roles else [])])
    lines = [f"=== {dialogue.id}" + (f" ({about})" if about else ""), ""]
    return lines + [f"[{place}] {turn.speaker}: {turn.text}" for place, turn in enumerate(dialogue.turns, 1)]


def write_key(path: Path, items: Iterable[Mapping[str, object]]) -> None:
    """Write the items of a sheet, a line of JSON each."""
    atomic_write_text(path, "".join(f"{json.dumps(item, ensure_ascii=False)}\n" for item in items))


def read_lines(files: Iterable[Path]) -> list[Job]:
    """The lines of JSON of several files."""
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def collect_answers(
    answers: Path, keys: Path, reader: str, labels: Sequence[str], fault: Callable[[Job, str, str], str]
) -> int:
    """Print the answers of a folder with their items of `keys`, a line of JSON each; return 1 if any is amiss, else 0.

    `labels` are all that an answer may begin with; `fault` says what is wrong with an item's label and note, if
    anything. What is wrong or missing goes to stderr.
    """
    amiss = list[str]()
    for file in sorted(answers.glob("*.answers")):
        items = read_lines([keys / f"{file.stem}.key"])
        given = _parsed(file, labels, amiss)
        amiss += [f"{file}: the sheet has no item {number}" for number in given if not 0 < number <= len(items)]
        for number, item in enumerate(items, 1):
            label, note = given.get(number, ("", ""))
            if wrong := fault(item, label, note) if label else "no answer":
                amiss.append(f"{file}: {wrong} for {number}")
                continue
            line = {"reader": reader, "sheet": file.stem, **item, "label": label, "note": note}
            line = {key: value for key, value in line.items() if value not in ("", None)}
            print(json.dumps(line, ensure_ascii=False))
    for one in amiss:
        print(one, file=sys.stderr)
    return int(bool(amiss))


def _parsed(file: Path, labels: Sequence[str], amiss: list[str]) -> dict[int, tuple[str, str]]:
    """The label and note of each number; lines that begin with no number are the reader's own notes."""
    longest_first = "|".join(sorted(labels, key=len, reverse=True))
    answer = re.compile(rf"(\d+)(?:[.:)]?\s+|[：、]\s*)({longest_first})\b[\s:,.：，。–—-]*(.*)", re.IGNORECASE)
    given: dict[int, tuple[str, str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if found := answer.match(line.strip()):
            if int(found[1]) in given:
                amiss.append(f"{file}: two answers for {found[1]}")
            given[int(found[1])] = (found[2].lower(), found[3].strip())
        elif line.strip()[:1].isdigit():
            amiss.append(f"{file}: no label in {line.strip()!r}")
    return given


def label_pairs(by_reader: Mapping[str, Mapping[Item, str]]) -> Iterator[tuple[str, str]]:
    """The labels of each two readers for every item that both have read."""
    for one, other in combinations(sorted(by_reader), 2):
        for item in by_reader[one].keys() & by_reader[other].keys():
            yield by_reader[one][item], by_reader[other][item]


def agreement(pairs: Sequence[tuple[object, object]]) -> Job:
    """How many pairs of labels there are, the share that is equal, and Cohen's kappa."""
    share = sum(one == other for one, other in pairs) / len(pairs)
    return {"labels": len(pairs), "agreement": share, "kappa": cohens_kappa(pairs)}


def cohens_kappa(pairs: Sequence[tuple[object, object]]) -> float:
    """Agreement of two raters beyond chance; 1 where both give one label only. Source: Cohen 1960."""
    observed = sum(one == other for one, other in pairs) / len(pairs)
    first, second = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    expected = sum(first[label] * second[label] for label in first) / len(pairs) ** 2
    return 1.0 if expected == 1 else (observed - expected) / (1 - expected)
