"""Ray's workers train what one process trains, and their errors come back as they are."""

import importlib.util
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from helpers.tiny import model_dir, short_dialogues
from rolesum.cli.main import app
from rolesum.errors import DataError, UsageError
from rolesum.ray_cluster import LOCAL, import_ray, ray_cluster
from rolesum.recipe_loading import load_recipe
from rolesum.training import Interrupted, Run, train
from rolesum.training import ray as training_ray
from rolesum.training.metrics_file import read_metrics
from rolesum.training.ray import train_on_ray

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'rolesum[ray]'"
)


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Of data and a run whose paths are relative: Ray starts its workers in directories of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "train.jsonl").write_bytes(short_dialogues("en-train", 5, 1).read_bytes())
    raw = {
        "name": "tiny",
        "base": str(model_dir("llama")),
        "dtype": "float32",
        "data": {
            "train": {"path": "train.jsonl"},
            "validation": {"path": str(short_dialogues("en-test", 3, 1))},
        },
        "lora": {"rank": 4, "alpha": 8},
        "training": {"tokens_per_batch": 1100, "learning_rate": 0.01, "log_steps": 1, "epochs": 2},
        "validation": {"per_epoch": 1, "summaries": 2, "max_new_tokens": 4},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    return load_recipe("recipe.yaml")


@pytest.fixture(scope="module")
def cluster():
    """One for all runs of this file: to start it takes longer than to train."""
    ray = import_ray("--ray-workers", "ray.train.torch")
    with ray_cluster(ray, LOCAL, num_cpus=2, include_dashboard=False):
        yield


def on_ray(recipe, workers=2, **options):
    return train_on_ray(recipe, "ray", workers=workers, device="cpu", **options)


@needs_ray
@pytest.mark.slow
def test_two_workers_go_on_from_a_checkpoint_and_train_what_one_process_trains(recipe, cluster):
    with pytest.raises(Interrupted, match="stopped at step 1 of 6; a checkpoint was written"):
        train(recipe, "ray", device="cpu", max_minutes=0.0001)  # in this process: to start workers takes a minute
    run = on_ray(recipe, resume=True)
    one = train(recipe, "one", device="cpu")
    assert {path.name for path in run.path.iterdir()} == {path.name for path in one.path.iterdir()}
    ours, theirs = (load_file(made.adapter / "adapter_model.safetensors") for made in (run, one))
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=1e-5, msg=name)
    rows, expected_rows = read_metrics(run.metrics), read_metrics(one.metrics)
    assert any("eval_rougeL" in row for row in rows)
    for row, expected in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(expected, rel=1e-4), row["step"]


@needs_ray
@pytest.mark.slow
def test_an_error_of_the_workers_is_the_error_that_one_process_gives_and_nothing_is_written(recipe, cluster, tmp_path):
    (tmp_path / "train.jsonl").write_text("no dialogue\n", encoding="utf-8")
    with pytest.raises(DataError) as alone:
        train(recipe, "one", device="cpu")
    with pytest.raises(DataError) as there:
        on_ray(recipe, workers=1)
    assert there.value.problems == alone.value.problems
    assert not (tmp_path / "ray").exists()


def test_without_ray_the_extra_is_named(recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'rolesum\[ray\]'"):
        on_ray(recipe)


def test_the_command_line_hands_the_workers_on(recipe, monkeypatch):
    asked = {}
    monkeypatch.setattr(training_ray, "train_on_ray", lambda *_, **options: asked.update(options) or Run(_[1]))
    done = CliRunner().invoke(app, ["train", "recipe.yaml", "--out", "ray", "--ray-workers", "3", "--device", "cpu"])
    assert done.stdout == "adapter: ray/adapter\n"
    assert (asked["workers"], asked["device"], asked["resume"]) == (3, "cpu", False)
