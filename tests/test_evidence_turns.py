"""benchmarks/evidence_turns.py: the figures, the choice on validation, and going on with what is there."""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from helpers.small_runs import trained
from helpers.verify_runs import STATEMENTS, verify_recipe
from rolesum.dialogue import Dialogue, Turn
from rolesum.formats import read_dialogues
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.evidence import EvidenceFinder, EvidenceOptions
from rolesum.models.loading import load_model

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

from evidence_turns import FIGURES, METHODS, Case, Setting, best_setting, cases_of, rankings, rows_of_model

DIALOGUE = Dialogue("1", tuple(Turn("A", "Hello") for _ in range(4)))
ROWS = [
    "left-out",
    "masked",
    "attention, all heads",
    "attention, one layer",
    "attention, best heads",
    "n-grams, attention and neighbors",
    "gradient",
]


def test_the_figures_count_the_named_turns_among_the_best():
    case = Case(DIALOGUE, ("a", "b", "c"), (frozenset({1, 3}), frozenset({0}), frozenset({2})))
    ranked = rankings([[0.1, 0.9, 0.5, 0.7], [0.5, 0.5, 0.5, 0.6], [0.3, 0.2, 0.1, 0.2]])
    assert ranked == [[1, 3, 2, 0], [3, 0, 1, 2], [0, 1, 3, 2]]
    assert case.figures(ranked).tolist() == [[1, 1, 1], [0, 0.5, 1], [0, 0, 0]]
    assert case.figures([[1], [], [2, 0]]).tolist() == [[1, 0.5, 0.5], [0, 0, 0], [1, 0.5, 1]]


def test_the_setting_with_the_highest_mean_on_validation_is_chosen():
    case = Case(DIALOGUE, ("a",), (frozenset({1}),))
    wrong, right, late = (Setting({"best": at}, lambda *_, at=at: [[float(at == turn) for turn in range(4)]])
                          for at in (3, 1, 1))  # fmt: skip
    chosen, figures = best_setting([wrong, right, late], [(case, {})])
    assert chosen is right and figures == (1, 0.5, 1)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    adapter = trained(tmp_path_factory.mktemp("verify") / "run", verify_recipe(roles=[])).adapter
    return load_model(adapter=adapter, dtype="float32", device="cpu")


def test_a_model_has_a_row_for_each_method_and_its_scores_are_computed_once(loaded, tmp_path):
    cases = cases_of(read_dialogues(STATEMENTS))
    assert [case.turns for case in cases] == [(frozenset({0}),)] * 4
    of_split = {("en", "validation"): cases[:2], ("en", "test"): cases[2:]}
    options = Namespace(work=tmp_path, methods=METHODS, languages=["en"])
    rows = list(rows_of_model("tiny", loaded, of_split, options))
    assert [row["method"] for row in rows] == ROWS
    finder = EvidenceFinder(TransformersEngine(loaded))
    for row, method in zip(rows, ("left-out", "masked", *["attention"] * 3, "combined"), strict=False):
        assert row["statements"] == 2 and row["seconds_per_statement"] > 0
        chosen = EvidenceOptions(**row["choice"])
        found = [case.figures(rankings(finder.scores(case.dialogue, case.texts, method, chosen))) for case in cases[2:]]
        assert [row[name] for name in FIGURES] == np.concatenate(found).mean(0).tolist()
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    assert len(files) == len(METHODS) * len(cases)
    assert list(rows_of_model("tiny", loaded, of_split, options)) == rows
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")} == files
