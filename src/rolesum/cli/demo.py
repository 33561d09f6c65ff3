"""The command `rolesum demo`: fine-tune and score on the bundled dialogues."""

from pathlib import Path
from typing import Annotated

import typer

from rolesum import strict_json
from rolesum.cli.options import Device, Json

METRICS = ("rouge1", "rouge2", "rougeL")


def demo(
    out: Annotated[Path, typer.Option("--out", help="Run directory; an earlier demo in it is replaced.")] = Path(
        "runs/demo"
    ),
    small: Annotated[bool, typer.Option("--small", help="Use SmolLM2-135M, a smaller and faster model.")] = False,
    device: Device = "auto",
    json_: Json = False,
) -> None:
    """Fine-tune on the bundled dialogues, score before and after, and summarize one dialogue.

    Example: rolesum demo
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from rolesum.demo import demo_recipe, run_demo
    from rolesum.evaluation.report.precision import few_note, rounded
    from rolesum.metrics.scorers import HEADINGS

    result = run_demo(out, device, demo_recipe(small))
    table = result.table()
    if json_:
        texts = {name: {one.role: one.text for one in summaries} for name, summaries in result.summaries.items()}
        typer.echo(strict_json.dumps({"scores": table, "summaries": texts, "report": str(result.report)}, indent=1))
        return
    console = Console()
    for name, summaries in result.summaries.items():
        console.print(f"\n[bold]{result.dialogue.id}[/bold], summarized for each role, {name}")
        for one in summaries:
            console.print(f"[bold]{one.role}[/bold]  {escape(one.text)}", highlight=False)
    first = next(iter(next(iter(result.systems.values())).scores.values()))
    pairs = len(next(iter(first.per_pair.values())))
    scores_table = Table(
        title=f"{pairs} held-out dialogues, scorer {first.scorer} v{first.version}", title_justify="left"
    )
    scores_table.add_column("role")
    scores_table.add_column("system")
    for metric in METRICS:
        scores_table.add_column(HEADINGS[metric], justify="right")
    for role, metrics in table.items():
        for row, system in enumerate(result.systems):
            scores = (rounded(metrics[name][system], pairs) for name in METRICS)
            scores_table.add_row("" if row else role, system, *scores, end_section=row == len(result.systems) - 1)
    console.print()
    console.print(scores_table)
    if note := few_note(pairs):
        console.print(note)
    console.print(f"report: {result.report}", markup=False, soft_wrap=True)
