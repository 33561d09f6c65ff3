"""The command `rolesum plan`: estimate what a run needs."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from rolesum import strict_json
from rolesum.cli.generation_options import with_options
from rolesum.cli.help import Panel, choices
from rolesum.cli.option_values import recipe_overrides
from rolesum.cli.options import Device, FromAdapter, GpuName, Json, RecipeArgument, SetKeys
from rolesum.cli.reading_options import ReadingOptions
from rolesum.counts import counted

if TYPE_CHECKING:
    from rolesum.training.plan import Plan


@with_options(ReadingOptions)
def plan(
    recipe: RecipeArgument,
    *,
    set_: SetKeys = None,
    from_adapter: FromAdapter = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            rich_help_panel=Panel.TRAINING,
            help="Load the base model and train a few batches to measure memory and speed.",
        ),
    ] = False,
    device: Device = "auto",
    gpu: Annotated[
        GpuName | None,
        typer.Option(
            "--gpu",
            case_sensitive=False,
            metavar=choices(GpuName),
            rich_help_panel=Panel.MODEL,
            help="Estimate for this GPU, which need not be present. Default: the device of --device.",
        ),
    ] = None,
    json_: Json = False,
    options: ReadingOptions,
) -> None:
    """Estimate what a run needs: data, steps, parameters, memory and time, and what would not fit.

    --format, --encoding, --columns, --json-path, --speaker and --unknown-speaker say how data.train is read.

    Example: rolesum plan smollm2-samsum --set data.train.path=train.json --measure
    """
    from rolesum.recipe_loading import load_recipe
    from rolesum.training.plan import plan as make_plan

    loaded = load_recipe(recipe, recipe_overrides(set_, from_adapter, options.as_recipe_keys()))
    made = make_plan(loaded, device=device, gpu=gpu, measure=measure)
    if json_:
        typer.echo(strict_json.dumps(asdict(made), ensure_ascii=False))
    else:
        Console().print(_table(made, elsewhere=gpu is not None))
        for note in made.notes:
            typer.echo(f"! {note}")


def _table(made: "Plan", elsewhere: bool) -> Table:
    how = "measured on this machine" if made.measured else "estimated; --measure runs a few batches"
    if elsewhere:
        how = "estimated from the data sheet, with an assumed share of its peak speed"
    table = Table(
        title=f"{made.recipe}: {made.base}, {made.method}, {made.dtype} on {made.device}",
        caption=f"memory and time: {how}",
        show_header=False,
    )
    rows, length = made.largest_batch
    share = made.trained_parameters / made.parameters
    began = [("goes on from", made.base_adapter)] if made.base_adapter else []
    for what, figure in (
        *began,
        ("dialogues", f"{made.dialogues:,}"),
        ("examples (one dialogue, one role)", f"{made.examples:,}"),
        ("rows (a shared prefix and its branches)", f"{made.bundles:,}"),
        ("tokens, all epochs", f"{made.tokens:,}"),
        ("tokens saved by shared prefixes", f"{made.tokens_shared:,}"),
        ("padding", f"{made.padding_share:.1%}"),
        ("batches", f"{made.batches:,}"),
        ("optimizer steps", f"{made.steps:,}"),
        ("longest example", f"{made.longest_example:,} tokens"),
        ("largest batch", f"{counted(rows, 'row')} of {length:,} tokens"),
        ("parameters", f"{made.parameters:,}"),
        ("trained parameters", f"{made.trained_parameters:,} ({share:.2%})"),
        ("peak memory", f"{made.peak_memory / 1e9:.2f} GB ({made.free_memory / 1e9:.1f} GB free)"),
        ("tokens per second", f"{made.tokens_per_second:,.0f}"),
        ("training", _duration(made.train_seconds)),
        ("validation during training", _duration(made.evaluate_seconds)),
    ):
        table.add_row(what, figure)
    return table


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{hours:.1f} h" if hours >= 1 else f"{minutes:.1f} min" if minutes >= 1 else f"{seconds:.0f} s"
