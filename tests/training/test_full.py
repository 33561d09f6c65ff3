"""`method: full`: all weights are trained, and a model is left that both libraries load."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from helpers.small_runs import (
    HELD_OUT,
    evaluations,
    last,
    loss_of,
    recipe,
    same,
    stopped_at,
    trained,
)
from helpers.tiny import model_dir
from rolesum.formats import read_dialogues
from rolesum.instructions import instruction_set
from rolesum.models.loading import load_model
from rolesum.training.metrics_file import read_metrics

TWO = ("user", "overall")


def full_recipe(kind="llama", **others):
    training = {"epochs": 3, "learning_rate": 3e-3}
    return recipe(base=str(model_dir(kind)), method="full", training=training, roles=list(TWO), **others)


@pytest.mark.parametrize("kind", ["llama", "tied-llama", "bloom"])
def test_method_full_trains_all_weights_and_leaves_a_model_that_both_libraries_load(kind, tmp_path):
    run = trained(tmp_path / "run", full_recipe(kind))
    assert {path.name for path in run.path.iterdir()} == {"model", "recipe.yaml", "metrics.jsonl", "environment.json"}
    before, after = (
        load_model(model_dir(kind), dtype="float32", device="cpu"),
        load_model(run.model, dtype="float32", device="cpu"),
    )
    assert loss_of(after, roles=TWO) < loss_of(before, roles=TWO) - 0.1
    assert loss_of(after, roles=TWO) == pytest.approx(last(evaluations(run)), rel=2e-5)
    library, old = AutoModelForCausalLM.from_pretrained(run.model).state_dict(), before.model.state_dict()
    assert library.keys() == old.keys()
    for name, tensor in after.model.state_dict().items():
        assert tensor.dtype == torch.float32 and torch.equal(library[name], tensor), name
        assert not torch.equal(tensor, old[name]), name


def test_a_tuned_models_note_knows_roles_and_instructions_and_its_prompts_are_those_it_was_trained_with(tmp_path):
    own = instruction_set("en").model_dump() | {"name": "own", "turn": "{speaker} says {text}"}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    run = trained(tmp_path / "run", full_recipe(instructions=str(tmp_path / "own.yaml"), language="en"))
    note = json.loads((run.model / "rolesum.json").read_text())
    assert note["roles"] == list(TWO) and note["instructions"]["turn"] == "{speaker} says {text}"
    loaded, dialogue = load_model(run.model, dtype="float32", device="cpu"), read_dialogues(HELD_OUT)[0]
    assert loaded.metadata == note and loaded.adapter is None
    said = "".join(segment.text for segment in loaded.layout().prefix(dialogue))
    assert f"{dialogue.turns[0].speaker} says {dialogue.turns[0].text}" in said
    assert loss_of(loaded, roles=TWO) == pytest.approx(last(evaluations(run)), rel=2e-5)


def test_all_weights_trained_in_bfloat16_keep_a_float32_master(tmp_path):
    run = trained(tmp_path / "run", full_recipe(dtype="bfloat16"))
    tensors = load_file(run.model / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert any(not torch.equal(tensor, tensor.bfloat16().float()) for tensor in tensors.values())
    exact = last(evaluations(trained(tmp_path / "exact", full_recipe())))
    assert last(evaluations(run)) == pytest.approx(exact, rel=0.01)


def test_method_full_stopped_and_resumed_ends_as_if_never_stopped_and_keeps_its_best(tmp_path, monkeypatch):
    chosen = full_recipe("tied-llama", validation={"keep": "best", "per_epoch": 3})
    whole = trained(tmp_path / "whole", chosen)
    stopped_at(5, tmp_path / "run", chosen, monkeypatch)
    run = trained(tmp_path / "run", chosen, resume=True)
    assert same(load_file(run.model / "model.safetensors"), load_file(whole.model / "model.safetensors"))
    assert read_metrics(run.metrics) == read_metrics(whole.metrics)


def test_the_card_of_a_tuned_model_does_not_call_it_an_adapter(tmp_path):
    card = (trained(tmp_path / "run", full_recipe()).model / "README.md").read_text()
    assert "library_name: transformers" in card
    assert "LoRA" not in card and "--adapter" not in card and "An adapter" not in card


def test_an_original_chatglm_trained_whole_stays_an_original_and_resumes(tmp_path, monkeypatch):
    """Its tensors have other names in a file than in the model: a checkpoint that lost them would go unnoticed."""
    chosen = full_recipe("chatglm3-6b")
    whole = trained(tmp_path / "whole", chosen)
    stopped_at(2, tmp_path / "cut", chosen, monkeypatch)
    resumed = trained(tmp_path / "cut", chosen, resume=True)
    ours, theirs = (load_model(run.model, dtype="float32", device="cpu") for run in (whole, resumed))
    assert ours.family.name == "chatglm3" and loss_of(ours, roles=TWO) < loss_of(
        load_model(model_dir("chatglm3-6b"), dtype="float32", device="cpu"), roles=TWO
    )
    assert same(ours.model.state_dict(), theirs.model.state_dict())
    stored = load_file(whole.model / "model.safetensors")
    assert stored.keys() == torch.load(model_dir("chatglm3-6b") / "pytorch_model.bin", weights_only=True).keys()
