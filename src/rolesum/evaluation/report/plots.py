"""The report's plots: histograms of scores, scores by kind of dialogue, check rates, and the loss curve."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from rolesum.dialogue import Dialogue
from rolesum.evaluation.breakdown import SMALL_GROUP, breakdown_by_dialogue, main_measure
from rolesum.evaluation.check_rates import CheckRate
from rolesum.evaluation.report.svg import (
    COLORS,
    WIDTH,
    Scale,
    figure,
    line,
    marker,
    number,
    padded,
    polygon,
    shortened,
    spread,
    text,
    text_width,
    ticks,
)
from rolesum.evaluation.report.tables import ReportSystem, all_roles
from rolesum.metrics.scorers import HEADINGS

FEWEST = 5  # summaries: fewer make no distribution
BIN = 5  # points of a score
RATE_ROW = 19  # pixels
LEFT, RIGHT = 34, 10
GROUPED_BY = {"length": "length in {unit}", "turns": "number of turns", "speakers": "number of speakers"}
LENGTH_UNIT = {"zh": "characters", "en": "words"}


def plots_by_role(systems: Sequence[ReportSystem], dialogues: Sequence[Dialogue]) -> list[dict[str, Any]]:
    """For each role its figures: the spread of the main measure, and that measure by kind of dialogue."""
    grouped = [system.evaluation.breakdown or breakdown_by_dialogue(system.evaluation, dialogues) for system in systems]
    names = [system.name for system in systems]
    unit = LENGTH_UNIT.get(dialogues[0].language, "words") if dialogues else "words"
    sections = []
    for role in all_roles(systems):
        scores = {
            place: one.evaluation.scores[role] for place, one in enumerate(systems) if role in one.evaluation.scores
        }
        values = {place: score.per_pair[main_measure(score)] for place, score in scores.items()}
        if min(map(len, values.values())) < FEWEST:
            continue
        name = main_measure(next(iter(scores.values())))
        measure = HEADINGS.get(name, name)
        figures = [{"title": f"{measure} of each summary", "svg": score_histograms(names, values), "note": ""}]
        for grouping, words in GROUPED_BY.items():
            series = {place: of[role][grouping] for place, of in enumerate(grouped) if of.get(role, {}).get(grouping)}
            if series:
                title = f"{measure} by {words.format(unit=unit)}"
                small = any(group["small"] for groups in series.values() for group in groups)
                note = f"hollow: fewer than {SMALL_GROUP} summaries" if small else ""
                figures.append({"title": title, "svg": breakdown_plot(names, series, title), "note": note})
        sections.append({"role": role, "figures": figures})
    return sections


def score_histograms(names: Sequence[str], values: Mapping[int, Sequence[float]]) -> Markup:
    """One histogram below the other, on one axis; a line at each mean."""
    across, tall, parts = Scale(0, 100, 6, WIDTH - RIGHT), 40, []
    most = max(max(_bins(one)) / len(one) for one in values.values())
    for row, (place, scores) in enumerate(values.items()):
        floor = 24 + tall + row * (tall + 26)
        up = Scale(0, most, floor, floor - tall)
        points: list[tuple[float, float]] = [(across(0), floor)]
        for bin_, count in enumerate(_bins(scores)):
            height = up(count / len(scores))
            points += [(across(bin_ * BIN), height), (across((bin_ + 1) * BIN), height)]
        mean = statistics.fmean(scores)
        caption = f"mean {mean:.1f}, median {statistics.median(scores):.1f}"
        parts += [
            polygon([*points, (across(100), floor)], f"area c{place % COLORS}"),
            line(across(0), floor, across(100), floor, "axis"),
            line(across(mean), floor, across(mean), floor - tall - 3, "mean"),
            text(across(0), floor - tall - 8, shortened(names[place], 165), kind="name"),
            text(WIDTH - RIGHT, floor - tall - 8, caption, "end"),
        ]
    bottom = 24 + tall + (len(values) - 1) * (tall + 26)
    for tick in ticks(0, 100, 5):
        parts += [line(across(tick), bottom, across(tick), bottom + 4, "axis")]
        parts += [text(across(tick), bottom + 16, number(tick), "middle")]
    description = "; ".join(f"{names[place]}: mean {statistics.fmean(scores):.1f}" for place, scores in values.items())
    return figure(bottom + 22, f"Histograms of scores. {description}", parts)


def _bins(scores: Sequence[float]) -> list[int]:
    counts = [0] * (100 // BIN)
    for score in scores:
        counts[min(len(counts) - 1, int(score // BIN))] += 1
    return counts


def breakdown_plot(names: Sequence[str], series: Mapping[int, Sequence[Mapping[str, Any]]], title: str) -> Markup:
    """A mean with its interval for each group and system; systems are named at the right end."""
    first = next(iter(series.values()))
    edges = [group["label"] for group in first]
    series = {place: groups for place, groups in series.items() if [group["label"] for group in groups] == edges}
    labels = {place: shortened(names[place], 92) for place in series} if len(series) > 1 else {}
    room = max((12 + text_width(label) for label in labels.values()), default=RIGHT)
    ends = [end for groups in series.values() for group in groups for end in (group["interval"] or [group["mean"]])]
    low, high = padded(ends)
    up, count = Scale(low, high, 178, 10), len(edges)
    slot = (WIDTH - LEFT - room) / count
    parts = []
    for tick in ticks(low, high):
        parts += [
            line(LEFT, up(tick), WIDTH - room, up(tick), "grid"),
            text(LEFT - 6, up(tick) + 4, number(tick), "end"),
        ]
    crowded = max(map(text_width, edges)) > slot
    for column, group in enumerate(first):
        middle = LEFT + slot * (column + 0.5)
        parts += [
            text(middle, 196, f"≤{group['high']}" if crowded else group["label"], "middle"),
            text(middle, 210, f"n={group['pairs']}", "middle", "small"),
        ]
    last = {}
    step = min(11.0, slot * 0.7 / len(series))
    for order, (place, groups) in enumerate(series.items()):
        shift = (order - (len(series) - 1) / 2) * step
        spots = [(LEFT + slot * (column + 0.5) + shift, up(group["mean"])) for column, group in enumerate(groups)]
        parts.append(polygon(spots, f"trend c{place % COLORS}", closed=False))
        for (x, y), group in zip(spots, groups, strict=True):
            if group["interval"]:
                parts.append(line(x, up(group["interval"][0]), x, up(group["interval"][1]), f"range c{place % COLORS}"))
            parts.append(marker(place, x, y, group["small"]))
        last[place] = spots[-1][1]
    for place, y in zip(last, spread(list(last.values()), 14, 14, 176), strict=True) if labels else ():
        parts.append(text(WIDTH - room + 8, y + 4, labels[place], kind=f"name c{place % COLORS}"))
    description = "; ".join(
        f"{names[place]}: " + ", ".join(f"{group['label']} {group['mean']:.1f}" for group in groups)
        for place, groups in series.items()
    )
    return figure(214, f"{title}. {description}", parts)


def check_rate_plot(systems: Sequence[ReportSystem], check: str) -> Markup | None:
    """One check's rate by role: a marker and interval per system, a band for the references; None if unknown."""
    by_role = {
        role: {
            place: checks[role].rates[check]
            for place, checks in enumerate(system.evaluation.checks for system in systems)
            if role in checks and check in checks[role].rates and checks[role].rates[check].value is not None
        }
        for role in all_roles(systems)
    }
    every = [rate for found in by_role.values() for rate in found.values()]
    if not every:
        return None
    most = max(
        end for rate in every for end in (rate.value, rate.high, rate.reference, rate.reference_high) if end is not None
    )
    across, names = Scale(0, most * 1.05 or 1.0, 116, WIDTH - 42), [system.name for system in systems]
    y, parts = 4.0, []
    for role, found in by_role.items():
        if found:
            parts += _rates_of_role(role, found, names, across, y)
            y += 26 + RATE_ROW * len(found)
    for tick in ticks(across.low, across.high, 4):
        parts.append(line(across(tick), y - 4, across(tick), y, "axis"))
        parts.append(text(across(tick), y + 13, number(tick), "middle"))
    return figure(y + 18, f"Rate of {check} by role and system, beside the references", parts)


