"""A run on summaries from an adapter that verifies: the ability is measured, and kept where it holds."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from helpers.small_runs import raw_recipe, trained
from helpers.verify_runs import STATEMENTS, verify_recipe
from rolesum.formats import read_dialogues
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.turn_probe import NUM_FEATURES, load_turn_probe
from rolesum.generation.verification import Verifier
from rolesum.models.adapter_metadata import PROBE_FILE, read_adapter_metadata
from rolesum.models.loading import load_model
from rolesum.recipe_loading import parse_recipe
from rolesum.training import inherited_verification as inherited
from rolesum.training.plan import plan

OWN_TEXT = {"constant": 0.5, "answer": 0.4, "mean_logprob": 0.7, "unlikely_tokens": -0.2, "threshold": 0.75}
FITTED = {"temperature": 1.25, "threshold": 0.6, "own_text": OWN_TEXT, "fitted_on": {"statements": 258}}


@pytest.fixture(scope="module")
def verifying(tmp_path_factory):
    """An adapter that verifies, with weights for its own texts and a probe of turns; a test must not change it."""
    run = trained(tmp_path_factory.mktemp("verifying") / "run", verify_recipe())
    note = json.loads((run.adapter / "rolesum.json").read_text())
    (run.adapter / "rolesum.json").write_text(json.dumps({**note, "verify": {**note["verify"], **FITTED}}))
    hidden = load_model(adapter=run.adapter).config.hidden_size
    tensors = {"weights": torch.zeros(3, NUM_FEATURES + hidden), "bias": torch.zeros(3)}
    headings = json.dumps({"en": "Which turns?\n", "zh": "哪几句？\n"})
    save_file(tensors, run.adapter / PROBE_FILE, metadata={"layer": "1", "headings": headings})
    return run.adapter


@pytest.fixture
def own_statements(monkeypatch):
    """Measure on dialogues as short as the tiny model is small."""
    monkeypatch.setattr(inherited, "_labeled", lambda language: read_dialogues(STATEMENTS))


def going_on(adapter, **changes):
    raw = raw_recipe()
    del raw["base"], raw["lora"]
    return parse_recipe({**raw, "base_adapter": str(adapter), **changes}, "mine.yaml")


def test_what_still_verifies_keeps_all_that_was_fitted_for_it(verifying, own_statements, tmp_path, monkeypatch):
    monkeypatch.setattr(inherited, "_auroc", lambda verifier, dialogues: 0.93 * (verifier.temperature == 1.25))
    run = trained(tmp_path / "run", going_on(verifying))
    note = read_adapter_metadata(run.adapter)
    labeled = [one for one in read_dialogues(STATEMENTS) if one.statements]
    count = sum(len(one.statements) for one in labeled)
    measured = {"dialogues": len(labeled), "statements": count, "auroc": 0.93}
    kept = {name: FITTED[name] for name in ("temperature", "threshold", "own_text")}
    assert note["verify"] == {**kept, "inherited_from": str(verifying), "measured_on": measured}
    loaded = load_model(adapter=run.adapter)
    assert load_turn_probe(run.adapter, loaded.config.hidden_size, 2).layer == 1
    assert f"statements, as {verifying}: AUROC 0.930" in (run.adapter / "README.md").read_text()
    assert json.loads((run.path / "environment.json").read_text())["verify"] == note["verify"]


def test_what_no_longer_verifies_says_so_and_keeps_nothing(verifying, own_statements, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(inherited, "_auroc", lambda verifier, dialogues: 0.79)
    run = trained(tmp_path / "run", going_on(verifying))
    assert read_adapter_metadata(run.adapter)["verify"] is None and not (run.adapter / PROBE_FILE).exists()
    assert "under 0.8, so it verifies nothing" in capsys.readouterr().err
    assert "| Verifies |" not in (run.adapter / "README.md").read_text()


def test_it_is_measured_by_the_weights_that_are_written(verifying, own_statements, tmp_path, monkeypatch):
    measure, found = inherited._auroc, []

    def measured(verifier, dialogues):
        found.append(measure(verifier, dialogues))
        return found[-1]

    monkeypatch.setattr(inherited, "_auroc", measured)
    monkeypatch.setattr(inherited, "LEAST_AUROC", 0.0)
    run = trained(tmp_path / "run", going_on(verifying))
    note = read_adapter_metadata(run.adapter)
    assert note["verify"]["measured_on"]["auroc"] == round(found[-1], 4)
    again = measure(Verifier(TransformersEngine(load_model(adapter=run.adapter))), read_dialogues(STATEMENTS))
    assert again == pytest.approx(found[-1], abs=1e-6)


def test_dialogues_that_do_not_fit_are_no_reason_to_lose_the_weights(verifying, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(inherited, "_labeled", lambda language: [])
    run = trained(tmp_path / "run", going_on(verifying))
    assert read_adapter_metadata(run.adapter)["verify"] is None
    assert "was not measured: no dialogue with statements fits the model" in capsys.readouterr().err


def test_a_run_that_trains_on_statements_fits_its_own(verifying, tmp_path):
    raw = {**raw_recipe(), "base_adapter": str(verifying), "verify": {"weight": 2}}
    del raw["base"], raw["lora"]
    chosen = parse_recipe({**raw, "data": verify_recipe().model_dump()["data"]}, "mine.yaml")
    run = trained(tmp_path / "run", chosen)
    assert "inherited_from" not in read_adapter_metadata(run.adapter)["verify"]
    assert not (run.adapter / PROBE_FILE).exists()


def test_a_tuned_base_hands_it_on_too(verifying, own_statements, tmp_path, monkeypatch):
    monkeypatch.setattr(inherited, "_auroc", lambda verifier, dialogues: 0.9)
    loaded = load_model(adapter=verifying)
    known = inherited.verifying_weights(going_on(verifying), loaded, None, read_dialogues(STATEMENTS))
    assert known.verify["own_text"] == OWN_TEXT and known.languages == ("en",)


def test_the_plan_says_that_it_will_be_measured(verifying, tmp_path):
    copy = shutil.copytree(verifying, tmp_path / "adapter")
    assert any("whether it still can is measured" in note for note in plan(going_on(copy)).notes)
