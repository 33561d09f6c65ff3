"""rolesum judge."""

import json
from pathlib import Path
from typing import Annotated

import typer

from rolesum.cli.options import Json, Roles


def judge(
    runs: Annotated[list[Path], typer.Argument(help="Directories that rolesum evaluate --out wrote.")],
    mode: Annotated[
        str | None, typer.Option("--mode", help="rate, or prefer the better of two. Default: rate.")
    ] = None,
    criteria: Annotated[
        list[str] | None,
        typer.Option(
            "--criteria", help='Names by comma, or "name=what it means". Repeatable. Default: the three above.'
        ),
    ] = None,
    scale: Annotated[int | None, typer.Option("--scale", help="Rate from 1 to this, 2 to 9. Default: 5.")] = None,
    roles: Roles = None,
    sample: Annotated[int | None, typer.Option("--sample", help="Judge N summaries, drawn by --seed.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the sample and the orders. Default: 1.")] = None,
    with_reference: Annotated[
        bool | None, typer.Option("--with-reference", help="Judge the reference too, as a hidden system.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="The dialogues, if not where the runs found them.")] = None,
    store: Annotated[Path, typer.Option("--store", help="Where judgments are kept.")] = Path("judgments.sqlite"),
    host: Annotated[str, typer.Option("--host", help="Others than 127.0.0.1 let other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8765,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
    results: Annotated[bool, typer.Option("--results", help="Print agreement and results; serve nothing.")] = False,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write all judgments, with systems, to a .csv or .jsonl file.")
    ] = None,
    json_: Json = False,
) -> None:
    """Let people judge the outputs of runs, blind, on a local page; then print what they found.

    Ratings are of accuracy, coherence and grammatical correctness. Mode, criteria and the like are kept in the store,
    and need not be said again.

    Example: rolesum judge runs/zero/test runs/tuned/test --sample 50
    Then:    rolesum judge runs/zero/test runs/tuned/test --results
    """
    from rolesum.evaluation.human.annotate import read_annotation_results, serve_annotation
    from rolesum.evaluation.human.results import print_annotation_results
    from rolesum.evaluation.human.study import parse_criteria, parse_roles

    given = {
        "mode": mode,
        "scale": scale,
        "criteria": parse_criteria(criteria) if criteria else None,
        "roles": parse_roles(roles),
        "sample": sample,
        "seed": seed,
        "with_reference": with_reference,
    }
    asked = {key: value for key, value in given.items() if value is not None}
    if not (results or export or json_):
        serve_annotation(runs, asked, store=store, data=data, host=host, port=port, open_page=not no_open)
        return
    found = read_annotation_results(runs, asked, store=store, export=export)
    if json_:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print_annotation_results(found)
    if export:
        typer.echo(f"judgments: {export}", err=True)
