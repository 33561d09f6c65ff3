"""Make training data from the summaries that a model wrote of dialogues without references.

    rolesum summarize calls.jsonl --samples 8 --temperature 0.7 --choose mbr --out runs/own.jsonl
    python benchmarks/self_distillation.py calls.jsonl runs/own.jsonl --out runs/distilled.jsonl

Of eight samples `--choose mbr` takes the one that is most like the others. Summaries that the limit cut off are left
out, and so are dialogues of which none is left. What `rolesum batch` wrote is taken too. The dialogues are written in
rolesum's own format, with these summaries instead of any others.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rolesum.atomic_io import atomic_write_text
from rolesum.counts import counted
from rolesum.dialogue import Dialogue
from rolesum.formats import read_dialogues
from rolesum.formats.jsonl import to_json


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    written, cut = _read_summaries(options.summaries)
    dialogues = read_dialogues(options.data)
    if unknown := written.keys() - {one.id for one in dialogues}:
        sys.exit(f"{options.data} has no dialogue {min(unknown)}: name the file that was summarized")
    made = list(with_targets(dialogues, written))
    if not made:
        sys.exit(f"no summary of a dialogue of {options.data} is left")
    atomic_write_text(options.out, "".join(f"{to_json(one)}\n" for one in made))
    summaries = counted(sum(len(one.summaries) for one in made), "summary", "summaries")
    print(f"{counted(len(made), 'dialogue')}, {summaries}; left out: {cut} that the limit cut off")
    return 0


def with_targets(dialogues: Sequence[Dialogue], written: dict[str, dict[str, str]]) -> Iterator[Dialogue]:
    """The dialogues that have a summary among those `written` (id -> role -> text), with these alone."""
    for one in dialogues:
        if texts := written.get(one.id):
            yield replace(one, summaries={role: (text,) for role, text in texts.items()}, statements=(), pairs=())


def _read_summaries(files: Sequence[Path]) -> tuple[dict[str, dict[str, str]], int]:
    """Id -> role -> text of the summaries that are whole and not empty, and how many the limit cut off."""
    written: dict[str, dict[str, str]] = {}
    cut = 0
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if record["id"] in written:
                sys.exit(f"{file}: the dialogue {record['id']} stands twice")
            broken = record.get("truncated", ())
            cut += len(broken)
            whole = {role: text for role, text in record["summaries"].items() if role not in broken and text.strip()}
            written[record["id"]] = whole
    return written, cut


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the dialogues that were summarized, or sample:NAME")
    parser.add_argument("summaries", nargs="+", type=Path, help="JSON lines of rolesum summarize or batch")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines to train on")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
