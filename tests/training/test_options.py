"""What a recipe may ask of a run beside the plain one: stopping, kinds of LoRA, ways to compute, reports."""

import json

import pytest
import torch
import yaml
from transformers.models.llama.modeling_llama import LlamaAttention

from helpers.small_runs import (
    TRAIN,
    evaluations,
    loss_of,
    raw_recipe,
    recipe,
    trained,
    weights,
)
from helpers.tiny import model_dir
from rolesum.errors import UsageError
from rolesum.formats import read_dialogues
from rolesum.models.loading import load_model, load_prompt_model, load_weights
from rolesum.recipe_loading import load_recipe
from rolesum.training import Interrupted, Run
from rolesum.training.data import read_training_data
from rolesum.training.plan import plan
from rolesum.training.prepare_model import prepare_model

# Stopping


@pytest.mark.parametrize("minutes", [1e-6, 0])
def test_after_max_minutes_the_run_stops_after_a_step_with_a_checkpoint(minutes, tmp_path):
    with pytest.raises(Interrupted, match="stopped at step 1 of 3; a checkpoint was written") as caught:
        trained(tmp_path / "run", recipe(), max_minutes=minutes)
    assert "--resume" in str(caught.value)
    run = Run(tmp_path / "run")
    assert run.last_checkpoint() == run.checkpoints / "checkpoint-1"
    assert not run.adapter.exists()


# Kinds of LoRA


@pytest.mark.parametrize(
    ("lora", "said"),
    [({"dora": True}, "use_dora"), ({"rslora": True}, "use_rslora"), ({"dora": True, "rslora": True}, "use_dora")],
    ids=["dora", "rslora", "both"],
)
def test_dora_and_rslora_train_save_and_load(lora, said, tmp_path):
    run = trained(tmp_path / "run", recipe(lora=lora, training={"epochs": 2}))
    assert json.loads((run.adapter / "adapter_config.json").read_text())[said] is True
    magnitudes = [name for name in weights(run) if "magnitude" in name]
    assert len(magnitudes) == (3 * 7 if "dora" in lora else 0)
    found = evaluations(run)
    assert found[6] < found[3]
    assert loss_of(load_model(adapter=run.adapter, dtype="float32", device="cpu")) == pytest.approx(found[6], rel=2e-5)
    plain = trained(tmp_path / "plain", recipe(training={"epochs": 2}))
    assert evaluations(plain)[6] != pytest.approx(found[6], rel=1e-5)


def test_a_head_that_is_adapted_trains_saves_and_loads(tmp_path):
    """Its forward is LoRA's own in every batch, and stays the model's after the run."""
    run = trained(tmp_path / "run", recipe(lora={"targets": ["q_proj", "lm_head"]}, training={"epochs": 2}))
    assert any("lm_head" in name for name in weights(run))
    found = evaluations(run)
    assert found[6] < found[3]
    assert loss_of(load_model(adapter=run.adapter, dtype="float32", device="cpu")) == pytest.approx(found[6], rel=2e-5)


@pytest.mark.parametrize(
    ("targets", "fix"),
    [
        (["lm_head"], "leave lora.targets out"),
        (["q_proj", "embed_tokens"], "--set lora.targets=[q_proj]"),
        (["model.embed_tokens", "lm_head", "q_proj", "v_proj"], "--set lora.targets=[q_proj,v_proj]"),
    ],
)
@pytest.mark.parametrize("how", ["train", "plan"])
def test_a_head_or_embedding_that_is_tied_is_refused_before_the_run(how, targets, fix, tmp_path):
    chosen = recipe(base=str(model_dir("tied-llama")), lora={"targets": targets})
    with pytest.raises(UsageError, match="one matrix for embeddings and head") as caught:
        trained(tmp_path / "run", chosen) if how == "train" else plan(chosen, device="cpu")
    assert fix in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_embedding_that_is_not_tied_can_be_adapted(tmp_path):
    run = trained(tmp_path / "run", recipe(lora={"targets": ["q_proj", "embed_tokens"]}))
    assert any("embed_tokens" in name for name in weights(run))


# How it is computed


