"""Verifies the summaries of an evaluation by another model, and writes its predictions with that model's support.

    python benchmarks/verify_again.py runs/en --data sample:dialogues-en-test --adapter OTHER --out runs/by-other.jsonl
    python benchmarks/summary_reading.py support NAME=runs/by-other.jsonl --readers NAME.jsonl...

A model that checks itself may be blind where it errs: the support that another gives to the same sentences shows
whether it is.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from false_statements import load_named

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text
from rolesum.counts import counted
from rolesum.errors import DataError, RolesumError, UsageError
from rolesum.evaluation.predictions import read_predictions
from rolesum.formats import read_dialogues
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.support import find_support
from rolesum.generation.verification import Verifier
from rolesum.models.adapter_metadata import verify_threshold


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        print(verify_again(options))
    except RolesumError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def verify_again(options: argparse.Namespace) -> str:
    """Write the predictions with the support by the other model; what was done, in words.

    Raises DataError for a summary of another dialogue, UsageError for an adapter that does not verify.
    """
    written = read_predictions(options.run / "predictions.jsonl" if options.run.is_dir() else options.run)
    dialogues = {one.id: one for one in read_dialogues(options.data)}
    if unknown := [one.id for one in written if one.id not in dialogues]:
        raise DataError(f"a summary of no dialogue of the data: {unknown[0]}", str(options.run), "name its --data")
    verifier = Verifier(TransformersEngine(load_named(options.adapter, options)))
    if not verifier.is_trained:
        raise UsageError(f"{options.adapter} was not trained to verify", fix="name an adapter that was")
    ids = list(dict.fromkeys(one.id for one in written))
    asked = [[said.text for one in written if one.id == identity for said in one.statements] for identity in ids]
    support = dict(zip(ids, find_support(verifier, [dialogues[one] for one in ids], asked), strict=True))
    threshold = verify_threshold(verifier.engine.loaded.metadata)
    lines = [
        replace(
            one,
            statements=tuple(replace(said, support=support[one.id][said.text]) for said in one.statements),
            support_threshold=threshold,
        ).as_json()
        for one in written
    ]
    atomic_write_text(options.out, "".join(f"{strict_json.dumps(line, ensure_ascii=False)}\n" for line in lines))
    return f"{counted(len(lines), 'summary', 'summaries')}, {counted(sum(map(len, asked)), 'statement')}"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="an evaluation's directory or predictions.jsonl, with statements")
    parser.add_argument("--data", required=True, help="the dialogues of the summaries: a file, or sample:NAME")
    parser.add_argument("--adapter", required=True, help="the model that verifies: an adapter's directory or name")
    parser.add_argument("--out", type=Path, required=True, help="the predictions.jsonl that is written")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="auto")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
