"""Scores, checks and comparisons as tables: in the terminal, and as Markdown and LaTeX files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rolesum.atomic_io import atomic_write_text
from rolesum.checks import CHECKS
from rolesum.counts import counted
from rolesum.evaluation.comparison import CHECKS_FAMILY, CompareRow
from rolesum.evaluation.evaluated_run import evaluation_results
from rolesum.evaluation.evaluation import Evaluation
from rolesum.evaluation.report.paper import as_latex, as_markdown
from rolesum.evaluation.report.precision import few_note, rate_text, rounded, support_notes
from rolesum.metrics.bootstrap import FEW, Comparison, informative_interval
from rolesum.metrics.published import published_rows
from rolesum.metrics.scorers import HEADINGS, software

WIDE = 100  # columns of a terminal that has room for all of a comparison


def print_support(results: Mapping[str, Any]) -> None:
    """How many summaries have no doubtful statement, where they were verified: all, by role and by language."""
    if (found := results.get("support")) is None:
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]summaries without a doubtful statement: {rate_text(found['total'])}[/bold]")
    roles = {role: of["support"] for role, of in results["roles"].items()}
    for groups in (roles, found["languages"]):
        if len(groups) > 1:
            console.print("; ".join(f"{escape(name)} {rate_text(rate)}" for name, rate in groups.items()))
    console.print(f"[dim]{'. '.join(support_notes(found))}[/dim]")


def print_results(roles: Mapping[str, Mapping[str, Any]]) -> None:
    """One row per role: the figures, each with its 95 % interval; then the checks and the measures of models."""
    first = next(iter(roles.values()))
    measures = [measure for measure in HEADINGS if measure in first["means"]]
    several = {"mean": "; mean over several references", "best": "; best of several references"}
    joined = next((several[of["multi_reference"]] for of in roles.values() if of["multi_reference"] in several), "")
    title = f"scorer {first['scorer']} v{first['scorer_version']} ({software(first)}){joined}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("role")
    table.add_column("pairs", justify="right")
    for measure in measures:
        table.add_column(HEADINGS[measure], justify="right")
    for role, found in roles.items():
        pairs = found["pairs"]
        cells = [_spread(found["means"][one], found["intervals"].get(one), "\n", pairs) for one in measures]
        table.add_row(escape(role), str(pairs), *cells)
    Console().print(table)
    if note := few_note(min(found["pairs"] for found in roles.values())):
        Console().print(f"[dim]{note}[/dim]")
    if any("checks" in found for found in roles.values()):
        table, silent = _checks(roles)
        Console().print(table)
        if silent:
            Console().print(f"[dim]nothing found, in the references either: {', '.join(silent)}[/dim]")
    if any("models" in found for found in roles.values()):
        Console().print(_models(roles))


def print_comparison(rows: Sequence[CompareRow]) -> None:
    """For each two systems B - A with its interval, the tests and the effect; checks that agree are left out."""
    console = Console()
    wide = console.width >= WIDE
    for a, b in dict.fromkeys((row.a_name, row.b_name) for row in rows):
        table = Table(
            title=f"A = {escape(a)}, B = {escape(b)}",
            title_justify="left",
            box=box.SIMPLE,
            pad_edge=False,
            collapse_padding=True,
        )
        table.add_column("", no_wrap=True)
        for heading in ("A", "B", "B - A", "95 %", "boot", "rand", "Holm", *(("d_z", "win/tie/loss") if wide else ())):
            table.add_column(heading, justify="right", no_wrap=True)
        chosen = [row for row in rows if (row.a_name, row.b_name) == (a, b)]
        for role in dict.fromkeys(row.role for row in chosen):
            table.add_row(f"[bold]{escape(role)}[/bold]")
            shown = [
                row for row in chosen if row.role == role and (row.scorer != CHECKS_FAMILY or row.comparison.difference)
            ]
            for row in shown:
                table.add_row(*_cells(row, wide), end_section=row is shown[-1])
        console.print(table)
    if note := few_note(min(row.comparison.pairs for row in rows)):
        console.print(f"{note}; of the tests, read the randomization", soft_wrap=True)
    resamples = min(row.comparison.resamples for row in rows)
    legend = "boot, rand: p of the paired bootstrap and of approximate randomization"
    console.print(f"[dim]{legend} ({resamples:,} resamples, seeded);[/dim]")
    console.print("[dim]Holm: the latter, adjusted over all rows of its scorer; bold below 0.05[/dim]")


def print_agreement(rows: Sequence[Mapping[str, Any]]) -> None:
    """How far the judge agrees with people, by criterion."""
    headings = ("criterion", "pairs", "raters", "judge", "people", "rho", "tau-b", "alpha", "people's alpha")
    keys = ("criterion", "pairs", "raters", "judge_mean", "people_mean", "spearman", "kendall", "alpha", "alpha_people")
    table = Table(title="the judge against people", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "criterion" else "right")
    for row in rows:
        values = [row[key] for key in keys]
        table.add_row(*(f"{one:.2f}" if isinstance(one, float) else "–" if one is None else str(one) for one in values))
    Console().print(table)


def print_detection(record: Mapping[str, Any]) -> None:
    """How well each detector finds the wrong summaries: its figures with 95 % intervals, then its recall by kind."""
    console, shown = Console(), record["detectors"]
    over = counted(record["dialogues"], "dialogue")
    counts = f"{record['summaries']:,} summaries of {over}, {record['errors']:,} with an error"
    options: dict[str, Any] = {"title_justify": "left", "box": box.SIMPLE_HEAD, "pad_edge": False}
    table = Table(title=f"{counts}; rates in %", padding=(0, 1, 0, 0), **options)
    table.add_column("detector", no_wrap=True)
    for heading in ("AUROC", "balanced accuracy", "precision", "recall", "false positives"):
        table.add_column(heading, justify="right")
    for one in shown:
        rates = [_rate_spread(one[key]) for key in ("balanced_accuracy", "precision", "recall", "false_positive_rate")]
        lost = f" [dim]{one['undefined']} undefined[/dim]" if one["undefined"] else ""
        table.add_row(escape(one["detector"]) + lost, _figure_spread(one["auroc"], 1, 2), *rates)
    console.print(table)
    if kinds := record["kinds"]:
        table = Table(title="recall by kind of error, %", **options)
        table.add_column("kind", no_wrap=True)
        for one in shown:
            table.add_column(escape(one["detector"]), justify="right")
        for kind, count in kinds.items():
            table.add_row(f"{escape(kind)} ({count})", *(_rate_spread(one["kinds"][kind]["recall"]) for one in shown))
        console.print(table)
    fixed = "of the checks that say yes or no, one flag"
    console.print(f"[dim]thresholds {record['thresholds']}; {fixed}[/dim]", soft_wrap=True)
    verify = record.get("model", {}).get("verify", {"trained": True})
    if reason := verify.get("left_out"):
        console.print(f"verify is left out: {escape(reason)}", soft_wrap=True)
    elif not verify["trained"]:
        console.print("[dim]verify: the model was not trained to verify statements[/dim]", soft_wrap=True)
    if record["dialogues"] < FEW:
        console.print(f"[dim]intervals over {over} are unreliable: use {FEW} or more[/dim]")


def _rate_spread(figure: Mapping[str, Any]) -> str:
    return _figure_spread(figure, 100, 0)


def _figure_spread(figure: Mapping[str, Any], scale: int, digits: int) -> str:
    """A figure times `scale` with its interval below it; a dash where it is undefined."""
    if figure["value"] is None:
        return "–"
    ends = figure["interval"] and "–".join(f"{scale * end:.{digits}f}" for end in figure["interval"])
    return f"{scale * figure['value']:.{digits}f}" + (f"\n[dim]{ends}[/dim]" if ends else "")


def write_tables(directory: Path, systems: Mapping[str, Evaluation]) -> None:
    """table.md and table.tex of the systems' results, with published rows of the same data and scorer."""
    first = next(iter(systems.values()))
    published = {
        role: published_rows(score.scorer, [one.references[0] for one in first.predictions_for(role)])
        for role, score in first.scores.items()
    }
    results = {name: evaluation_results(one) for name, one in systems.items()}
    atomic_write_text(directory / "table.md", as_markdown(results, published))
    atomic_write_text(directory / "table.tex", as_latex(results, published))


