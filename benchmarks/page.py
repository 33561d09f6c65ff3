"""Writes the tables of the results page, README and the adapter's card, and draws the plots, from the JSON in results/.

A table stands between two comments that name it; what is around them is written by hand. `--check` changes nothing,
and fails where a page or a plot is not what this would write.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from markupsafe import Markup
from record import RESULTS, Job

from rolesum.atomic_io import atomic_write_text
from rolesum.checks.registry import CHECKS
from rolesum.evaluation.report.svg import Scale, line, marker, number, polygon, spread, text, ticks
from rolesum.metrics.published import published_by_hash
from rolesum.metrics.scorers import HEADINGS

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "docs/results.md",
    "README.md",
    "src/rolesum/adapters/en-zh/README.md",
    "src/rolesum/adapters/smollm2-135m/README.md",
)
IMAGES = "docs/img"
DATA = {"samsum": "SAMSum", "tweetsumm": "TweetSumm", "csds": "CSDS"}
ROLES = ("overall", "user", "agent")
ROUGE = ("R-1", "R-2", "R-L")
COLORS = ("#2f6db5", "#c4581f", "#3a8a4d")
STYLE = (
    "text{font:12px sans-serif;fill:#666}.name{font-weight:600;fill:#222}.axis{stroke:#888}.grid{stroke:#ddd}"
    + "".join(
        f".c{place}{{stroke:{color};fill:{color}}}.trend.c{place},.range.c{place}{{fill:none;stroke-width:1.5}}"
        for place, color in enumerate(COLORS)
    )
)
_PART = re.compile(r"(<!-- from (\w+)\.json: ([\w-]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def main() -> int:
    options = _options()
    made = {name: filled((options.root / name).read_text(encoding="utf-8"), options.results) for name in PAGES}
    made |= drawn(options.results)
    stale = [name for name, words in made.items() if _now(options.root / name) != words]
    if options.check:
        for name in stale:
            print(f"{name} is not what benchmarks/page.py makes of the results", file=sys.stderr)
        return int(bool(stale))
    (options.root / IMAGES).mkdir(exist_ok=True)
    for name in stale:
        atomic_write_text(options.root / name, made[name])
        print(f"wrote {name}")
    return 0


def drawn(results: Path = RESULTS) -> dict[str, str]:
    """The plots by their files, of the records that are there."""
    found = {
        f"{IMAGES}/{name}.svg": draw(_read(record, results)["rows"])
        for name, (record, draw) in PLOTS.items()
        if (results / f"{record}.json").is_file()
    }
    return {name: words for name, words in found.items() if words}


def filled(page: str, results: Path = RESULTS) -> str:
    """The page with every table between its comments made anew."""

    def table(found: re.Match[str]) -> str:
        rows = _read(found[2], results)["rows"]
        return f"{found[1]}\n{TABLES[found[3].split('-')[0]](rows, found[3])}\n{found[4]}"

    return _PART.sub(table, page)


def scores(rows: Sequence[Job], name: str) -> str:
    """Of one data set and role, as in scores-csds-user: every system, then the published rows of the same scorer."""
    _, data, role = name.split("-")
    chosen = [row for row in rows if (row["data"], row["role"]) == (data, role)]
    scorer = chosen[0]["scorer"].split()[0]
    measures = ["rouge1", "rouge2", "rougeLsum" if scorer == "csds" else "rougeL", "bleu"]
    lines = [_line(["system", *(HEADINGS[one] for one in measures)]), _line(["---"] * (1 + len(measures)))]
    for row in chosen:
        lines.append(_line([row["title"], *(_with_interval(row["means"], row["intervals"], one) for one in measures)]))
    for printed in published_by_hash(scorer, chosen[0]["references_sha256"]):
        figures = (f"{printed.means[one]:.1f}" if one in printed.means else "" for one in measures)
        how = "re-scored" if "re-scored" in printed.source else "as published"
        lines.append(_line([f"*{printed.system}, {how}*", *figures]))
    return "\n".join(lines)


def gains(rows: Sequence[Job], name: str) -> str:
    """Of some data sets, as in gains-samsum-tweetsumm: zero-shot and tuned, a line each data set and role."""
    lines = [_line(["test set", "R-1, zero-shot → tuned", "R-2", "R-L"]), _line(["---"] * 4)]
    by_system = {(row["data"], row["role"], row["system"]): row for row in rows}
    for (data, role, system), after in by_system.items():
        if data not in name.split("-")[1:] or system != "tuned":
            continue
        before = by_system[data, role, "zero-shot"]["means"]
        long = "rougeLsum" if after["scorer"].startswith("csds") else "rougeL"
        figures = [
            f"{before[one]:.1f} → {_with_interval(after['means'], after['intervals'], one)}"
            for one in ("rouge1", "rouge2", long)
        ]
        lines.append(_line([f"{DATA[data]}, {role} ({after['pairs']})", *figures]))
    return "\n".join(lines)


def checks(rows: Sequence[Job], name: str) -> str:
    """Of one data set, as in checks-samsum: the checks of every system beside the references' own rate."""
    _, data = name.split("-")
    chosen = [row for row in rows if row["data"] == data]
    roles = list(dict.fromkeys(row["role"] for row in chosen))
    titles = {row["system"]: row["title"] for row in chosen}
    rows_of = {(row["system"], row["role"]): row for row in chosen}
    by_system = {key: row["checks"] for key, row in rows_of.items()}
    first = next(iter(titles))
    found = {check for role in roles for check in by_system[first, role]}
    lines = [_line([f"check, {' / '.join(roles)}", "references", *titles.values()])]
    lines.append(_line(["---"] * (2 + len(titles))))
    for check in (name for name in CHECKS if name in found):
        cells = [_rates([by_system[first, role].get(check) for role in roles], "reference")]
        cells += [_rates([by_system[system, role].get(check) for role in roles], "value") for system in titles]
        lines.append(_line([CHECKS[check].heading, *cells]))
    cut = {key: f"{100 * row['truncated_by_limit'] / row['pairs']:.1f}" for key, row in rows_of.items()}
    lines.append(_line(["cut by the limit", "", *(" / ".join(cut[one, role] for role in roles) for one in titles)]))
    return "\n".join(lines)


