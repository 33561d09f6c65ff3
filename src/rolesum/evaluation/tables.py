"""Scores as a table in the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rolesum.evaluation.scorers import HEADINGS


def print_results(roles: Mapping[str, Mapping[str, Any]]) -> None:
    """One row per role: the means, with the 95 % interval where there is one."""
    first = next(iter(roles.values()))
    measures = [measure for measure in HEADINGS if measure in first["means"]]
    libraries = ", ".join(f"{name} {version}" for name, version in first["libraries"].items())
    references = "; mean over several references" if first["references"] == "mean" else ""
    table = Table(
        title=f"scorer {first['scorer']} v{first['scorer_version']} ({libraries}){references}", title_justify="left"
    )
    table.add_column("role")
    table.add_column("pairs", justify="right")
    for measure in measures:
        table.add_column(HEADINGS[measure], justify="right")
    for role, found in roles.items():
        cells = []
        for measure in measures:
            interval = found["intervals"].get(measure)
            spread = f" [dim]{interval[0]:.1f}–{interval[1]:.1f}[/dim]" if interval else ""
            cells.append(f"{found['means'][measure]:.2f}{spread}")
        table.add_row(escape(role), str(found["pairs"]), *cells)
    Console().print(table)
