"""benchmarks/false_statements.py: its detectors, and the rows of the table."""

import sys
from argparse import Namespace
from pathlib import Path

import pytest

from helpers.small_runs import trained
from helpers.verify_runs import STATEMENTS, verify_recipe
from rolesum.evaluation.detection.labels import read_labels
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.verification import Verifier
from rolesum.metrics.detection import auroc, best_threshold
from rolesum.models.loading import load_model

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

from false_statements import detectors, measure, wording_scores


def test_a_statement_scores_the_higher_the_less_the_adapter_thinks_that_it_is_said(tmp_path):
    adapter = trained(tmp_path / "run", verify_recipe(roles=[])).adapter
    options = Namespace(verify=[str(adapter)], models=[], device="cpu", dtype="float32")
    (chosen,) = [one for one in detectors("en", options) if one[0][0].startswith("verify")]
    (name,), score = chosen
    assert name == "verify, tiny"
    verifier = Verifier(TransformersEngine(load_model(adapter=adapter, dtype="float32", device="cpu")))
    odds = [
        one
        for dialogue in read_dialogues(STATEMENTS)
        for one in verifier.log_odds([dialogue], [[said.text for said in dialogue.statements]])[0]
    ]
    (found,) = score(read_labels(STATEMENTS))
    assert found.name == name
    assert found.scores.tolist() == pytest.approx([-one for one in odds], abs=1e-4) and len(odds) == 12


def test_a_row_has_the_figures_of_the_test_split_at_the_threshold_of_validation():
    options = Namespace(verify=[], models=[], limit=20)
    rows = {row["detector"]: row for _, score in detectors("en", options) for row in measure("en", score, options)}
    splits = {
        split: [
            said
            for dialogue in read_dialogues(f"sample:dialogues-en-{split}", ReadOptions(limit=20))
            for said in dialogue.statements
        ]
        for split in ("validation", "test")
    }
    assert list(rows) == ["checks", "no evidence", "checks or no evidence", "wording alone (naive Bayes)"]
    assert [row["threshold"] for row in rows.values()][:3] == [1.0, 1.0, 1.0]
    wording = rows["wording alone (naive Bayes)"]
    train = read_dialogues("sample:dialogues-en-train")
    scores = {
        split: wording_scores(train, [said.text for said in of_split]).tolist() for split, of_split in splits.items()
    }
    false, true = (
        {
            split: [score for score, said in zip(scores[split], splits[split], strict=True) if said.supported is wanted]
            for split in splits
        }
        for wanted in (False, True)
    )
    threshold = best_threshold(false["validation"], true["validation"])
    assert wording["threshold"] == pytest.approx(threshold) and wording["statements"] == len(splits["test"])
    assert wording["auroc"] == pytest.approx(auroc(false["test"], true["test"]))
    assert wording["recall"] == pytest.approx(sum(one >= threshold for one in false["test"]) / len(false["test"]))
    assert wording["true_flagged"] == pytest.approx(sum(one >= threshold for one in true["test"]) / len(true["test"]))