def by_role(rows: Sequence[Job], name: str) -> str:
    """Of one data set, as in by_role-dialogues_en: R-1 and R-L of every system for each role."""
    _, data = name.split("-")
    chosen = {(row["system"], row["role"]): row for row in rows if row["data"] == data}
    titles = {row["system"]: row["title"] for row in chosen.values()}
    roles = list(dict.fromkeys(role for _, role in chosen))
    head = ["R-1 (95 % interval), R-L", *roles]
    lines = [_line(head), _line(["---"] * len(head))]
    for system, title in titles.items():
        figures = []
        for role in roles:
            row = chosen[system, role]
            long = "rougeLsum" if row["scorer"].startswith("csds") else "rougeL"
            figures.append(f"{_with_interval(row['means'], row['intervals'], 'rouge1')}, {row['means'][long]:.1f}")
        lines.append(_line([title, *figures]))
    return "\n".join(lines)


def detection(rows: Sequence[Job], name: str) -> str:
    """Of one language, as in detection-en: how well each detector finds false statements, all and by kind."""
    chosen = [row for row in rows if row["language"] == name.split("-")[1]]
    kinds = {kind: found["statements"] for kind, found in chosen[0]["kinds"].items()}
    head = ["detector", "AUROC", "precision", "recall", *(f"{kind} ({count})" for kind, count in kinds.items())]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in chosen:
        figures = [f"{row['auroc']:.2f} ({_range(row['auroc_95%'], '.2f')})"]
        figures += ["–" if row[one] is None else f"{100 * row[one]:.0f} %" for one in ("precision", "recall")]
        figures += [f"{row['kinds'][kind]['auroc']:.2f}, {100 * row['kinds'][kind]['recall']:.0f} %" for kind in kinds]
        lines.append(_line([row["detector"], *figures]))
    return "\n".join(lines)


