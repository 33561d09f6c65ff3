"""Runs of a tiny model on five dialogues, and what to ask of them."""

import pytest
import torch
from safetensors.torch import load_file

from helpers.tiny import model_dir, short_dialogues
from rolesum.dialogue import make_bundle
from rolesum.formats import read_dialogues
from rolesum.recipe_loading import parse_recipe
from rolesum.roles import DEFAULT_ROLES
from rolesum.training import Interrupted, Run, callbacks, train
from rolesum.training.encode import encode_bundles
from rolesum.training.metrics_file import read_metrics

TRAIN, HELD_OUT = short_dialogues("en-train", 5, 1), short_dialogues("en-test", 3, 2)
STEPS_PER_EPOCH = 3  # of TRAIN at 1,100 tokens a batch


def raw_recipe(validation=None, training=None, lora=None, **others):
    return {
        "name": "tiny",
        "base": str(model_dir("llama")),
        "dtype": "float32",
        "data": {"train": {"path": str(TRAIN)}, "validation": {"path": str(HELD_OUT)}},
        "lora": {"rank": 4, "alpha": 8, **(lora or {})},
        "training": {"tokens_per_batch": 1100, "learning_rate": 0.01, "log_steps": 1, **(training or {})},
        "validation": {"per_epoch": 1, **(validation or {})},
        **others,
    }


def recipe(**sections):
    return parse_recipe(raw_recipe(**sections), "test")


def trained(folder, chosen, **options):
    return train(chosen, folder, device="cpu", **options)


def weights(run):
    return load_file(run.adapter / "adapter_model.safetensors")


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def evaluations(run, metric="eval_loss"):
    """Step -> what was measured there."""
    return {row["step"]: row[metric] for row in read_metrics(run.metrics) if metric in row}


def last(measured):
    return measured[max(measured)]


def loss_of(loaded, file=HELD_OUT, roles=DEFAULT_ROLES):
    """The mean loss per target token by the library's own labels and loss, one example at a time."""
    bundles = [make_bundle(dialogue, roles) for dialogue in read_dialogues(file)]
    encoded = encode_bundles(bundles, loaded.layout(), loaded.encoder, max_length=2048).bundles
    total, tokens = 0.0, 0
    for bundle in encoded:
        for branch in bundle.branches:
            ids = torch.tensor([[*bundle.prefix, *branch.ids]])
            labels = ids.clone()
            labels[0, : ids.shape[1] - branch.targets] = -100
            with torch.no_grad():
                total += loaded.model(input_ids=ids, labels=labels).loss.item() * branch.targets
            tokens += branch.targets
    return total / tokens


def stop_at(monkeypatch, step):
    """A run with a deadline stops after this step, whatever the clock says."""

    def on_step_end(self, args, state, control, **_):
        if state.global_step == step:
            control.should_save = control.should_training_stop = True

    monkeypatch.setattr(callbacks.StopAfter, "on_step_end", on_step_end)


def stopped_at(step, folder, chosen, monkeypatch, **options):
    """Train a run that is stopped after this step."""
    with monkeypatch.context() as patched:
        stop_at(patched, step)
        with pytest.raises(Interrupted, match=f"stopped at step {step} "):
            trained(folder, chosen, max_minutes=1000, **options)


def cut_at(step, folder, chosen, monkeypatch, **options):
    """A run that was stopped after this step, and the weights of its checkpoint."""
    stopped_at(step, folder, chosen, monkeypatch, **options)
    return Run(folder), load_file(folder / "checkpoints" / f"checkpoint-{step}" / "adapter_model.safetensors")
