"""rolesum compare."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from rolesum import strict_json
from rolesum.cli.help import Panel, choices
from rolesum.cli.options import Json, MovedData, MultiReference, ScorerName


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN_A RUN_B...", help="Two or more directories that rolesum evaluate --out wrote."),
    ],
    scorer: Annotated[
        ScorerName | None,
        typer.Option(
            "--scorer",
            metavar=choices(ScorerName),
            rich_help_panel=Panel.METRICS,
            help="Scorer for all runs. Default: the one that they were scored with.",
        ),
    ] = None,
    multi_reference: Annotated[
        MultiReference | None,
        typer.Option(
            "--multi-reference",
            metavar=choices(MultiReference),
            rich_help_panel=Panel.METRICS,
            help="How to score against several references: the mean of each measure over them, or the best. Default: "
            "as the runs were scored.",
        ),
    ] = None,
    data: MovedData = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            rich_help_panel=Panel.OUTPUT,
            help="Write comparison.json, table.md, table.tex and report.html to this directory.",
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Test whether systems differ: paired bootstrap, approximate randomization, and the size of the effect.

    Example: rolesum compare runs/zero runs/tuned --out runs/zero-tuned
    """
    from rolesum.evaluation.compare import compare_runs
    from rolesum.evaluation.report.terminal import print_comparison

    done = compare_runs(runs, scorer, multi_reference, data, out, shlex.join(["rolesum", *sys.argv[1:]]))
    if json_:
        typer.echo(strict_json.dumps(done.as_json(), indent=1, ensure_ascii=False))
        return
    print_comparison(done.rows)
    if out:
        typer.echo(f"report: {out / 'report.html'}")