def thresholds(rows: Sequence[Job], name: str) -> str:
    """Of one language, as in thresholds-en: what each threshold of support marks, the adapter's own one among them."""
    head = ["adapter", "threshold", "true statements lost", "false statements caught", "of the marked, false"]
    lines = [_line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    for row in (row for row in rows if row["language"] == name.split("-")[1]):
        own = row["own_threshold"]
        others = [one for one in row["thresholds"] if one["threshold"] != own["threshold"]]
        for one in sorted((*others, own), key=lambda one: float(one["threshold"])):
            title = f"{one['threshold']:.2f} (its own)" if one is own else f"{one['threshold']:.1f}"
            figures = [_percent(one, figure) for figure in ("true_lost", "false_caught", "marked_false")]
            lines.append(_line([row["model"], title, *figures]))
    return "\n".join(lines)


def calibration(rows: Sequence[Job], name: str) -> str:
    """Of one language, as in calibration-en: how many statements of each tenth of support are true, by adapter."""
    head = ["adapter", "support", "statements", "mean support", "of them true"]
    lines = [_line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    for row in (row for row in rows if row["language"] == name.split("-")[1]):
        for one in row["reliability"]:
            shares = [f"{100 * one[key]:.0f} %" for key in ("probability", "share")]
            lines.append(_line([row["model"], f"{one['low']:.1f}–{one['high']:.1f}", str(one["count"]), *shares]))
        spread_ = _range(row["auroc_95%"], ".2f")
        quality = f"AUROC {row['auroc']:.2f} ({spread_}), calibration error {row['calibration_error']:.3f}"
        lines.append(_line([row["model"], "all", str(row["statements"]), quality, ""]))
    return "\n".join(lines)


def _percent(row: Job, figure: str) -> str:
    value, interval = row[figure], row[f"{figure}_95%"]
    if value is None:
        return "–"
    return f"{100 * value:.0f} %" + (f" ({_range([100 * end for end in interval], '.0f')})" if interval else "")


def commands(rows: Sequence[Job], name: str) -> str:
    """Of some data sets, as in commands-samsum-tweetsumm: the command of each system, as a block of code."""
    chosen = dict.fromkeys(row["command"] for row in rows if row["data"] in name.split("-")[1:])
    return "\n".join(["```", *chosen, "```"])


def cells(rows: Sequence[Job], name: str) -> str:
    """Of some axes, as in cells-lora-neftune: the recipe's cell, then theirs. In brackets the interval of R-L."""
    axes = [axis.replace("_", " ") for axis in name.split("-")[1:]]
    chosen = [row for row in rows if row["axis"].lower() in ("recipe", *axes)]
    head = ["changed", "loss", *(f"{role}, R-1 / R-2 / R-L" for role in ROLES), "R-L beside the recipe's", "names"]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in chosen:
        figures = [
            " / ".join(f"{row[f'{role}_{one}']:.1f}" for one in ROUGE) + f" ({_range(row[f'{role}_R-L_95%'])})"
            for role in ROLES
        ]
        beside = f"{row['R-L_beside']:+.1f} ({_range(row['R-L_beside_95%'], '+.1f')})" if "R-L_beside" in row else ""
        what = "nothing" if row["axis"] == "recipe" else row["cell"]
        lines.append(_line([what, f"{row['loss']:.3f}", *figures, beside, f"{row['names']:.1f}"]))
    return "\n".join(lines)


def example(rows: Sequence[Job], name: str) -> str:
    """Of one language, as in example-en: a dialogue, and below it its summaries as a terminal shows them."""
    chosen = [row for row in rows if row["language"] == name.split("-")[1]]
    turns = [f"{speaker}: {words}" for speaker, words in chosen[0]["turns"]]
    return "\n".join(["```", *turns, "```", "", "```", "\n\n".join(row["shown"] for row in chosen), "```"])


TABLES: dict[str, Callable[[Sequence[Job], str], str]] = {
    "scores": scores,
    "gains": gains,
    "checks": checks,
    "by_role": by_role,
    "detection": detection,
    "thresholds": thresholds,
    "calibration": calibration,
    "commands": commands,
    "cells": cells,
    "example": example,
}


def learning_curve(rows: Sequence[Job]) -> str:
    """R-1 of each role over the number of examples, with intervals; nothing where there is one number only.

    The axis of examples is logarithmic.
    """
    curve = sorted((row for row in rows if row["axis"] in ("curve", "recipe")), key=lambda row: row["examples"])
    if len(curve) < 2:
        return ""
    ends = [end for row in curve for role in ROLES for end in row[f"{role}_R-1_95%"]]
    low, high = 5 * math.floor(min(ends) / 5), 5 * math.ceil(max(ends) / 5)
    up = Scale(low, high, 210, 20)
    across = Scale(math.log(curve[0]["examples"]), math.log(curve[-1]["examples"]), 50, 380)
    parts = [text(8, 12, "ROUGE-1", kind="name")]
    for tick in ticks(low, high, 5):
        parts += [line(40, up(tick), 390, up(tick), "grid"), text(34, up(tick) + 4, number(tick), "end")]
    for row in curve:
        parts.append(text(across(math.log(row["examples"])), 228, f"{row['examples']:,}", "middle"))
    parts.append(text(215, 246, "examples", "middle"))
    last = []
    for place, role in enumerate(ROLES):
        spots = [(across(math.log(row["examples"])) + 3 * (place - 1), up(row[f"{role}_R-1"])) for row in curve]
        parts.append(polygon(spots, f"trend c{place}", closed=False))
        for (x, y), row in zip(spots, curve, strict=True):
            parts.append(line(x, up(row[f"{role}_R-1_95%"][0]), x, up(row[f"{role}_R-1_95%"][1]), f"range c{place}"))
            parts.append(marker(place, x, y))
        last.append(spots[-1][1])
    for place, y in enumerate(spread(last, 14, 20, 210)):
        parts.append(text(396, y + 4, ROLES[place], kind="name"))
    return _svg(450, 254, "ROUGE-1 of validation summaries over the number of training examples", parts)


def beside_the_recipe(rows: Sequence[Job]) -> str:
    """What each changed setting does to R-L, with the paired interval; zero is the recipe's."""
    chosen = [row for row in rows if "R-L_beside" in row and row["axis"] != "curve"]
    ends = [0.0, *(end for row in chosen for end in row["R-L_beside_95%"])]
    across = Scale(min(ends) - 0.5, max(ends) + 0.5, 150, 440)
    bottom = 20 + 20 * len(chosen)
    parts = [line(across(0), 8, across(0), bottom, "axis")]
    for tick in ticks(min(ends), max(ends), 6):
        parts += [line(across(tick), bottom, across(tick), bottom + 4, "axis")]
        parts.append(text(across(tick), bottom + 17, number(tick), "middle"))
    for place, row in enumerate(chosen):
        y, (low, high) = 20 + 20 * place, row["R-L_beside_95%"]
        parts += [text(142, y + 4, row["cell"], "end"), line(across(low), y, across(high), y, "range c0")]
        parts.append(marker(0, across(row["R-L_beside"]), y))
    parts.append(text(295, bottom + 34, "ROUGE-L beside the recipe's", "middle"))
    return _svg(450, bottom + 42, "ROUGE-L of each changed setting beside the recipe's", parts)


def threshold_costs(rows: Sequence[Job]) -> str:
    """False statements caught over true ones lost: a line for each language and adapter, a mark for each threshold."""
    most = max((one["true_lost"] for row in rows for one in row["thresholds"]), default=0.0)
    across, up = Scale(0, max(10.0, 100 * most), 50, 310), Scale(0, 100, 210, 20)
    parts = [text(8, 12, "false statements caught, %", kind="name")]
    for tick in ticks(0, 100, 5):
        parts += [line(50, up(tick), 310, up(tick), "grid"), text(44, up(tick) + 4, number(tick), "end")]
    for tick in ticks(0, across.high, 5):
        parts += [line(across(tick), 210, across(tick), 214, "axis"), text(across(tick), 227, number(tick), "middle")]
    parts.append(text(180, 246, "true statements lost, %", "middle"))
    ends = []
    for place, row in enumerate(rows):
        spots = [(across(100 * one["true_lost"]), up(100 * one["false_caught"])) for one in row["thresholds"]]
        parts.append(polygon(spots, f"trend c{place % len(COLORS)}", closed=False))
        for (x, y), one in zip(spots, row["thresholds"], strict=True):
            parts.append(marker(place, x, y))
            if one["threshold"] in (0.1, 0.5, 0.9):
                parts.append(text(x + 6, y + 14, f"{one['threshold']:.1f}"))
        ends.append(spots[-1][1])
    for (place, row), y in zip(enumerate(rows), spread(ends, 16, 20, 210), strict=True):
        name = f"{row['language']}, {row['model']}"
        parts += [marker(place, 350, y), text(360, y + 4, name, kind="name")]
    return _svg(580, 254, "False statements caught over true statements lost, by threshold of support", parts)


# Name of the plot -> the record that it is drawn from, and how.
PLOTS: dict[str, tuple[str, Callable[[Sequence[Job]], str]]] = {
    "learning-curve": ("ablations", learning_curve),
    "ablations": ("ablations", beside_the_recipe),
    "support-threshold": ("support_threshold", threshold_costs),
}


def _svg(width: int, height: int, label: str, parts: Sequence[Markup]) -> str:
    size = f'viewBox="0 0 {width} {height}" width="{width * 3 // 2}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">'
    white = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    return f"{head}<style>{STYLE}</style>{white}{Markup().join(parts)}</svg>\n"


def _line(cells_: Sequence[str]) -> str:
    return "| " + " | ".join(cells_) + " |"


def _with_interval(means: Job, intervals: Job, measure: str) -> str:
    bounds = intervals.get(measure)
    return f"{means[measure]:.1f}" + (f" ({_range(bounds)})" if bounds else "")


def _range(bounds: Sequence[float], form: str = ".1f") -> str:
    low, high = bounds
    return f"{low:{form}} to {high:{form}}" if "+" in form else f"{low:{form}}–{high:{form}}"


def _rates(rates: Sequence[Job | None], key: str) -> str:
    known = [None if rate is None else rate[key] for rate in rates]
    return " / ".join("–" if one is None else f"{one:.1f}" for one in known)


def _read(name: str, results: Path) -> Job:
    return dict(json.loads((results / f"{name}.json").read_text(encoding="utf-8")))


def _now(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail where something would change")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the JSON")
    parser.add_argument("--root", type=Path, default=ROOT, help="directory of the project, whose pages are written")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