def _cells(row: CompareRow, wide: bool) -> list[str]:
    found = row.comparison
    adjusted = _p_value(row.p_adjusted)
    cells = [
        " " + escape(row.heading),
        rounded(found.a, found.pairs),
        rounded(found.b, found.pairs),
        rounded(found.difference, found.pairs, sign="+"),
        f"[dim]{_ends(found)}[/dim]",
        "–" if found.p_bootstrap is None else _p_value(found.p_bootstrap),
        _p_value(found.p_randomization),
        f"[bold]{adjusted}[/bold]" if row.p_adjusted < 0.05 else adjusted,
    ]
    if wide:
        cells.append("" if found.effect is None else f"{found.effect:+.2f}")
        cells.append("" if found.wins is None else f"{found.wins}/{found.ties}/{found.losses}")
    return cells


def _ends(found: Comparison) -> str:
    """The interval of a difference; a dash for one of few pairs without width."""
    if informative_interval((found.low, found.high), found.pairs) is None:
        return "–"
    if found.pairs < FEW:
        return " ".join(rounded(end, found.pairs, sign="+") for end in (found.low, found.high))
    return f"{_signed(found.low)} {_signed(found.high)}"


def _signed(value: float) -> str:
    return f"{value:+.2f}" if abs(value) < 10 else f"{value:+.1f}"


