"""DPO's loss and gradients on shared prefixes equal those of its formula, one example at a time, by PEFT alone."""

import math

import pytest
import torch
from peft import PeftModel

from helpers.preference_runs import preference_recipe
from helpers.small_runs import raw_recipe, trained
from helpers.tiny import model_dir
from rolesum.models.base_adapter import with_base_adapter
from rolesum.models.loading import load_model
from rolesum.recipe_loading import parse_recipe
from rolesum.training.batching import SampleRef
from rolesum.training.collate import collate
from rolesum.training.data import read_training_data
from rolesum.training.forward import training_forward
from rolesum.training.metrics_file import read_metrics
from rolesum.training.objective import loss_of_recipe
from rolesum.training.preference import compute_references, with_references
from rolesum.training.prepare_model import prepare_model

SETTINGS = ({}, {"sft": 0.0}, {"beta": 0.7, "length_normalized": True})


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("first") / "run", parse_recipe(raw_recipe(), "first")).adapter


def logprob(model, bundle, branch):
    """The summed log-probability of one summary, by the library's own forward on the whole text."""
    ids = torch.tensor([[*bundle.prefix, *branch.ids]])
    first = ids.shape[1] - branch.targets
    scores = model(input_ids=ids).logits[0, first - 1 : -1].log_softmax(-1)
    return scores.gather(-1, ids[0, first:, None]).sum()


def one_by_one(model, reference, bundles, preference):
    """Summed loss and gradients of every pair by the formula; `reference` computes with another model's weights."""
    total = 0.0
    model.zero_grad()
    for bundle in bundles:
        for chosen, rejected in zip(bundle.branches[::2], bundle.branches[1::2], strict=True):
            lengths = (chosen.targets, rejected.targets) if preference.length_normalized else (1, 1)
            gains, written = [], 0.0
            for branch, length in zip((chosen, rejected), lengths, strict=True):
                with torch.no_grad():
                    known = float(logprob(reference, bundle, branch))
                found = logprob(model, bundle, branch)
                gains.append((found - known) / length)
                written = written if branch is rejected else found / branch.targets
            odds = torch.sigmoid(preference.beta * (gains[0] - gains[1]))
            loss = -torch.log(odds) - preference.sft * written
            loss.backward()
            total += loss.item()
    return total, gradients(model)


def gradients(model):
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.requires_grad}


def moved(model):
    """Change every trained weight a little, as steps would: else policy and reference are the same."""
    torch.manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn_like(weight)


def reference_model(start):
    """The base as transformers loads it, with the starting adapter by PEFT where there is one."""
    plain = load_model(model_dir("llama"), dtype="float32", device="cpu").model
    return (PeftModel.from_pretrained(plain, str(start)) if start else plain).eval()


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("starts", ["base", "adapter"])
def test_loss_and_gradients_on_bundles_equal_those_one_example_at_a_time(starts, settings, adapter):
    start = adapter if starts == "adapter" else None
    recipe = with_base_adapter(preference_recipe(preference=settings, base_adapter=start))
    loaded = load_model(model_dir("llama"), dtype="float32", device="cpu")
    data = read_training_data(recipe, loaded)
    loaded.model = model = prepare_model(loaded.language_model, loaded.family, recipe)
    bundles = with_references(data.encoded, compute_references(loaded, data.encoded, 1100, loaded.device, False))
    assert len(bundles) > 1 and max(len(bundle.branches) for bundle in bundles) > 2
    moved(model)
    theirs = one_by_one(model, reference_model(start), bundles, recipe.preference)
    model.zero_grad()
    model.train()
    batch = collate([(SampleRef(0, number, 0), bundle) for number, bundle in enumerate(bundles)], 0)
    with training_forward(model, loaded.family, recipe.neftune.alpha, loaded.device, loss_of_recipe(recipe)):
        loss = model(**batch)
        loss.backward()
    assert loss.item() == pytest.approx(theirs[0], rel=1e-5)
    largest = max(float(one.abs().max()) for one in theirs[1].values())
    assert largest > 0
    for name, one in gradients(model).items():
        torch.testing.assert_close(one, theirs[1][name], rtol=1e-3, atol=largest * 1e-5, msg=name)


@pytest.mark.parametrize("starts", ["base", "adapter"])
def test_the_stored_references_are_the_starting_models_log_probabilities(starts, adapter):
    start = adapter if starts == "adapter" else None
    recipe = with_base_adapter(preference_recipe(base_adapter=start))
    loaded = load_model(model_dir("llama"), dtype="float32", device="cpu")
    data = read_training_data(recipe, loaded)
    loaded.model = prepare_model(loaded.language_model, loaded.family, recipe)
    found = compute_references(loaded, data.encoded, 700, loaded.device, False)
    plain = reference_model(start)
    with torch.no_grad():
        for bundle, values in zip(data.encoded, found, strict=True):
            expected = [float(logprob(plain, bundle, branch)) for branch in bundle.branches]
            assert values == pytest.approx(expected, rel=1e-5)


def test_the_first_logged_loss_is_log_2_a_pair_without_the_sft_term(tmp_path):
    whole = {"tokens_per_batch": 100_000, "warmup": 0.0}
    run = trained(tmp_path / "run", preference_recipe(preference={"sft": 0.0}, training=whole))
    assert read_metrics(run.metrics)[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
