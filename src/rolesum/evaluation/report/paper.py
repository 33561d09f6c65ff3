"""Results as tables for a paper: Markdown, and LaTeX with booktabs; the best figure of each column is bold."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rolesum.counts import counted
from rolesum.errors import UsageError
from rolesum.evaluation.report.precision import few_note, rounded
from rolesum.metrics.bootstrap import FEW
from rolesum.metrics.published import PublishedRow
from rolesum.metrics.scorers import HEADINGS, software

Results = Mapping[str, Mapping[str, Any]]  # system -> what results.json holds
Published = Mapping[str, Sequence[PublishedRow]]  # role -> rows of its data and scorer

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: f"\\{character}" for character in "{}%_&#$"},
}


@dataclass(frozen=True)
class _Cell:
    value: float | None
    interval: Sequence[float] | None
    best: bool
    pairs: int = FEW


@dataclass(frozen=True)
class _Block:
    """One role: its rows are (system, cells, whether it is as published)."""

    role: str
    pairs: int
    rows: Sequence[tuple[str, Sequence[_Cell], bool]]


def as_markdown(results_by_system: Results, published: Published | None = None) -> str:
    """A table for each role, with 95 % intervals. Raises UsageError where the systems' scorers differ.

    `published` are rows to stand below ours, which `published_rows` gives for the same references and scorer.
    """
    measures, blocks, scorer_sentence = _collect(results_by_system, published or {})
    parts = []
    for block in blocks:
        head = ["system", *(HEADINGS[measure] for measure in measures)]
        lines = [f"**{_markdown(block.role)}**, {counted(block.pairs, 'summary', 'summaries')}", "", _piped(head)]
        lines.append(_piped(["---", *("---:" for _ in measures)]))
        for name, cells, printed in block.rows:
            label = f"{_markdown(name)} (as published)" if printed else _markdown(name)
            lines.append(_piped([label, *(_shown(cell, "**{}**", " ({}–{})", "–") for cell in cells)]))
        parts.append("\n".join(lines))
    return (
        "\n\n".join([*parts, f"{scorer_sentence}. In parentheses: bootstrap 95 % interval. Bold: best of its column."])
        + "\n"
    )


def as_latex(results_by_system: Results, published: Published | None = None) -> str:
    """One table environment with a block for each role; it needs booktabs, and ctex or xeCJK for Chinese names.

    Raises UsageError where the systems' scorers differ. For `published` see as_markdown.
    """
    measures, blocks, scorer_sentence = _collect(results_by_system, published or {})
    width = len(measures) + 1
    lines = [
        r"% \usepackage{booktabs}; for Chinese names also \usepackage{ctex}, with xelatex",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(scorer_sentence)}. Small: bootstrap 95\,\% interval. Bold: best of its column.}}",
        rf"\begin{{tabular}}{{l{'r' * len(measures)}}}",
        r"\toprule",
        " & ".join(["System", *(HEADINGS[measure] for measure in measures)]) + r" \\",
    ]
    for block in blocks:
        title = f"{_latex(block.role)}, {counted(block.pairs, 'summary', 'summaries')}"
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\textit{{{title}}}}} \\"]
        seen_printed = False
        for name, cells, printed in block.rows:
            if printed and not seen_printed:
                seen_printed = True
                lines += [r"\addlinespace", rf"\multicolumn{{{width}}}{{l}}{{\textit{{as published}}}} \\"]
            shown = [_shown(cell, r"\textbf{{{}}}", r" {{\scriptsize [{}, {}]}}", "--") for cell in cells]
            label = _latex(name)
            guarded = f"{{}}{label}" if label.startswith(("[", "*")) else label  # else \\ would take it as its own
            lines.append(" & ".join([guarded, *shown]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _collect(results: Results, published: Published) -> tuple[list[str], list[_Block], str]:
    """The measures that all have, a block for each role, and the sentence that names scorer and versions."""
    found = [(system, role, of) for system, one in results.items() for role, of in one["roles"].items()]
    if not found:
        raise UsageError("no results to put into a table", fix="name directories that rolesum evaluate --out wrote")
    scorers = {_scorer(of): system for system, _, of in found}
    if len(scorers) > 1:
        scorer_sentence = "; ".join(f"{system}: {scorer}" for scorer, system in scorers.items())
        raise UsageError(
            f"results of different scorers ({scorer_sentence})", fix="score all with one: rolesum compare --scorer"
        )
    measures = [measure for measure in HEADINGS if all(measure in of["means"] for _, _, of in found)]
    blocks = []
    for role in dict.fromkeys(role for _, role, _ in found):
        own_results = [(system, of) for system, which, of in found if which == role]
        rows = [(system, of["means"], of["intervals"], False) for system, of in own_results]
        rows += [(row.system, row.means, {}, True) for row in published.get(role, ())]
        columns = {one: [round(means[one], 2) for _, means, _, _ in rows if one in means] for one in measures}
        best = {one: max(values) if len(values) > 1 else None for one, values in columns.items()}
        table = []
        for system, means, intervals, printed in rows:
            pairs = FEW if printed else own_results[0][1]["pairs"]
            cells = [_cell(means.get(one), intervals.get(one), best[one], pairs) for one in measures]
            table.append((system, cells, printed))
        blocks.append(_Block(role, own_results[0][1]["pairs"], table))
    note = few_note(min(block.pairs for block in blocks))
    return measures, blocks, f"Scorer {next(iter(scorers))}{'. ' + note if note else ''}"


def _scorer(of: Mapping[str, Any]) -> str:
    joined = {"mean": "; mean over several references", "best": "; best of several references"}
    return f"{of['scorer']} v{of['scorer_version']} ({software(of)}){joined.get(of['multi_reference'], '')}"


def _cell(value: float | None, interval: Sequence[float] | None, best: float | None, pairs: int) -> _Cell:
    return _Cell(value, interval, value is not None and round(value, 2) == best, pairs)


def _shown(cell: _Cell, bold: str, spread: str, nothing: str) -> str:
    if cell.value is None:
        return nothing
    value = rounded(cell.value, cell.pairs)
    ends = [f"{end:.1f}" if cell.pairs >= FEW else rounded(end, cell.pairs) for end in cell.interval or ()]
    return (bold.format(value) if cell.best else value) + (spread.format(*ends) if ends else "")


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(text: str) -> str:
    return _escaped(text, lambda character: f"\\{character}" if character in "\\`*_[]<>|#" else character)


def _latex(text: str) -> str:
    return _escaped(text, lambda character: LATEX.get(character, character))


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    """One line, each character that would mean something escaped."""
    return "".join(map(escape, re.sub(r"\s+", " ", text).strip()))
