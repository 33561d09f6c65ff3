"""A run from an adapter begins with the adapter itself: its loss, and its weights bit for bit."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.small_runs import TRAIN, loss_of, raw_recipe, trained
from helpers.tiny import model_dir
from rolesum.models.adapters import save_adapter
from rolesum.models.base_adapter import with_base_adapter
from rolesum.models.loading import load_model
from rolesum.recipe_loading import parse_recipe
from rolesum.training.metrics_file import read_metrics
from rolesum.training.prepare_model import prepare_model

WHOLE = {"tokens_per_batch": 100_000, "epochs": 1, "warmup": 0.0}  # one step, with all examples


@pytest.fixture(scope="module", params=[{}, {"dora": True, "rslora": True}], ids=["lora", "dora, rslora"])
def adapter(request, tmp_path_factory):
    chosen = parse_recipe(raw_recipe(training={"epochs": 4}, lora=request.param), "first")
    return trained(tmp_path_factory.mktemp("first") / "run", chosen).adapter


def going_on(adapter, **others):
    raw = raw_recipe(training=WHOLE)
    del raw["base"], raw["lora"]
    return parse_recipe({**raw, "base_adapter": str(adapter), "neftune": {"alpha": 0}, **others}, "test")


def loaded_with(adapter=None):
    return load_model(None if adapter else model_dir("llama"), adapter=adapter, dtype="float32", device="cpu")


def test_no_step_leaves_the_adapter_as_it_is_bit_for_bit(adapter, tmp_path):
    base = loaded_with()
    model = prepare_model(base.language_model, base.family, with_base_adapter(going_on(adapter)))
    save_adapter(model, tmp_path / "same", {"base": "tiny"}, "")
    before, after = (load_file(one / "adapter_model.safetensors") for one in (adapter, tmp_path / "same"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    configs = [json.loads((one / "adapter_config.json").read_text()) for one in (adapter, tmp_path / "same")]
    for config in configs:
        config.pop("base_model_name_or_path")
        config["target_modules"] = sorted(config["target_modules"])
    assert configs[0] == configs[1]


def test_the_model_before_the_first_step_has_exactly_the_adapters_loss(adapter):
    base, tuned = loaded_with(), loaded_with(adapter)
    assert loss_of(base) != loss_of(tuned)
    base.metadata = tuned.metadata
    base.model = prepare_model(base.language_model, base.family, with_base_adapter(going_on(adapter))).eval()
    assert loss_of(base) == loss_of(tuned)


def test_the_first_logged_loss_of_the_run_is_the_adapters(adapter, tmp_path):
    run = trained(tmp_path / "run", going_on(adapter))
    assert read_metrics(run.metrics)[0]["loss"] == pytest.approx(loss_of(loaded_with(adapter), TRAIN), rel=1e-5)


def test_an_adapter_stored_in_bfloat16_is_trained_in_float32_from_the_same_values(adapter, tmp_path):
    rounded = tmp_path / "rounded"
    rounded.mkdir()
    for file in adapter.iterdir():
        (rounded / file.name).write_bytes(file.read_bytes())
    stored = {name: one.bfloat16() for name, one in load_file(adapter / "adapter_model.safetensors").items()}
    save_file(stored, rounded / "adapter_model.safetensors", metadata={"format": "pt"})
    base = loaded_with()
    model = prepare_model(base.language_model, base.family, with_base_adapter(going_on(rounded)))
    held = {name.replace(".default", ""): one for name, one in model.named_parameters() if one.requires_grad}
    assert {one.dtype for one in held.values()} == {torch.float32}
    assert len(held) == len(stored)
    for name, one in stored.items():
        assert torch.equal(held[name if name in held else f"{name}.weight"], one.float()), name  # a magnitude's name