def _rates_of_role(
    role: str, found: Mapping[int, CheckRate], names: Sequence[str], across: Scale, top: float
) -> list[Markup]:
    references = next(iter(found.values()))
    begin, end = top + 18, top + 18 + RATE_ROW * len(found)
    parts = [text(0, top + 12, shortened(role, 320), kind="name"), line(across(0), begin, across(0), end, "axis")]
    if references.reference_low is not None and references.reference_high is not None:
        left, right = across(references.reference_low), across(references.reference_high)
        parts.append(polygon([(left, begin), (right, begin), (right, end), (left, end)], "reference"))
    if references.reference is not None:
        parts.append(line(across(references.reference), begin, across(references.reference), end, "referenceline"))
        parts.append(
            text(across(references.reference), begin - 4, f"references {references.reference:.1f}", "middle", "small")
        )
    for row, (place, rate) in enumerate(found.items()):
        middle = begin + RATE_ROW * (row + 0.5)
        parts.append(text(0, middle + 4, shortened(names[place], 108)))
        if rate.low is not None and rate.high is not None:
            parts.append(line(across(rate.low), middle, across(rate.high), middle, f"range c{place % COLORS}"))
        if rate.value is not None:
            parts.append(marker(place, across(rate.value), middle))
            parts.append(text(WIDTH, middle + 4, f"{rate.value:.1f}", "end"))
    return parts


