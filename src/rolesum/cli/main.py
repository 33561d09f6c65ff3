"""The `rolesum` command: registers the commands of this package and turns errors into messages and exit codes.

Exit codes: 0 ok, 1 failed, 2 usage, 3 data, 4 model, 5 resources, 128 + N stopped by signal N (130: Ctrl-C, 143:
SIGTERM).
"""

import logging
import os
import warnings
from collections.abc import Callable

import typer

from rolesum import __version__
from rolesum.cli import (
    annotate,
    batch,
    compare,
    data,
    demo,
    doctor,
    evaluate,
    export,
    init,
    models,
    plan,
    recipes,
    score,
    serve,
    summarize,
    train,
)
from rolesum.cli.exit import Commands, run_app
from rolesum.cli.help import HelpCommand, Panel
from rolesum.cli.options import Quiet
from rolesum.interrupts import ending_signals
from rolesum.threads import prepare_threads

app = typer.Typer(
    name="rolesum",
    cls=Commands,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="Fine-tune a language model to summarize a dialogue for each of its roles, then summarize.",
    epilog="First time here: rolesum demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
# Heading in the help -> the commands under it.
_COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Start": {"demo": demo.demo, "doctor": doctor.doctor, "init": init.init},
    "Train": {"plan": plan.plan, "train": train.train},
    "Summarize": {"summarize": summarize.summarize, "batch": batch.batch, "serve": serve.serve},
    "Evaluate": {
        "evaluate": evaluate.evaluate,
        "score": score.score,
        "compare": compare.compare,
        "annotate": annotate.annotate,
    },
    "Export": {"export": export.export, "convert-adapter": export.convert_adapter},
}
for _heading, _commands in _COMMANDS.items():
    for _name, _command in _commands.items():
        app.command(_name, cls=HelpCommand, rich_help_panel=_heading)(_command)
app.add_typer(data.app, name="data", rich_help_panel="Data and models")
app.add_typer(models.app, name="models", rich_help_panel="Data and models")
app.add_typer(recipes.app, name="recipes", rich_help_panel="Data and models")


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"rolesum {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: bool = typer.Option(
        False,
        "--version",
        "-V",
        callback=_print_version,
        is_eager=True,
        rich_help_panel=Panel.HELP,
        help="Print the version and exit.",
    ),
    quiet: Quiet = False,
) -> None:
    context.obj = prepare_threads()


def run() -> None:
    """The entry point of the `rolesum` command."""
    warnings.simplefilter("ignore")  # deprecation notices of libraries
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # warns about an optional kernel
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with ending_signals():
        run_app(app)
