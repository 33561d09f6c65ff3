"""Runs of preference tuning: what they leave, how they are resumed, and what they refuse."""

import json
import math

import pytest
import torch

from helpers.preference_runs import PAIRS, pair_file, preference_recipe
from helpers.small_runs import TRAIN, evaluations, raw_recipe, same, stopped_at, trained, weights
from helpers.tiny import model_dir
from rolesum.dialogue import Pair
from rolesum.errors import DataError, UsageError
from rolesum.models.loading import load_prompt_model
from rolesum.recipe import dump_recipe
from rolesum.recipe_loading import parse_recipe
from rolesum.training import Run, preference
from rolesum.training.data import read_training_data
from rolesum.training.plan import plan

EPOCHS = {"epochs": 3}


def read(chosen):
    return read_training_data(chosen, load_prompt_model(chosen.base))


def test_a_run_prefers_the_chosen_summaries_afterwards_and_leaves_the_references(tmp_path):
    chosen = preference_recipe(
        preference={"sft": 0.0}, training={"epochs": 8}, validation={"path": str(PAIRS)}, neftune=None
    )
    run = trained(tmp_path / "run", chosen)
    assert min(evaluations(run).values()) < math.log(2) / 2
    stored = json.loads(run.references.read_text())
    assert set(stored) == {"train", "validation"} and all(value < 0 for values in stored["train"] for value in values)
    assert "DPO on pairs of summaries, beta 0.1" in (run.adapter / "README.md").read_text()


def test_a_run_stopped_and_resumed_equals_the_run_not_stopped_bit_for_bit(tmp_path, monkeypatch):
    chosen = preference_recipe(training=EPOCHS)
    whole = trained(tmp_path / "whole", chosen)
    stopped_at(2, tmp_path / "cut", chosen, monkeypatch)

    def computed_again(*_):
        raise AssertionError("the references of a run are computed once")

    monkeypatch.setattr("rolesum.training.finetune.compute_references", computed_again)
    resumed = trained(tmp_path / "cut", chosen, resume=True)
    assert same(weights(resumed), weights(whole))
    assert resumed.references.read_bytes() == whole.references.read_bytes()


def test_stored_references_that_do_not_fit_the_data_are_refused(tmp_path, monkeypatch):
    chosen = preference_recipe(training=EPOCHS)
    stopped_at(1, tmp_path / "run", chosen, monkeypatch)
    Run(tmp_path / "run").references.write_text('{"train": [[-1.0]]}')
    with pytest.raises(UsageError, match="the log-probabilities of the reference model do not fit the data"):
        trained(tmp_path / "run", chosen, resume=True)


def test_the_references_are_the_same_in_batches_of_any_size_up_to_rounding(tmp_path):
    stored = []
    for budget in (700, 1400):
        run = trained(tmp_path / str(budget), preference_recipe(training={"tokens_per_batch": budget}))
        values = [value for bundle in json.loads(run.references.read_text())["train"] for value in bundle]
        stored.append(sorted(values))
    assert stored[0] == pytest.approx(stored[1], rel=1e-5)


def test_full_fine_tuning_takes_the_base_as_its_reference(tmp_path):
    run = trained(tmp_path / "run", preference_recipe(method="full", training={"learning_rate": 1e-3}))
    lora = trained(tmp_path / "lora", preference_recipe())
    full, thin = (json.loads(one.references.read_text())["train"] for one in (run, lora))
    assert len(full) == len(thin)
    assert all(one == pytest.approx(other, rel=1e-5) for one, other in zip(full, thin, strict=True))


def test_a_bundle_over_the_budget_is_split_between_pairs():
    data = read(preference_recipe(training={"tokens_per_batch": 450}))
    assert len(data.encoded) > len(data.dialogues)
    assert all(len(bundle.branches) % 2 == 0 for bundle in data.encoded)
    assert all(bundle.tokens <= 450 for bundle in data.encoded)


def test_a_pair_that_does_not_fit_a_batch_is_an_error_with_its_dialogue():
    with pytest.raises(DataError, match=r"dialogue en-\S+: \d+ tokens are more than training.tokens_per_batch"):
        read(preference_recipe(training={"tokens_per_batch": 128}))


def test_a_summary_longer_than_the_model_reads_is_an_error_with_its_dialogue():
    long = pair_file("long", pairs=(Pair("overall", "She paid. " * 900, "She left."),))
    with pytest.raises(DataError, match="the target alone does not fit"):
        read(preference_recipe(long))


def test_a_pair_for_a_role_that_no_speaker_plays_is_an_error():
    file = pair_file("unplayed", roles={})
    with pytest.raises(DataError, match="a pair for user, but no speaker plays it"):
        read(preference_recipe(file))


def test_data_without_pairs_is_an_error():
    with pytest.raises(DataError, match="no dialogue has pairs"):
        read(preference_recipe(TRAIN))


def test_a_role_without_a_pair_is_an_error():
    with pytest.raises(DataError, match="no pairs for brief"):
        read(preference_recipe(roles=["overall", "brief"]))


def test_a_base_without_shared_prefixes_is_refused():
    with pytest.raises(UsageError, match="preference tuning needs a base that shares a prefix"):
        read(preference_recipe(base=str(model_dir("bloom"))))


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"neftune": {"alpha": 5.0}}, "preference tuning has no noise"),
        ({"training": {"share_prefix": False}}, "both summaries of a pair on one prefix"),
        ({"preference": {"beta": 0}}, "greater than 0"),
        ({"preference": {"betta": 0.1}}, "betta"),
    ],
)
def test_settings_that_preference_tuning_does_not_have_are_refused(section, says):
    with pytest.raises(UsageError, match=says):
        preference_recipe(**section)


def test_without_a_neftune_section_there_is_no_noise_and_the_dumped_recipe_says_so():
    assert preference_recipe().neftune.alpha == 0 and "alpha: 0.0" in dump_recipe(preference_recipe())
    assert parse_recipe(raw_recipe(), "test").neftune.alpha == 5.0


def test_a_plan_counts_pairs_and_says_what_the_reference_costs():
    planned = plan(preference_recipe(training={"tokens_per_batch": 128}), device="cpu", measure=True)
    assert planned.examples == 30 and planned.measured
    assert any("one more forward over the data" in note for note in planned.notes)
    assert any("does not fit a batch of 128" in note for note in planned.notes)


def test_the_loss_of_a_batch_without_pairs_is_zero():
    """A process that has no batch of a step computes one sample without loss."""
    batch = {"target_counts": torch.zeros(0, dtype=torch.long), "references": torch.zeros(0)}
    losses = torch.zeros(0, requires_grad=True)
    loss = preference.preference_loss(losses, batch, preference_recipe().preference)
    loss.backward()
    assert loss.item() == 0
