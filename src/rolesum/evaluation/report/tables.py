"""The report's tables as plain data: scores, published scores, check rates and differences between systems."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rolesum.checks import CHECKS
from rolesum.evaluation.check_rates import CheckRate
from rolesum.evaluation.comparison import CHECKS_FAMILY, MODELS_FAMILY, SUPPORT_FAMILY, CompareRow
from rolesum.evaluation.evaluated_run import score_results
from rolesum.evaluation.evaluation import Evaluation
from rolesum.metrics.published import published_rows
from rolesum.metrics.scorers import HEADINGS, software

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class ReportSystem:
    """One column of the report: a name and what it scored."""

    name: str
    evaluation: Evaluation


def all_roles(systems: Sequence[ReportSystem]) -> list[str]:
    """All roles that some system has scores for, in order of appearance."""
    return list(dict.fromkeys(role for system in systems for role in system.evaluation.scores))


def score_tables(systems: Sequence[ReportSystem]) -> list[dict[str, Any]]:
    """For each role: scorer, measures, each system's figures with their interval, and published rows of the same data.

    Systems that another scorer judged stand in a table of their own.
    """
    tables = []
    for role in all_roles(systems):
        scores = [(system, system.evaluation.scores.get(role)) for system in systems]
        have = [(system, score_results(score)) for system, score in scores if score]
        for scorer in dict.fromkeys(_scorer(found) for _, found in have):
            same = [(system, found) for system, found in have if _scorer(found) == scorer]
            tables.append(_score_table(role, scorer, same))
    return tables


def _score_table(role: str, scorer: str, systems: Sequence[tuple[ReportSystem, Mapping[str, Any]]]) -> dict[str, Any]:
    system, first = systems[0]
    measures = [measure for measure in HEADINGS if measure in first["means"]]
    references = [one.references[0] for one in system.evaluation.predictions_for(role)]
    published = published_rows(first["scorer"], references)
    return {
        "role": role,
        "scorer": scorer,
        "libraries": software(first),
        "multi_reference": first["multi_reference"],
        "pairs": first["pairs"],
        "headings": [HEADINGS[measure] for measure in measures],
        "rows": [
            {"system": one.name, "cells": [_cell(found, measure) for measure in measures]} for one, found in systems
        ],
        "published": [
            {"system": row.system, "cells": [row.means.get(measure) for measure in measures]} for row in published
        ],
        "sources": [(row.system, row.source) for row in published],
    }


def _scorer(found: Mapping[str, Any]) -> str:
    return f"{found['scorer']} v{found['scorer_version']}"


def _cell(found: Mapping[str, Any], measure: str) -> dict[str, Any]:
    low, high = found["intervals"].get(measure) or (None, None)
    return {"mean": found["means"][measure], "low": low, "high": high}


def published_sources(tables: Iterable[Mapping[str, Any]]) -> list[str]:
    """Each source of the tables' published rows, said once, with its systems."""
    by_source: dict[str, dict[str, None]] = {}
    for system, source in (pair for table in tables for pair in table["sources"]):
        by_source.setdefault(source, {})[system] = None
    return [f"As published: {'; '.join(names)}. Source: {source}." for source, names in by_source.items()]


def check_tables(systems: Sequence[ReportSystem]) -> list[dict[str, Any]]:
    """For each role: the references' rate and each system's for every check that some text gives a figure to.

    A check that finds nothing in any of them has its heading in `silent`, and no row.
    """
    checked = [(system.name, system.evaluation.checks) for system in systems]
    tables = []
    for role in dict.fromkeys(role for _, checks in checked for role in checks):
        have = [(name, checks[role].rates) for name, checks in checked if role in checks]
        rows, silent = [], []
        for name, check in CHECKS.items():
            rates = [rates.get(name) for _, rates in have]
            known = next((rate for rate in rates if rate is not None), None)
            if known is None or all(rate is None or rate.value is None for rate in rates):
                continue
            if not (known.reference or any(rate and rate.value for rate in rates)):
                silent.append(check.heading)
                continue
            rows.append(
                {
                    "heading": check.heading,
                    "unit": "×" if check.unit == "x" else check.unit,
                    "description": check.description,
                    "reference": {
                        "mean": known.reference,
                        "low": known.reference_low,
                        "high": known.reference_high,
                        "apart": False,
                    },
                    "cells": [_rate(rate) for rate in rates],
                }
            )
        pairs = min(len(checks[role].checked) for _, checks in checked if role in checks)
        names = [name for name, _ in have]
        tables.append({"role": role, "systems": names, "rows": rows, "silent": silent, "pairs": pairs})
    return tables


def _rate(rate: CheckRate | None) -> dict[str, Any]:
    """A rate as a cell; `apart` tells that its interval and the references' share no value."""
    if rate is None:
        return {"mean": None, "low": None, "high": None, "apart": False}
    ends = (rate.low, rate.high, rate.reference_low, rate.reference_high)
    low, high, reference_low, reference_high = (math.nan if end is None else end for end in ends)
    return {
        "mean": rate.value,
        "low": rate.low,
        "high": rate.high,
        "apart": low > reference_high or high < reference_low,
    }


def difference_tables(comparisons: Iterable[CompareRow]) -> list[dict[str, Any]]:
    """For each role and pair of systems a table of measures; those of checks and models, which are long, are folded.

    The shares of summaries without a doubtful statement are a table of roles. A check that finds nothing in either
    system has no row.
    """
    long = (CHECKS_FAMILY, MODELS_FAMILY)
    tables: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
    for row in comparisons:
        if row.scorer == CHECKS_FAMILY and row.comparison.a == row.comparison.b == 0:
            continue
        title, measure = (row.heading, row.role) if row.scorer == SUPPORT_FAMILY else (row.role, row.heading)
        tables.setdefault((title, row.a_name, row.b_name, row.scorer), []).append(
            {
                "measure": measure,
                "found": row.comparison,
                "p_adjusted": row.p_adjusted,
                "significant": row.p_adjusted < SIGNIFICANT and row.comparison.low * row.comparison.high > 0,
            }
        )
    return [
        {"title": title, "a": a, "b": b, "scorer": scorer, "rows": rows, "folded": scorer in long}
        for (title, a, b, scorer), rows in tables.items()
    ]


def model_tables(systems: Sequence[ReportSystem]) -> list[dict[str, Any]]:
    """For each role: measures that a model computed, system by system, and the facts without which they mean nothing.

    Systems that were measured with other settings stand in rows of their own.
    """
    tables = []
    for role in all_roles(systems):
        rows: list[dict[str, Any]] = []
        facts: dict[tuple[str, str], Mapping[str, Any]] = {}
        for system in systems:
            for name, score in system.evaluation.model_scores.get(role, {}).items():
                found = score.as_json()
                facts[name, str(score.metadata)] = score.metadata
                for measure, mean in found["means"].items():
                    low, high = found["intervals"].get(measure) or (None, None)
                    cell = {"mean": mean, "low": low, "high": high}
                    rows.append({"system": system.name, "measure": f"{name} {measure}", "cell": cell})
        if rows:
            rows.sort(key=lambda row: row["measure"])
            metadata_lines = [
                f"{name}: " + ", ".join(f"{key} {value}" for key, value in of.items())
                for (name, _), of in facts.items()
            ]
            tables.append({"role": role, "rows": rows, "facts": metadata_lines})
    return tables
