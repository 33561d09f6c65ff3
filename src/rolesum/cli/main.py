"""The `rolesum` command: registers the commands of this package and turns errors into messages and exit codes.

Exit codes: 0 ok, 1 failed, 2 usage, 3 data, 4 model, 5 resources, 128 + N stopped by signal N (130: Ctrl-C, 143:
SIGTERM).
"""

import logging
import os
import warnings

import typer

from rolesum import __version__
from rolesum.cli import (
    annotate,
    batch,
    compare,
    data,
    demo,
    evaluate,
    export,
    models,
    plan,
    score,
    serve,
    summarize,
    train,
)
from rolesum.cli.exit import Commands, run_app
from rolesum.cli.options import Quiet
from rolesum.interrupts import ending_signals
from rolesum.threads import prepare_threads

app = typer.Typer(
    name="rolesum",
    cls=Commands,
    help="Fine-tune a language model to summarize a dialogue for each of its roles, then summarize.",
    epilog="First time here: rolesum demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("demo")(demo.demo)
app.command("plan")(plan.plan)
app.command("train")(train.train)
app.command("summarize")(summarize.summarize)
app.command("batch")(batch.batch)
app.command("serve")(serve.serve)
app.command("evaluate")(evaluate.evaluate)
app.command("score")(score.score)
app.command("compare")(compare.compare)
app.command("annotate")(annotate.annotate)
app.command("export")(export.export)
app.command("convert-adapter")(export.convert_adapter)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"rolesum {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
    quiet: Quiet = False,
) -> None:
    prepare_threads()


def run() -> None:
    """The entry point of the `rolesum` command."""
    warnings.simplefilter("ignore")  # deprecation notices of libraries
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # warns about an optional kernel
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with ending_signals():
        run_app(app)
