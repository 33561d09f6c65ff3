"""rolesum compare."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from rolesum import strict_json
from rolesum.cli.options import Json, parse_multi_reference


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Directories that rolesum evaluate --out wrote.", metavar="RUN_A RUN_B …")
    ],
    scorer: Annotated[
        str | None, typer.Option("--scorer", help="Scorer for all runs. Default: the one they were scored with.")
    ] = None,
    multi_reference: Annotated[
        str | None,
        typer.Option(
            "--multi-reference", help="With several references: mean or best. Default: as the runs were scored."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Path of the dialogues, if the file has moved since the runs were evaluated."),
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

    how = parse_multi_reference(multi_reference) if multi_reference else None
    done = compare_runs(runs, scorer, how, data, out, shlex.join(["rolesum", *sys.argv[1:]]))
    if json_:
        typer.echo(strict_json.dumps(done.as_json(), indent=1, ensure_ascii=False))
        return
    print_comparison(done.rows)
    if out:
        typer.echo(f"report: {out / 'report.html'}")
