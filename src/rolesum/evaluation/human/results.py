"""What the judgments say: agreement, mean ratings and win rates with their intervals, as plain data."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any, TypeVar

from rolesum.errors import DataError
from rolesum.evaluation.human.agreement import annotator_agreement
from rolesum.evaluation.human.store import PREFERENCE, Judgment
from rolesum.evaluation.human.study import Study
from rolesum.metrics.bootstrap import Statistic, bootstrap_intervals, ratio

ALL_ROLES = "all roles"
Key = TypeVar("Key")


def annotation_results(study: Study, judgments: Sequence[Judgment]) -> dict[str, Any]:
    """Agreement by criterion; by role, and over all roles, mean ratings or win rates. Raises DataError for none.

    Means are over all judgments. Intervals are 95 % percentile bootstrap intervals over dialogues, for judgments of
    one dialogue are not independent. A win rate counts a tie as half, in percent.
    """
    if not judgments:
        raise DataError("nothing was judged yet", fix="open the page with rolesum annotate, without --results")
    rating = study.settings.mode == "rate"
    criteria = [one.name for one in study.settings.criteria] if rating else [PREFERENCE]
    values = range(1, study.settings.scale + 1) if rating else (-1, 0, 1)
    by_criterion = _grouped(judgments, lambda one: one.criterion)
    counts = {name: len(theirs) for name, theirs in _grouped(judgments, lambda one: one.annotator).items()}
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
        ratings = {role: _ratings(theirs, study.systems, criteria) for role, theirs in by_role.items() if theirs}
        return found | {"scale": study.settings.scale, "ratings": ratings}
    wins = {role: _preferences(theirs, study.systems) for role, theirs in by_role.items() if theirs}
    return found | {"identical_pairs": study.identical_pairs(), "preferences": wins}


def _ratings(
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
            cell = _figure((one.dialogue, one.value) for one in rows) | {"judgments": len(rows)}
            keys = [(one, first.get((one.annotator, one.dialogue, one.role, criterion))) for one in rows]
            pairs = [(one.dialogue, one.value - other.value) for one, other in keys if other is not None]
            if system != systems[0] and pairs:
                cell["from_first"] = _figure(pairs)
            table.setdefault(system, {})[criterion] = cell
    return table


def _preferences(judgments: Sequence[Judgment], systems: Sequence[str]) -> list[dict[str, Any]]:
    """For each pair of systems: wins of `a`, ties, losses, and the win rate of `a` in percent with its interval."""
    by_pair = _grouped(judgments, lambda one: (one.system, one.other))
    found = []
    for a, b in combinations(systems, 2):
        if rows := by_pair.get((a, b)):
            figure = _figure((one.dialogue, 50.0 * (1 + one.value)) for one in rows)
            won, tied, lost = (sum(one.value == value for one in rows) for value in (1, 0, -1))
            told = {"win_rate": figure["mean"], "interval": figure["interval"]}
            found.append({"a": a, "b": b, "wins": won, "ties": tied, "losses": lost, **told})
    return found


def _figure(rows: Iterable[tuple[str, float]]) -> dict[str, Any]:
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
