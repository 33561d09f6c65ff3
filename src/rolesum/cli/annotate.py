"""rolesum annotate."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from rolesum import strict_json
from rolesum.cli.help import Panel, choices
from rolesum.cli.options import Json, MovedData, Port

# The choices of a module that takes long to import; tests/cli/test_choices.py holds them equal to that module's.
StudyMode = Literal["rate", "prefer"]


def annotate(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Directories that rolesum evaluate --out wrote.")
    ],
    mode: Annotated[
        StudyMode | None,
        typer.Option(
            "--mode",
            metavar=choices(StudyMode),
            rich_help_panel=Panel.ANNOTATION,
            help="Rate each output, or prefer the better of two. Default: rate.",
        ),
    ] = None,
    criteria: Annotated[
        list[str] | None,
        typer.Option(
            "--criteria",
            metavar="CRITERIA",
            rich_help_panel=Panel.ANNOTATION,
            help='Names of criteria, separated by commas, or one with its meaning, "name=what it means". Repeatable. '
            "Default: accuracy, coherence and grammatical correctness.",
        ),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(
            "--scale",
            metavar="N",
            rich_help_panel=Panel.ANNOTATION,
            help="Highest rating, 2 to 9; the lowest is 1. Default: 5.",
        ),
    ] = None,
    roles: Annotated[
        str | None,
        typer.Option(
            "--roles",
            metavar="ROLES",
            rich_help_panel=Panel.ANNOTATION,
            help="Annotate the summaries of these roles only, separated by commas. Default: all.",
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            metavar="N",
            rich_help_panel=Panel.ANNOTATION,
            help="Annotate N summaries, chosen at random. Default: all.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="N",
            rich_help_panel=Panel.ANNOTATION,
            help="Seed of the sample and of the order for each annotator. Default: 1.",
        ),
    ] = None,
    with_reference: Annotated[
        bool | None,
        typer.Option(
            "--with-reference",
            rich_help_panel=Panel.ANNOTATION,
            help="Add the reference summaries as one more system; annotators see no system's name.",
        ),
    ] = None,
    data: MovedData = None,
    store: Annotated[
        Path,
        typer.Option(
            "--store",
            metavar="FILE",
            rich_help_panel=Panel.ANNOTATION,
            help="SQLite file that keeps the judgments and the settings.",
        ),
    ] = Path("annotations.sqlite"),
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            rich_help_panel=Panel.SERVER,
            help="Address to listen on; any but 127.0.0.1 admits other machines.",
        ),
    ] = "127.0.0.1",
    port: Port = 8765,
    no_open: Annotated[
        bool, typer.Option("--no-open", rich_help_panel=Panel.SERVER, help="Do not open a browser.")
    ] = False,
    results: Annotated[
        bool,
        typer.Option(
            "--results",
            rich_help_panel=Panel.OUTPUT,
            help="Print agreement and results instead of serving the page.",
        ),
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FILE",
            rich_help_panel=Panel.OUTPUT,
            help="Write all judgments, with the systems' names, to a .csv or .jsonl file.",
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Serve a local web page on which people rate or compare the outputs of runs, blind; then print the results.

    The settings (mode, criteria, sample and so on) are kept in the store, so later commands need not repeat them.

    Example: rolesum annotate runs/zero/test runs/tuned/test --sample 50

    Then: rolesum annotate runs/zero/test runs/tuned/test --results
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
