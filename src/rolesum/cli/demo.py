"""The command `rolesum demo`: fine-tune and score on the bundled dialogues."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rolesum import strict_json
from rolesum.cli.help import Panel
from rolesum.cli.options import Device, Json
from rolesum.counts import counted

if TYPE_CHECKING:
    from rich.table import Table

    from rolesum.demo import DemoResult

METRICS = ("rouge1", "rouge2", "rougeL")


def demo(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            rich_help_panel=Panel.OUTPUT,
            help="Directory of the run; an earlier demo in it is replaced.",
        ),
    ] = Path("runs/demo"),
    small: Annotated[
        bool,
        typer.Option("--small", rich_help_panel=Panel.MODEL, help="Use SmolLM2-135M, a smaller and faster model."),
    ] = False,
    device: Device = "auto",
    json_: Json = False,
) -> None:
    """Fine-tune on the bundled dialogues, score before and after, and summarize one dialogue.

    Example: rolesum demo
    """
    from rolesum.demo import demo_recipe, run_demo

    result = run_demo(out, device, demo_recipe(small))
    if json_:
        texts = {name: {one.role: one.text for one in summaries} for name, summaries in result.summaries.items()}
        found = {"scores": result.table(), "summaries": texts, "report": str(result.report)}
        typer.echo(strict_json.dumps(found, indent=1))
    else:
        print_result(result)


def print_result(result: "DemoResult") -> None:
    """Print the scores, then one dialogue and its summaries, those of the bundled adapter last: the best ones."""
    from rich.console import Console
    from rich.markup import escape

    from rolesum.demo import BUNDLED
    from rolesum.evaluation.report.precision import few_note
    from rolesum.generation.statement_notes import marked_text
    from rolesum.generation.summary_output import block_notes

    console = Console()
    table, pairs = _score_table(result)
    console.print(table)
    if note := few_note(pairs):
        console.print(note)
    console.print(f"report: {result.report}", markup=False, soft_wrap=True)
    console.print(f"\n[bold]{result.dialogue.id}[/bold]")
    for turn in result.dialogue.turns:
        console.print(f"[dim]{escape(turn.speaker)}:[/dim] {escape(turn.text)}", highlight=False)
    for name, summaries in sorted(result.summaries.items(), key=lambda one: one[0] == BUNDLED):
        console.print(f"\nsummarized for each role, {name}")
        for one in summaries:
            console.print(f"[bold]{one.role}[/bold]  {escape(marked_text(one) + block_notes(one))}", highlight=False)


def _score_table(result: "DemoResult") -> tuple["Table", int]:
    """The mean scores of each role and system, and the number of summaries that they are means of."""
    from rich.table import Table

    from rolesum.evaluation.report.precision import rounded
    from rolesum.metrics.scorers import HEADINGS

    first = next(iter(next(iter(result.systems.values())).scores.values()))
    pairs = len(next(iter(first.per_pair.values())))
    table = Table(
        title=f"{counted(pairs, 'held-out dialogue')}, scorer {first.scorer} v{first.version}", title_justify="left"
    )
    table.add_column("role")
    table.add_column("system")
    for metric in METRICS:
        table.add_column(HEADINGS[metric], justify="right")
    for role, metrics in result.table().items():
        for row, system in enumerate(result.systems):
            scores = (rounded(metrics[name][system], pairs) for name in METRICS)
            table.add_row("" if row else role, system, *scores, end_section=row == len(result.systems) - 1)
    return table, pairs
