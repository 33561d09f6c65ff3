"""The results of human evaluation as tables in the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_annotation_results(results: Mapping[str, Any]) -> None:
    """Agreement, then mean ratings or win rates by role, each with its 95 % interval."""
    console = Console()
    who = ", ".join(f"{name} {count}" for name, count in results["annotators"].items())
    console.print(f"{results['judgments']} judgments of {results['summaries']} summaries: {escape(who)}")
    console.print(_agreement(results["agreement"]))
    if results["mode"] == "rate":
        console.print(_ratings(results))
        if len(results["systems"]) > 1:
            first = escape(results["systems"][0])
            console.print(f"with a sign: the difference from {first}, same annotator and summary", style="dim")
    else:
        console.print(_preferences(results["preferences"]))
        if results["identical_pairs"]:
            console.print(
                f"{results['identical_pairs']} pairs were not asked: both systems wrote the same", style="dim"
            )


def _agreement(found: Mapping[str, Any]) -> Table:
    table = _table("agreement: Krippendorff's alpha", ["criterion", "level"], ["alpha", "judged by two or more"])
    for criterion, one in found.items():
        value = _cell(one["alpha"], one["interval"]) if one["alpha"] is not None else escape(one["note"])
        table.add_row(escape(criterion), one["level"], value, str(one["units"]))
    return table


def _ratings(results: Mapping[str, Any]) -> Table:
    criteria = list(results["agreement"])
    table = _table(f"mean rating, 1 to {results['scale']}", ["role", "system"], criteria)
    for role, systems in results["ratings"].items():
        for place, (system, cells) in enumerate(systems.items()):
            texts = [_rating(cells.get(criterion)) for criterion in criteria]
            table.add_row("" if place else escape(role), escape(system), *texts, end_section=place == len(systems) - 1)
    return table


def _rating(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "–"
    text = _cell(cell["mean"], cell["interval"])
    if difference := cell.get("from_first"):
        text += f"\n{_cell(difference['mean'], difference['interval'], '+.2f')}"
    return text


def _preferences(found: Mapping[str, Any]) -> Table:
    heads = ["wins", "ties", "losses", "win rate, %"]
    table = _table("preferences: the first against the second; a tie is half a win", ["role", "pair"], heads)
    for role, pairs in found.items():
        for place, one in enumerate(pairs):
            counts = [str(one[key]) for key in ("wins", "ties", "losses")]
            pair = escape(f"{one['a']} : {one['b']}")
            table.add_row(
                "" if place else escape(role),
                pair,
                *counts,
                _cell(one["win_rate"], one["interval"], ".1f"),
                end_section=place == len(pairs) - 1,
            )
    return table


def _table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(escape(name), justify="right")
    return table


def _cell(value: float, interval: Sequence[float] | None, form: str = ".2f") -> str:
    spread = f" [dim]{interval[0]:{form}}…{interval[1]:{form}}[/dim]" if interval else ""
    return f"{value:{form}}{spread}"