def _p_value(p_value: float) -> str:
    return "<.001" if p_value < 0.001 else f"{p_value:.3f}"


def _checks(roles: Mapping[str, Mapping[str, Any]]) -> tuple[Table, list[str]]:
    """The checks that find something, here or in the references, and the headings of the others."""
    title = "checks without a model: the system's rate, and the references'"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("check")
    for role in roles:
        table.add_column(escape(role), justify="right")
    silent = []
    for name, check in CHECKS.items():
        rates = [found.get("checks", {}).get(name) for found in roles.values()]
        known = [rate for rate in rates if rate and rate["value"] is not None]
        if known and not any(rate["value"] or rate["reference"] for rate in known):
            silent.append(check.heading)
        elif known:
            unit = "" if check.unit == "x" else f" [dim]{escape(check.unit)}[/dim]"
            cells = [_rate(rate, found["pairs"]) for rate, found in zip(rates, roles.values(), strict=True)]
            table.add_row(escape(check.heading) + unit, *cells)
    return table, silent


def _rate(rate: Mapping[str, Any] | None, pairs: int) -> str:
    if not rate or rate["value"] is None:
        return "–"
    reference = "" if rate["reference"] is None else f" [dim]references {rounded(rate['reference'], pairs)}[/dim]"
    return f"{rounded(rate['value'], pairs)}{reference}"


def _models(roles: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(title="measures by a model", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("measure", *roles):
        table.add_column(escape(heading), justify="left" if heading == "measure" else "right")
    named = dict.fromkeys(
        (name, measure)
        for found in roles.values()
        for name, of_model in found.get("models", {}).items()
        for measure in of_model["means"]
    )
    for name, measure in named:
        cells = []
        for found in roles.values():
            of_model = found.get("models", {}).get(name)
            value = of_model["means"].get(measure) if of_model else None
            lost = of_model["undefined"].get(measure, 0) if of_model else 0
            cell = "–" if value is None or of_model is None else _spread(value, of_model["intervals"].get(measure))
            cells.append(f"{cell} [dim]{lost} undefined[/dim]" if lost else cell)
        table.add_row(f"{escape(name)} {escape(measure)}", *cells)
    return table


def _spread(value: float, interval: Sequence[float] | None, between: str = " ", pairs: int = FEW) -> str:
    low, high = interval or (0.0, 0.0)
    ends = f"{low:.1f}–{high:.1f}" if pairs >= FEW else f"{rounded(low, pairs)}–{rounded(high, pairs)}"
    return rounded(value, pairs) + (f"{between}[dim]{ends}[/dim]" if interval else "")
