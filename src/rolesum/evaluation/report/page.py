"""Render report.html and write it."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rolesum.atomic_io import atomic_write_text
from rolesum.checks import CHECKS
from rolesum.counts import counted
from rolesum.dialogue import Dialogue
from rolesum.evaluation.comparison import CompareRow
from rolesum.evaluation.report.cases import select_cases, signed
from rolesum.evaluation.report.plots import check_rate_plot, loss_curve, plots_by_role
from rolesum.evaluation.report.precision import few_note, rounded
from rolesum.evaluation.report.tables import (
    ReportSystem,
    check_tables,
    difference_tables,
    model_tables,
    published_sources,
    score_tables,
)
from rolesum.evaluation.report.verdict import verdict, warnings
from rolesum.metrics.bootstrap import FEW


def write_report(
    path: Path,
    title: str,
    systems: Sequence[ReportSystem],
    dialogues: Sequence[Dialogue],
    *,
    metrics: Path | None = None,
    metadata: Mapping[str, Any] | None = None,
    comparisons: Sequence[CompareRow] | None = None,
) -> None:
    """Write the page.

    `dialogues` may be empty, or hold others too: a case whose dialogue is not among them is shown without it. `metrics`
    is a run's metrics.jsonl, for the loss curve; `about` a few facts for the foot; `comparisons` the differences
    between systems, whose largest gains and losses become cases.
    """
    environment = Environment(
        loader=PackageLoader("rolesum.evaluation.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"signed": signed, "rounded": rounded, "few_note": few_note, "counted": counted}
    environment.globals["few"] = FEW
    compared = list(dict.fromkeys((row.a_name, row.b_name) for row in comparisons or ()))
    sections = select_cases(systems, dialogues, compared)
    script = _file("page.js")
    tables, checks = score_tables(systems), check_tables(systems)
    page = environment.get_template("page.html.jinja").render(
        title=title,
        language="zh" if dialogues and dialogues[0].language == "zh" else "en",
        style=Markup(_file("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        systems=[system.name for system in systems],
        verdict=verdict(systems, dialogues),
        warnings=warnings([(table["role"], table["pairs"]) for table in tables]),
        tables=tables,
        sources=published_sources(tables),
        models=model_tables(systems),
        differences=difference_tables(comparisons or ()),
        plots=plots_by_role(systems, dialogues),
        repetition=check_rate_plot(systems, "repetition") if checks else None,
        curve=loss_curve(metrics) if metrics and metrics.is_file() else None,
        checks=checks,
        sections=sections,
        kinds=_kinds(sections),
        flags=_flags(sections),
        about={key: _fact(value) for key, value in (metadata or {}).items() if value is not None},
    )
    atomic_write_text(path, page)


def _fact(value: Any) -> Any:
    """Lists and mappings as a reader writes them."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_fact(one)}" for key, one in value.items())
    return ", ".join(map(str, map(_fact, value))) if isinstance(value, list | tuple) else value


def _file(name: str) -> str:
    return files("rolesum.evaluation.report").joinpath(name).read_text(encoding="utf-8")


def _kinds(sections: Sequence[Mapping[str, Any]]) -> list[str]:
    """The kinds of cases on the page, for the filter."""
    tags = [tag for section in sections for case in section["cases"] for tag in case["tags"].split()]
    return list(dict.fromkeys(tag.lstrip("0123456789") for tag in tags))


def _flags(sections: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The checks that flagged something on the page, with their headings, for the filter."""
    marks = [mark for section in sections for case in section["cases"] for mark in case["marks"].split()]
    found = list(dict.fromkeys(mark.lstrip("0123456789") for mark in marks))
    return [(name, CHECKS[name].heading if name in CHECKS else name) for name in found]