def loss_curve(metrics: Path) -> Markup | None:
    """Training and validation loss by optimizer step; None with fewer than two training losses."""
    from rolesum.training.metrics_file import read_metrics  # here, because training imports torch

    rows = read_metrics(metrics)
    train = [(row["step"], row["loss"]) for row in rows if row.get("loss") is not None]
    valid = [(row["step"], row["eval_loss"]) for row in rows if row.get("eval_loss") is not None]
    if len(train) < 2:
        return None
    steps = [step for step, _ in train + valid]
    low, high = padded([loss for _, loss in train + valid], 0.05)
    across, up = Scale(min(steps), max(max(steps), min(steps) + 1), 40, WIDTH - 66), Scale(low, high, 168, 10)
    parts = []
    for tick in ticks(low, high):
        parts += [line(40, up(tick), WIDTH - 66, up(tick), "grid"), text(34, up(tick) + 4, number(tick), "end")]
    parts.append(_path([(across(step), up(loss)) for step, loss in train], "loss c0"))
    spots = [(across(step), up(loss)) for step, loss in valid]
    if len(spots) > 1:
        parts.append(polygon(spots, "trend c1", closed=False))
    parts += [marker(1, x, y) for x, y in spots]
    ends = [up(train[-1][1])] + [y for _, y in spots[-1:]]
    for label, place, y in zip(("training", "validation"), (0, 1), spread(ends, 14, 14, 166), strict=False):
        parts.append(text(WIDTH - 60, y + 4, label, kind=f"name c{place}"))
    parts += [text(40, 186, f"step {min(steps)}"), text(WIDTH - 66, 186, f"step {max(steps)}", "end")]
    curves = [Markup('<g class="curves">'), *parts, Markup("</g>")]  # whose colors are no system's
    return figure(192, f"Loss from {train[0][1]:.2f} to {train[-1][1]:.2f}", curves)


def _path(spots: Sequence[tuple[float, float]], kind: str) -> Markup:
    return Markup('<path d="{}" class="{}"/>').format("M" + " L".join(f"{x} {y}" for x, y in spots), kind)
