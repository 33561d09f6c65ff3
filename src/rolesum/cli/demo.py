"""rolesum demo."""

import json
from pathlib import Path
from typing import Annotated

import typer

from rolesum.cli.options import Device, Json


def demo(
    out: Annotated[
        Path, typer.Option("--out", help="Where the run is written; an earlier demo there is replaced.")
    ] = Path("runs/demo"),
    device: Device = "auto",
    json_: Json = False,
) -> None:
    """Fine-tune, score before and after, and summarise, on the bundled dialogues.

    Example: rolesum demo
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from rolesum.demo import AFTER, BEFORE, run_demo
    from rolesum.evaluation.scorers import HEADINGS

    result = run_demo(out, device)
    table = result.table()
    if json_:
        summaries = {one.role: one.text for one in result.summaries}
        typer.echo(json.dumps({"scores": table, "summaries": summaries, "report": str(result.report)}, indent=1))
        return
    console = Console()
    console.print(f"\n[bold]{result.dialogue.id}[/bold], summarised for each role")
    for one in result.summaries:
        console.print(f"[bold]{one.role}[/bold]  {escape(one.text)}", highlight=False)
    first = next(iter(result.after.scores.values()))
    pairs = len(next(iter(first.per_pair.values())))
    shown = Table(title=f"{pairs} held-out dialogues, scorer {first.scorer} v{first.version}", title_justify="left")
    shown.add_column("role")
    for measure in ("rouge1", "rouge2", "rougeL"):
        shown.add_column(f"{HEADINGS[measure]} {BEFORE} → {AFTER}", justify="right")
    for role, measures in table.items():
        shown.add_row(role, *("{:.1f} → {:.1f}".format(*measures[name]) for name in ("rouge1", "rouge2", "rougeL")))
    console.print()
    console.print(shown)
    console.print(f"report: {result.report}", markup=False, soft_wrap=True)
