"""rolesum plan: its counts are the run's, it names what does not fit, and its memory is what the run then takes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from helpers.children import run_child
from helpers.tiny import model_dir, short_dialogues
from rolesum.errors import DataError, ResourceError, UsageError
from rolesum.models.loading import load_prompt_model, load_weights
from rolesum.recipe_loading import parse_recipe
from rolesum.training import plan as planning
from rolesum.training import train
from rolesum.training.cost_model import INTERPRETER_BYTES, CostModel
from rolesum.training.plan import plan

ROLESUM = Path(sys.executable).with_name("rolesum")
SMALL_RECIPE = "dialogues-smollm2-135m"


def recipe(kind="llama", validation=True, **training):
    data = {"train": {"path": str(short_dialogues("en-train", 8))}}
    if validation:
        data["validation"] = {"path": str(short_dialogues("en-test", 4))}
    return parse_recipe(
        {
            "name": "planned",
            "base": str(model_dir(kind)),
            "dtype": "float32",
            "data": data,
            "lora": {"rank": 4, "alpha": 8},
            "training": {"tokens_per_batch": 1024, "epochs": 2, **training},
        },
        "test",
    )


def test_the_plans_counts_are_those_of_the_run(tmp_path):
    made = plan(recipe(gradient_accumulation=2), device="cpu")
    run = train(recipe(gradient_accumulation=2), tmp_path / "run", device="cpu")
    costs = json.loads(run.environment.read_text())["costs"]
    assert (made.steps, made.tokens, made.examples * 2) == (costs["steps"], costs["tokens"], costs["examples"])
    assert made.steps == -(-made.batches // 2)
    assert made.largest_batch[0] * made.largest_batch[1] <= 1024


def test_the_shared_tokens_are_what_single_examples_would_compute_more():
    shared, alone = plan(recipe(), device="cpu"), plan(recipe(share_prefix=False), device="cpu")
    assert alone.tokens == shared.tokens + shared.tokens_shared
    assert (alone.tokens_shared, alone.bundles) == (0, shared.examples)


def test_the_trained_parameters_are_those_of_the_adapter():
    layers, hidden, inner, keys, rank = 3, 32, 48, 16, 4
    widths = [
        (hidden, hidden),
        (hidden, keys),
        (hidden, keys),
        (hidden, hidden),
        *[(hidden, inner)] * 2,
        (inner, hidden),
    ]
    made = plan(recipe(), device="cpu")
    assert made.trained_parameters == layers * rank * sum(one + other for one, other in widths)
    full = plan(recipe().model_copy(update={"method": "full"}), device="cpu")
    assert full.trained_parameters == full.parameters == made.parameters - made.trained_parameters


def test_a_base_in_four_bits_keeps_its_embedding_and_head_as_they_are():
    """Reckoned against what the library then holds."""
    pytest.importorskip("bitsandbytes")
    chosen = recipe("wide-llama").model_copy(update={"quantize": "4bit"})
    side = load_prompt_model(chosen.base)
    loaded = load_weights(side, dtype="float32", device="cpu", quantize="4bit")
    held = sum(one.numel() * one.element_size() for one in loaded.model.parameters())
    ends = (loaded.model.get_input_embeddings(), loaded.model.get_output_embeddings())
    shape = CostModel.from_recipe(side, chosen, torch.device("cpu"))
    frozen = shape.peak_memory(chosen, (), 0, torch.float32) - 16 * shape.trained_parameters - INTERPRETER_BYTES
    assert held > 4 * sum(one.weight.numel() for one in ends)
    assert frozen == pytest.approx(held, rel=0.05)


def test_the_bias_of_alibi_is_reckoned_with_the_square_of_the_length():
    """A number for each head, query and key, in float32 and once more in the dtype of the step."""
    chosen = recipe("baichuan2-13b")
    shape = CostModel.from_recipe(load_prompt_model(chosen.base), chosen, torch.device("cpu"))
    plain = replace(shape, alibi_heads=0)
    rows = ((300, 200), 10, torch.bfloat16)
    assert shape.peak_memory(chosen, *rows) - plain.peak_memory(chosen, *rows) == 5 * 2 * 300**2 * (4 + 2)
    assert (
        CostModel.from_recipe(load_prompt_model(model_dir("baichuan2-7b")), chosen, torch.device("cpu")).alibi_heads
        == 0
    )


def test_full_training_in_bfloat16_is_reckoned_in_bfloat16(monkeypatch):
    asked = []
    monkeypatch.setattr(planning, "matmul_flops", lambda device, dtype, *shape: asked.append(dtype) or 1e9)
    full = recipe().model_copy(update={"method": "full"})
    made = [plan(full.model_copy(update={"dtype": dtype}), device="cpu") for dtype in ("float32", "bfloat16")]
    assert asked == [torch.float32, torch.bfloat16]
    assert [one.dtype for one in made] == ["float32", "bfloat16"]


def test_a_family_that_cannot_share_prefixes_is_named():
    made = plan(recipe("bloom"), device="cpu")
    assert any("bloom" in note and "alone" in note for note in made.notes)
    assert made.tokens_shared == 0


def test_dialogues_that_do_not_fit_are_named_with_the_setting_that_would(tmp_path):
    made = plan(recipe(max_length=200), device="cpu")
    note = next(note for note in made.notes if "would" in note)
    needed = int(note.split("training.max_length=")[1].split()[0])
    assert needed >= made.longest_example > 200  # the longest may be a validation dialogue
    train(recipe(max_length=needed), tmp_path / "fits", device="cpu")
    with pytest.raises(DataError):
        train(recipe(max_length=needed - 1), tmp_path / "does-not", device="cpu")


def test_an_example_larger_than_a_batch_is_named_with_the_setting_that_would(tmp_path):
    made = plan(recipe(tokens_per_batch=128, validation=False), device="cpu")
    assert any(f"training.tokens_per_batch={made.longest_example} would" in note for note in made.notes)
    train(recipe(tokens_per_batch=made.longest_example, validation=False), tmp_path / "fits", device="cpu")


def test_a_run_that_does_not_fit_the_memory_is_told_what_would_and_is_not_tried(monkeypatch):
    from rolesum.training import cost_model
    from rolesum.training import plan as module

    monkeypatch.setattr(cost_model, "INTERPRETER_BYTES", 0)
    large = recipe(tokens_per_batch=100_000)
    needed = plan(large, device="cpu").peak_memory
    monkeypatch.setattr(module, "_free_memory", lambda device: int(needed * 0.97))
    made = plan(large, device="cpu")
    note = next(note for note in made.notes if "not enough memory" in note)
    budget = int(note.split("training.tokens_per_batch=")[1].split()[0])
    smaller = plan(recipe(tokens_per_batch=budget), device="cpu")
    assert smaller.peak_memory <= needed * 0.97
    monkeypatch.setattr(module, "_free_memory", lambda device: 1000)
    assert not plan(large, device="cpu", measure=True).measured  # measuring itself would be killed


def test_the_free_memory_is_the_machines():
    assert 0 < plan(recipe(), device="cpu").free_memory <= psutil.virtual_memory().total


def test_a_logging_integration_that_is_not_there_is_refused_as_the_run_would():
    with pytest.raises(UsageError, match="report_to: tensorbord is not installed"):
        plan(recipe(report_to=["tensorbord"]), device="cpu")


@pytest.mark.parametrize("device", ["meta", "tpu", ""])
def test_a_device_on_which_nothing_can_be_computed_is_refused(device):
    with pytest.raises(ResourceError, match="no device"):
        plan(recipe(), device=device)


def test_json_says_all_of_it(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(json.dumps(recipe().model_dump(mode="json")), encoding="utf-8")
    done = run_child("plan", file, "--device", "cpu", "--json", "--measure")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["measured"] and found["steps"] > 0 and found["peak_memory"] > 1e8


@pytest.mark.slow
@pytest.mark.embedded
@pytest.mark.parametrize("flags", [("--measure",), ()], ids=["measured", "reckoned"])
def test_the_memory_is_within_15_percent_of_what_the_run_then_takes(tmp_path, flags, small_run):
    recipe_flags, costs = small_run
    done = run_child("plan", SMALL_RECIPE, *recipe_flags, "--json", *flags)
    assert json.loads(done.stdout)["peak_memory"] == pytest.approx(costs["peak_memory_bytes"], rel=0.15)


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """A short run of the embedded model in a process of its own, and what it cost."""
    flags = ["--set", "data.train.limit=4", "--set", "data.validation=null", "--device", "cpu"]
    out = tmp_path_factory.mktemp("planned") / "run"
    command = [ROLESUM, "train", SMALL_RECIPE, *flags, "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return flags, json.loads((out / "environment.json").read_text())["costs"]


def test_a_run_is_planned_for_a_gpu_that_is_not_here_by_its_data_sheet(monkeypatch):
    monkeypatch.setattr(planning, "LAYER_SECONDS", {})
    chosen = recipe(tokens_per_batch=4096).model_copy(update={"dtype": "auto"})
    small, large = (plan(chosen, gpu=name) for name in ("rtx-4090", "H100"))
    assert (small.device, large.device, small.dtype) == ("rtx-4090", "h100", "bfloat16")
    assert large.tokens_per_second / small.tokens_per_second == pytest.approx(989 / 165.2)
    assert small.peak_memory == large.peak_memory < small.free_memory < 24 * 2**30 < large.free_memory
    assert not small.measured
    here = plan(chosen, device="cpu")
    assert (here.tokens, here.steps, here.trained_parameters) == (small.tokens, small.steps, small.trained_parameters)
    assert small.padding_share > here.padding_share == 0  # a GPU computes padded rows


def test_batches_too_small_for_a_gpu_take_as_long_as_their_launches():
    chosen = recipe()
    made = [plan(chosen, gpu=name) for name in ("rtx-4090", "h100")]
    layers = CostModel.from_recipe(load_prompt_model(chosen.base), chosen, torch.device("cuda")).layers
    least = made[0].batches * layers * planning.LAYER_SECONDS["cuda"]
    assert [one.train_seconds for one in made] == pytest.approx([least, least])
    here = plan(chosen, device="cpu")
    assert here.train_seconds != pytest.approx(least)


def test_computing_activations_again_takes_less_memory_and_a_forward_more():
    plain, again = (plan(recipe(gradient_checkpointing=on), gpu="a100-80") for on in (False, True))
    assert again.peak_memory < plain.peak_memory
    assert 1.25 < again.train_seconds / plain.train_seconds < 1.5


def test_a_gpu_that_is_not_known_or_to_be_measured_is_refused():
    chosen = recipe()
    with pytest.raises(UsageError, match='no GPU "rtx-4900" is known') as caught:
        plan(chosen, gpu="rtx-4900")
    assert "rtx-4090" in str(caught.value)
    with pytest.raises(UsageError, match="needs this GPU"):
        plan(chosen, gpu="rtx-4090", measure=True)
