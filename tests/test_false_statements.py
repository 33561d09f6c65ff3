"""benchmarks/false_statements.py: an adapter that is asked about each statement is one of its detectors."""

import sys
from argparse import Namespace
from pathlib import Path

import pytest

from helpers.small_runs import trained
from helpers.verify_runs import STATEMENTS, verify_recipe
from rolesum.formats import read_dialogues
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.verification import Verifier
from rolesum.models.loading import load_model

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

from false_statements import detectors


def test_a_statement_scores_the_higher_the_less_the_adapter_thinks_that_it_is_said(tmp_path):
    adapter = trained(tmp_path / "run", verify_recipe(roles=[])).adapter
    options = Namespace(verify=[str(adapter)], models=[], device="cpu", dtype="float32")
    (chosen,) = [one for one in detectors("en", options) if one[0][0].startswith("verify")]
    (name,), score = chosen
    assert name == "verify, tiny"
    dialogues = read_dialogues(STATEMENTS)
    verifier = Verifier(TransformersEngine(load_model(adapter=adapter, dtype="float32", device="cpu")))
    odds = [
        one
        for dialogue in dialogues
        for one in verifier.log_odds([dialogue], [[said.text for said in dialogue.statements]])[0]
    ]
    assert score(dialogues)[name] == pytest.approx([-one for one in odds], abs=1e-4) and len(odds) == 12
