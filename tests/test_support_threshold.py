"""benchmarks/support_threshold.py: its figures are those of plain counting, and page.py shows them."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.verify_runs import many_statements, verify_adapter
from rolesum.formats import read_dialogues
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.verification import Verifier
from rolesum.models.loading import load_model

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

from page import drawn, filled
from support_threshold import THRESHOLDS, Verified, costs, row_of, verify


@pytest.fixture(scope="module")
def verifier():
    return Verifier(TransformersEngine(load_model(adapter=verify_adapter(), dtype="float32", device="cpu")))


@pytest.fixture(scope="module")
def row(verifier):
    found = verify(verifier, read_dialogues(many_statements()))
    return {"language": "en", "model": "tiny", **row_of(found, verifier)}


def test_a_threshold_marks_what_has_less_support():
    support = np.array([0.1, 0.6, 0.9, 0.2, 0.7, 0.3])
    verified = Verified(support, np.array([True, True, True, False, False, False]), np.array([0, 0, 1, 1, 2, 2]))
    found = costs(verified, 0.5)
    assert (found["true_lost"], found["false_caught"], found["marked_false"]) == pytest.approx((1 / 3, 2 / 3, 2 / 3))
    low, high = found["false_caught_95%"]
    assert 0 <= low < 2 / 3 < high <= 1
    nothing = costs(verified, 0.05)
    assert (nothing["true_lost"], nothing["false_caught"], nothing["marked_false"]) == (0, 0, None)


def test_a_row_has_the_figures_of_every_threshold_and_of_none(verifier, row):
    dialogues = read_dialogues(many_statements())
    pairs = [
        (support, said.supported)
        for dialogue in dialogues
        for support, said in zip(
            verifier.verify(dialogue, [one.text for one in dialogue.statements]), dialogue.statements, strict=True
        )
    ]
    true, false = ([support for support, label in pairs if label is wanted] for wanted in (True, False))
    assert (row["dialogues"], row["statements"], row["false"]) == (4, 64, 32)
    assert [one["threshold"] for one in row["thresholds"]] == list(THRESHOLDS)
    for one in (*row["thresholds"], row["own_threshold"]):
        assert one["true_lost"] == pytest.approx(sum(support < one["threshold"] for support in true) / 32)
        assert one["false_caught"] == pytest.approx(sum(support < one["threshold"] for support in false) / 32)
    order = [(one > other) + 0.5 * (one == other) for one in true for other in false]
    assert row["auroc"] == pytest.approx(sum(order) / len(order)) and len(row["auroc_95%"]) == 2
    assert sum(one["count"] for one in row["reliability"]) == 64 and row["own_threshold"]["threshold"] == 0.5
    json.dumps(row, allow_nan=False)


def test_tables_and_plot_are_made_of_the_record(row, tmp_path):
    other = {**row, "language": "zh"}
    (tmp_path / "support_threshold.json").write_text(json.dumps({"rows": [row, other]}), encoding="utf-8")
    marks = [
        f"<!-- from support_threshold.json: {name}-en -->\n<!-- end -->\n" for name in ("thresholds", "calibration")
    ]
    page = filled("\n".join(marks), tmp_path)
    lines = [line for line in page.splitlines() if line.startswith("| tiny |")]
    assert len(lines) == len(THRESHOLDS) + len(row["reliability"]) + 1  # its own threshold is one of those
    third = row["thresholds"][2]
    assert lines[2].startswith(f"| tiny | 0.3 | {100 * third['true_lost']:.0f} %")
    assert "| 0.50 (its own) |" in lines[4] and f"AUROC {row['auroc']:.2f}" in lines[-1]
    (plot,) = drawn(tmp_path).items()
    assert plot[0] == "docs/img/support-threshold.svg"
    lines = [re.findall(r"[\d.]+,[\d.]+", one) for one in re.findall(r'<polyline points="([^"]*)"', plot[1])]
    assert [len(one) for one in lines] == [len(THRESHOLDS)] * 2
    assert "en, tiny" in plot[1] and "zh, tiny" in plot[1]