def test_gradient_checkpointing_gives_the_same_adapter_and_computes_activations_again(tmp_path, monkeypatch):
    calls = 0
    original = LlamaAttention.forward

    def counted(self, *args, **kwargs):
        nonlocal calls
        calls += torch.is_grad_enabled()
        return original(self, *args, **kwargs)

    monkeypatch.setattr(LlamaAttention, "forward", counted)
    adapters, counts = [], []
    for again in (False, True):
        calls = 0
        chosen = recipe(training={"gradient_checkpointing": again, "epochs": 2}, lora={"dropout": 0.2})
        adapters.append(weights(trained(tmp_path / f"run{again}", chosen)))
        counts.append(calls)
    assert counts == [3 * 6, 2 * 3 * 6]  # layers times steps
    for name, tensor in adapters[0].items():
        torch.testing.assert_close(adapters[1][name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_share_prefix_false_gives_one_example_a_row_and_trains_the_same(tmp_path):
    """All examples in one step, so that only the rows differ."""
    adapters = []
    for share in (True, False):
        chosen = recipe(
            training={"share_prefix": share, "gradient_accumulation": 1000, "epochs": 2}, neftune={"alpha": 0}
        )
        data = read_training_data(chosen, load_prompt_model(chosen.base))
        assert {len(bundle.branches) for bundle in data.encoded} == ({3} if share else {1})
        assert data.examples == 15 and len(data.encoded) == (5 if share else 15)
        assert (data.tokens_shared > 0) is share
        adapters.append(weights(trained(tmp_path / f"run{share}", chosen)))
    for name, tensor in adapters[0].items():
        torch.testing.assert_close(adapters[1][name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_a_base_in_four_bits_trains_and_its_adapter_loads_on_the_base_as_it_is(tmp_path):
    pytest.importorskip("bitsandbytes")
    base = str(model_dir("wide-llama"))
    run = trained(tmp_path / "run", recipe(base=base, quantize="4bit", training={"epochs": 2}))
    found = evaluations(run)
    assert found[6] < found[3]
    whole = trained(tmp_path / "whole", recipe(base=base, training={"epochs": 2}))
    assert evaluations(whole)[6] != pytest.approx(found[6], rel=1e-6)  # it was held in four bits
    loaded = load_model(adapter=run.adapter, device="cpu", dtype="float32")
    assert loss_of(loaded) < loss_of(load_model(base, device="cpu", dtype="float32"))
    assert loss_of(loaded) == pytest.approx(found[6], rel=0.02)


def test_a_base_in_four_bits_has_the_same_gradients_before_and_after_an_evaluation():
    """bitsandbytes repacks weights in evaluation on some processors, for a kernel that has no backward."""
    pytest.importorskip("bitsandbytes")
    chosen = recipe(base=str(model_dir("wide-llama")), quantize="4bit")
    side = load_prompt_model(chosen.base)
    loaded = load_weights(side, dtype="float32", device="cpu", quantize="4bit")
    model = prepare_model(loaded.model, side.family, chosen)
    ids = torch.arange(40, 60)[None]

    def gradient():
        model.train()
        model.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}

    before = gradient()
    model.eval()
    with torch.no_grad():
        model(input_ids=ids)
    after = gradient()
    assert max(float(one.abs().max()) for one in before.values()) > 0
    for name, one in before.items():
        torch.testing.assert_close(after[name], one, msg=name)


# Reports


def event_files(run):
    return [path.relative_to(run.path).parts[0] for path in run.path.rglob("events.out.tfevents.*")]


def test_report_to_tensorboard_writes_each_runs_events_into_its_own_directory(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    first, second = (
        trained(tmp_path / name, recipe(training={"report_to": ["tensorboard"]})) for name in ("first", "second")
    )
    assert event_files(first) == ["tensorboard"]
    assert event_files(second) == ["tensorboard"]


def test_a_logging_integration_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match="report_to: tensorbord is not installed"):
        trained(tmp_path / "run", recipe(training={"report_to": ["tensorbord"]}))
    assert not (tmp_path / "run").exists()


# What does not go together


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["data.validation=null", "validation.keep=best"], "keep: best and patience need data.validation"),
        (["data.validation=null", "validation.patience=2"], "keep: best and patience need data.validation"),
        (["data.validation=null", "validation.summaries=2"], "validation.summaries, keep: best"),
        (["validation.best_by=rouge"], "validation.best_by: rouge needs validation.summaries"),
        (["method=full", "quantize=4bit"], "method: full cannot train the 4-bit weights of quantize"),
    ],
)
def test_wishes_that_do_not_go_together_are_refused_with_the_files_name(changes, said, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(raw_recipe()))
    load_recipe(file)
    with pytest.raises(UsageError) as caught:
        load_recipe(file, changes)
    assert said in str(caught.value) and str(file) in str(caught.value)


# Instructions


def test_an_adapter_is_asked_as_it_was_trained_even_where_the_built_in_wording_has_changed(tmp_path):
    run = trained(tmp_path / "run", recipe())
    note = json.loads((run.adapter / "rolesum.json").read_text(encoding="utf-8"))
    assert set(note["instruction_sets"]) == {"en", "zh"}
    note["instruction_sets"]["en"]["instructions"]["user"] = "What did the customer want, in the old words?"
    (run.adapter / "rolesum.json").write_text(json.dumps(note), encoding="utf-8")
    dialogue = read_dialogues(TRAIN)[0]
    asked = load_model(adapter=run.adapter, device="cpu").layout().branch(dialogue, "user")
    assert asked[0].text == "What did the customer want, in the old words?"
