"""rolesum compare."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from rolesum.cli.options import Json, several_references


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Directories that rolesum evaluate --out wrote.", metavar="RUN_A RUN_B …")
    ],
    scorer: Annotated[
        str | None, typer.Option("--scorer", help="Score all by this one. Default: the runs' own.")
    ] = None,
    several: Annotated[
        str | None, typer.Option("--several", help="mean or best of several references. Default: as the runs.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="The dialogues, if they lie elsewhere now than the runs say.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write comparison.json, table.md, table.tex and report.html here.")
    ] = None,
    json_: Json = False,
) -> None:
    """Say whether systems differ: paired bootstrap, approximate randomization, and the size of the effect.

    Example: rolesum compare runs/zero runs/tuned --out runs/zero-tuned
    """
    from rolesum.evaluation.compare import compare_runs
    from rolesum.evaluation.report.terminal import print_comparison

    how = several_references(several) if several else None
    done = compare_runs(runs, scorer, how, data, out, shlex.join(["rolesum", *sys.argv[1:]]))
    if json_:
        typer.echo(json.dumps(done.as_json(), indent=1, ensure_ascii=False))
        return
    print_comparison(done.rows)
    if out:
        typer.echo(f"report: {out / 'report.html'}")
