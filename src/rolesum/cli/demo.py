"""rolesum demo."""

import json
from pathlib import Path
from typing import Annotated

import typer

from rolesum.cli.options import Device, Json

MEASURES = ("rouge1", "rouge2", "rougeL")


def demo(
    out: Annotated[Path, typer.Option("--out", help="Run directory; an earlier demo in it is replaced.")] = Path(
        "runs/demo"
    ),
    device: Device = "auto",
    json_: Json = False,
) -> None:
    """Fine-tune on the bundled dialogues, score before and after, and summarize one dialogue.

    Example: rolesum demo
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from rolesum.demo import run_demo
    from rolesum.metrics.scorers import HEADINGS

    result = run_demo(out, device)
    table = result.table()
    if json_:
        summaries = {name: {one.role: one.text for one in made} for name, made in result.summaries.items()}
        typer.echo(json.dumps({"scores": table, "summaries": summaries, "report": str(result.report)}, indent=1))
        return
    console = Console()
    for name, made in result.summaries.items():
        console.print(f"\n[bold]{result.dialogue.id}[/bold], summarized for each role, {name}")
        for one in made:
            console.print(f"[bold]{one.role}[/bold]  {escape(one.text)}", highlight=False)
    first = next(iter(next(iter(result.systems.values())).scores.values()))
    pairs = len(next(iter(first.per_pair.values())))
    shown = Table(title=f"{pairs} held-out dialogues, scorer {first.scorer} v{first.version}", title_justify="left")
    shown.add_column("role")
    shown.add_column("system")
    for measure in MEASURES:
        shown.add_column(HEADINGS[measure], justify="right")
    for role, measures in table.items():
        for place, system in enumerate(result.systems):
            figures = (f"{measures[name][system]:.1f}" for name in MEASURES)
            shown.add_row("" if place else role, system, *figures, end_section=place == len(result.systems) - 1)
    console.print()
    console.print(shown)
    console.print(f"report: {result.report}", markup=False, soft_wrap=True)
