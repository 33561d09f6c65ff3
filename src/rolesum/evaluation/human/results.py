"""Results of annotation: agreement, mean ratings and win rates; printed as tables, and judgments exported."""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text
from rolesum.counts import counted
from rolesum.errors import DataError, UsageError
from rolesum.evaluation.human.store import PREFERENCE, Judgment
from rolesum.evaluation.human.study import Study
from rolesum.metrics.bootstrap import RESAMPLES, SEED, Statistic, bootstrap_intervals, ratio
from rolesum.metrics.krippendorff import alpha_from_counts

ALL_ROLES = "all roles"
Key = TypeVar("Key")
EXPORT_SUFFIXES = (".csv", ".jsonl")
Counts = NDArray[np.int64]
Level = Literal["ordinal", "nominal"]


def annotation_results(study: Study, judgments: Sequence[Judgment]) -> dict[str, Any]:
    """Agreement by criterion; by role, and over all roles, mean ratings or win rates. Raises DataError for none.

    Means are over all judgments. Intervals are 95 % percentile bootstrap intervals over dialogues, for judgments of
    one dialogue are not independent. A win rate counts a tie as half, in percent.
    """
    if not judgments:
        raise DataError("the store has no judgments yet", fix="open the page with rolesum annotate, without --results")
    rating = study.settings.mode == "rate"
    criteria = [one.name for one in study.settings.criteria] if rating else [PREFERENCE]
    values = range(1, study.settings.scale + 1) if rating else (-1, 0, 1)
    by_criterion = _grouped(judgments, lambda one: one.criterion)
    counts = {name: len(of_group) for name, of_group in _grouped(judgments, lambda one: one.annotator).items()}
    by_role = {role: [one for one in judgments if one.role == role] for role in study.roles()}
    if len(by_role) > 1:
        by_role = {ALL_ROLES: list(judgments), **by_role}
    found = {
        "mode": study.settings.mode,
        "systems": list(study.systems),
        "summaries": len(study.items),
        "judgments": len(judgments),
        "annotators": counts,
        "agreement": {
            name: asdict(annotator_agreement(by_criterion.get(name, []), values, rating)) for name in criteria
        },
    }
    if rating:
        ratings = {
            role: _mean_ratings(of_group, study.systems, criteria) for role, of_group in by_role.items() if of_group
        }
        return found | {"scale": study.settings.scale, "ratings": ratings}
    wins = {role: _win_rates(of_group, study.systems) for role, of_group in by_role.items() if of_group}
    return found | {"identical_pairs": study.identical_pairs(), "preferences": wins}


