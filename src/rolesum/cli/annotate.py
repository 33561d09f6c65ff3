"""rolesum annotate."""

from pathlib import Path
from typing import Annotated

import typer

from rolesum import strict_json
from rolesum.cli.options import Json, Roles


def annotate(
    runs: Annotated[list[Path], typer.Argument(help="Directories that rolesum evaluate --out wrote.")],
    mode: Annotated[
        str | None, typer.Option("--mode", help="rate each output, or prefer the better of two. Default: rate.")
    ] = None,
    criteria: Annotated[
        list[str] | None,
        typer.Option(
            "--criteria",
            help='Names separated by commas, or "name=what it means". Repeatable. Default: accuracy, coherence and '
            "grammatical correctness.",
        ),
    ] = None,
    scale: Annotated[
        int | None, typer.Option("--scale", help="Highest rating, 2 to 9; the lowest is 1. Default: 5.")
    ] = None,
    roles: Roles = None,
    sample: Annotated[
        int | None, typer.Option("--sample", help="Annotate N randomly chosen summaries. Default: all.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of the sample and of the annotators' orders. Default: 1.")
    ] = None,
    with_reference: Annotated[
        bool | None, typer.Option("--with-reference", help="Include the reference summary as one more hidden system.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Path of the dialogues, if the file has moved since the runs were evaluated."),
    ] = None,
    store: Annotated[Path, typer.Option("--store", help="SQLite file of the judgments.")] = Path("annotations.sqlite"),
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; any but 127.0.0.1 admits other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
    results: Annotated[
        bool, typer.Option("--results", help="Print agreement and results instead of serving the page.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write all judgments, with the systems' names, to a .csv or .jsonl file."),
    ] = None,
    json_: Json = False,
) -> None:
    """Serve a local web page on which people rate or compare the outputs of runs, blind; then print the results.

    The settings (mode, criteria, sample and so on) are kept in the store, so later commands need not repeat them.

    Example: rolesum annotate runs/zero/test runs/tuned/test --sample 50
    Then:    rolesum annotate runs/zero/test runs/tuned/test --results
    """
    from rolesum.evaluation.human.annotate import read_annotation_results, serve_annotation
    from rolesum.evaluation.human.results import print_annotation_results
    from rolesum.evaluation.human.study import parse_criteria, parse_roles

    options = {
        "mode": mode,
        "scale": scale,
        "criteria": parse_criteria(criteria) if criteria else None,
        "roles": parse_roles(roles),
        "sample": sample,
        "seed": seed,
        "with_reference": with_reference,
    }
    requested = {key: value for key, value in options.items() if value is not None}
    if not (results or export or json_):
        serve_annotation(runs, requested, store=store, data=data, host=host, port=port, open_page=not no_open)
        return
    found = read_annotation_results(runs, requested, store=store, export=export)
    if json_:
        typer.echo(strict_json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print_annotation_results(found)
    if export:
        typer.echo(f"judgments: {export}", err=True)