def _mean_ratings(
    judgments: Sequence[Judgment], systems: Sequence[str], criteria: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """system -> criterion -> mean, interval, judgments, and the difference from the first system."""
    first = {
        (one.annotator, one.dialogue, one.role, one.criterion): one for one in judgments if one.system == systems[0]
    }
    cells = _grouped(judgments, lambda one: (one.system, one.criterion))
    table: dict[str, dict[str, Any]] = {}
    for system in systems:
        for criterion in criteria:
            if not (rows := cells.get((system, criterion))):
                continue
            cell = _mean_with_interval((one.dialogue, one.value) for one in rows) | {"judgments": len(rows)}
            keys = [(one, first.get((one.annotator, one.dialogue, one.role, criterion))) for one in rows]
            pairs = [(one.dialogue, one.value - other.value) for one, other in keys if other is not None]
            if system != systems[0] and pairs:
                cell["from_first"] = _mean_with_interval(pairs)
            table.setdefault(system, {})[criterion] = cell
    return table


def _win_rates(judgments: Sequence[Judgment], systems: Sequence[str]) -> list[dict[str, Any]]:
    """For each pair of systems: wins of `a`, ties, losses, and the win rate of `a` in percent with its interval."""
    by_pair = _grouped(judgments, lambda one: (one.system, one.other))
    found = []
    for a, b in combinations(systems, 2):
        if rows := by_pair.get((a, b)):
            figure = _mean_with_interval((one.dialogue, 50.0 * (1 + one.value)) for one in rows)
            won, tied, lost = (sum(one.value == value for one in rows) for value in (1, 0, -1))
            win_rate = {"win_rate": figure["mean"], "interval": figure["interval"]}
            found.append({"a": a, "b": b, "wins": won, "ties": tied, "losses": lost, **win_rate})
    return found


def _mean_with_interval(rows: Iterable[tuple[str, float]]) -> dict[str, Any]:
    """The mean of (dialogue, value) rows, and its interval over dialogues; None for an interval of one dialogue."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for dialogue, value in rows:
        sums[dialogue][0] += value
        sums[dialogue][1] += 1
    totals, counts = zip(*sums.values(), strict=True)
    statistic: Statistic = ratio(totals, counts, scale=1.0)
    interval = bootstrap_intervals({"": statistic})[""] if len(sums) > 1 else None
    return {"mean": round(statistic.value, 4), "interval": [round(end, 4) for end in interval] if interval else None}


def _grouped(judgments: Iterable[Judgment], key: Callable[[Judgment], Key]) -> Mapping[Key, list[Judgment]]:
    groups: dict[Key, list[Judgment]] = {}
    for one in judgments:
        groups.setdefault(key(one), []).append(one)
    return groups


@dataclass(frozen=True)
class AnnotatorAgreement:
    """`alpha` is 1 for perfect agreement, 0 for chance, below 0 for worse; None, with a `note`, where undefined.

    `interval` is the 95 % percentile bootstrap interval over dialogues; `units` counts what at least two annotators
    judged, which is all that alpha sees.
    """

    alpha: float | None
    interval: tuple[float, float] | None
    level: Level
    units: int
    note: str = ""


def annotator_agreement(judgments: Sequence[Judgment], values: Sequence[int], ordinal: bool) -> AnnotatorAgreement:
    """Krippendorff's alpha (Krippendorff 2019, chapter 12) of one criterion, whose answers are among `values`.

    Ordinal for ratings, where 1 against 5 is a worse quarrel than 4 against 5; nominal for preferences.
    """
    level: Level = "ordinal" if ordinal else "nominal"
    column = {value: place for place, value in enumerate(values)}
    units: dict[tuple[str, ...], Counts] = defaultdict(lambda: np.zeros(len(values), dtype=np.int64))
    for one in judgments:
        units[one.unit][column[one.value]] += 1
    shared = {unit: counts for unit, counts in units.items() if counts.sum() > 1}
    if not shared:
        return AnnotatorAgreement(None, None, level, 0, "no two annotators judged the same output")
    counts = np.stack(list(shared.values()))
    if np.count_nonzero(counts.sum(axis=0)) < 2:
        return AnnotatorAgreement(None, None, level, len(shared), "all answers are the same")
    dialogues = defaultdict(list)
    for place, unit in enumerate(shared):
        dialogues[unit[0]].append(place)
    interval = _alpha_interval(counts, list(dialogues.values()), values, level)
    return AnnotatorAgreement(alpha_from_counts(counts, values, level), interval, level, len(shared))


def _alpha_interval(
    counts: Counts, groups: Sequence[Sequence[int]], values: Sequence[int], level: Level
) -> tuple[float, float] | None:
    if len(groups) < 2:
        return None
    random, found = np.random.default_rng(SEED), []
    for _ in range(RESAMPLES):
        drawn = counts[[place for group in random.integers(0, len(groups), len(groups)) for place in groups[group]]]
        if (alpha := alpha_from_counts(drawn, values, level)) is not None:
            found.append(alpha)
    if not found:
        return None
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def print_annotation_results(results: Mapping[str, Any]) -> None:
    """Agreement, then mean ratings or win rates by role, each with its 95 % interval."""
    console = Console()
    judgments = counted(results["judgments"], "judgment")
    summaries = counted(results["summaries"], "summary", "summaries")
    who = ", ".join(f"{name} {count}" for name, count in results["annotators"].items())
    console.print(f"{judgments} of {summaries}: {escape(who)}")
    console.print(_agreement_table(results["agreement"]))
    if results["mode"] == "rate":
        console.print(_ratings_table(results))
        if len(results["systems"]) > 1:
            first = escape(results["systems"][0])
            console.print(f"with a sign: the difference from {first}, same annotator and summary", style="dim")
    else:
        console.print(_preferences_table(results["preferences"]))
        if results["identical_pairs"]:
            pairs = counted(results["identical_pairs"], "pair")
            console.print(f"not asked, as both systems wrote the same: {pairs}", style="dim")


def _agreement_table(found: Mapping[str, Any]) -> Table:
    table = _table("agreement: Krippendorff's alpha", ["criterion", "level"], ["alpha", "judged by two or more"])
    for criterion, one in found.items():
        value = _cell(one["alpha"], one["interval"]) if one["alpha"] is not None else escape(one["note"])
        table.add_row(escape(criterion), one["level"], value, str(one["units"]))
    return table


def _ratings_table(results: Mapping[str, Any]) -> Table:
    criteria = list(results["agreement"])
    table = _table(f"mean rating, 1 to {results['scale']}", ["role", "system"], criteria)
    for role, systems in results["ratings"].items():
        for place, (system, cells) in enumerate(systems.items()):
            texts = [_rating_cell(cells.get(criterion)) for criterion in criteria]
            table.add_row("" if place else escape(role), escape(system), *texts, end_section=place == len(systems) - 1)
    return table


def _rating_cell(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "–"
    text = _cell(cell["mean"], cell["interval"])
    if difference := cell.get("from_first"):
        text += f"\n{_cell(difference['mean'], difference['interval'], '+.2f')}"
    return text


def _preferences_table(found: Mapping[str, Any]) -> Table:
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


def check_export_suffix(path: Path) -> None:
    """Raise UsageError for a file name without a known suffix."""
    if path.suffix.lower() not in EXPORT_SUFFIXES:
        raise UsageError(f"cannot tell the format of {path}", fix=f"end its name in {' or '.join(EXPORT_SUFFIXES)}")


def export_judgments(judgments: Sequence[Judgment], path: Path) -> None:
    """Write one row per judgment, with the fields of Judgment. Raises UsageError, ResourceError."""
    check_export_suffix(path)
    rows = [asdict(one) for one in judgments]
    if path.suffix.lower() == ".jsonl":
        atomic_write_text(path, "".join(strict_json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, Judgment.__dataclass_fields__, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic_write_text(path, text.getvalue())
