"""Two processes train what one trains: the same losses, the same adapter, stopped and resumed or not."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file

from helpers.children import run_in_processes
from helpers.preference_runs import preference_recipe
from helpers.tiny import model_dir, short_dialogues
from helpers.verify_runs import verify_recipe
from rolesum.models.loading import load_model
from rolesum.recipe import dump_recipe
from rolesum.recipe_loading import load_recipe
from rolesum.training import Run, train
from rolesum.training.metrics_file import read_metrics

pytestmark = pytest.mark.slow

# Nine batches of two dialogues or one: a step of one batch is cut by rows, or leaves a process nothing to do; of
# three, one process computes two; the last step of two holds one.
RECIPE = {
    "name": "tiny",
    "base": str(model_dir("llama")),
    "dtype": "float32",
    "data": {
        "train": {"path": str(short_dialogues("en-train", 5, 1))},
        "validation": {"path": str(short_dialogues("en-test", 3, 1))},
    },
    "lora": {"rank": 4, "alpha": 8},
    "neftune": {"alpha": 5.0},
    "training": {"epochs": 3, "tokens_per_batch": 1100, "learning_rate": 0.01, "log_steps": 1},
    "validation": {"per_epoch": 1},
}


def recipe_file(folder, **training):
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump({**RECIPE, "training": {**RECIPE["training"], **training}}), encoding="utf-8")
    return file


def by_torchrun(file, out):
    """`torchrun --nproc-per-node 2 -m rolesum train` on a CPU."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*start, "-m", "rolesum", "train", str(file), "--out", str(out), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


def in_two_processes(file, out, *flags):
    """What torchrun does, without importing torch three times."""
    return run_in_processes(2, "train", file, "--out", out, "--device", "cpu", *flags)


def in_one_process(file, out, **options):
    return train(load_recipe(file), out, device="cpu", **options)


def weights(run):
    return load_file(run.adapter / "adapter_model.safetensors")


def assert_same_run(found, expected):
    """The same logged lines, and the same adapter within 1e-5."""
    rows, expected_rows = read_metrics(found.metrics), read_metrics(expected.metrics)
    assert [(row["step"], *row) for row in rows] == [(row["step"], *row) for row in expected_rows]
    for row, expected_row in zip(rows, expected_rows, strict=True):
        for name, value in expected_row.items():
            if name != "epoch":
                assert row[name] == pytest.approx(value, rel=1e-4 if name == "grad_norm" else 1e-5), (name, row["step"])
    ours, theirs = weights(found), weights(expected)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert tensor.abs().max() > 1e-3, name  # trained: B begins at zero
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=1e-5, msg=name)
    assert [row["epoch"] for row in rows] == pytest.approx([row["epoch"] for row in expected_rows], rel=1e-5)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """An unstopped run in two processes with one batch per step."""
    folder = tmp_path_factory.mktemp("two")
    file = recipe_file(folder)
    done = by_torchrun(file, folder / "run")
    assert done.returncode == 0, done.stderr
    return done, file, Run(folder / "run")


def test_two_processes_cut_a_steps_single_batch_by_rows_and_train_what_one_process_trains(two, tmp_path):
    _, file, run = two
    assert_same_run(run, in_one_process(file, tmp_path / "one"))


def test_two_processes_share_a_steps_batches_and_train_what_one_process_trains(tmp_path):
    file = recipe_file(tmp_path, gradient_accumulation=3)  # one process has two batches of a step, the other one
    done = in_two_processes(file, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    one = in_one_process(file, tmp_path / "one")
    assert {row["step"] for row in read_metrics(one.metrics)} == {1, 2, 3}
    assert_same_run(Run(tmp_path / "two"), one)


def test_the_adapter_of_two_processes_is_whole_and_loads(two):
    _, _, run = two
    loaded = load_model(adapter=run.adapter, dtype="float32", device="cpu")
    held = {name: one for name, one in loaded.model.named_parameters() if "lora_" in name}
    saved = weights(run)
    assert len(held) == len(saved) == 3 * 7 * 2
    for name, tensor in held.items():
        assert torch.equal(tensor, saved[name.replace(".default", "")]), name
    assert {path.name for path in run.path.iterdir()} == {"adapter", "recipe.yaml", "metrics.jsonl", "environment.json"}


def test_two_processes_speak_with_one_voice(two):
    done, _, run = two
    assert done.stdout.split() == ["adapter:", str(run.adapter)]
    assert done.stderr.count("training ") == 1


def test_a_run_in_two_processes_stopped_and_resumed_ends_as_if_never_stopped(two, tmp_path):
    _, file, unstopped = two
    stopped = in_two_processes(file, tmp_path / "run", "--max-minutes", "0.0001")
    assert stopped.returncode != 0
    assert stopped.stderr.count("stopped at step 1 of 9; a checkpoint was written") == 1
    assert not Run(tmp_path / "run").adapter.exists()
    shutil.copytree(tmp_path / "run", tmp_path / "alone")

    resumed = in_two_processes(file, tmp_path / "run", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert_same_run(Run(tmp_path / "run"), unstopped)
    found, expected = weights(Run(tmp_path / "run")), weights(unstopped)
    assert all(torch.equal(found[name], expected[name]) for name in expected)

    # One process takes up what two began.
    assert_same_run(in_one_process(file, tmp_path / "alone", resume=True), unstopped)


def test_two_processes_go_on_from_an_adapter_as_one_does(two, tmp_path):
    _, _, first = two
    raw = {key: value for key, value in RECIPE.items() if key not in ("base", "lora")}
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump({**raw, "base_adapter": str(first.adapter)}), encoding="utf-8")
    done = in_two_processes(file, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"goes on from {first.adapter}") == 1
    assert_same_run(Run(tmp_path / "two"), in_one_process(file, tmp_path / "one"))


def test_a_data_error_in_two_processes_is_told_once_and_nothing_is_written(tmp_path):
    done = in_two_processes(recipe_file(tmp_path, max_length=120), tmp_path / "run")
    assert done.returncode != 0
    assert done.stderr.count("the limit is 120") == 5  # once for each dialogue
    assert done.stderr.count("error: ") == 1
    assert "DataError" not in done.stderr  # no traceback of ours
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_not_overwritten_by_two_processes_and_that_is_told_once(two):
    _, file, run = two
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    done = in_two_processes(file, run.path)
    assert done.returncode != 0
    assert done.stderr.count("holds a finished run") == 1
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_preference_tuning_in_two_processes_equals_one(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(dump_recipe(preference_recipe(training={"epochs": 2})), encoding="utf-8")
    one = in_one_process(file, tmp_path / "one")
    in_two_processes(file, tmp_path / "two")
    two = Run(tmp_path / "two")
    ours, theirs = ([row["loss"] for row in read_metrics(run.metrics) if "loss" in row] for run in (two, one))
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert two.references.read_bytes() == one.references.read_bytes()


def test_statements_beside_summaries_in_two_processes_equal_one(tmp_path):
    file = tmp_path / "recipe.yaml"
    chosen = verify_recipe(verify={"weight": 7.5}, training={"epochs": 2, "gradient_accumulation": 2})
    file.write_text(dump_recipe(chosen), encoding="utf-8")
    in_two_processes(file, tmp_path / "two")
    assert_same_run(Run(tmp_path / "two"), in_one_process(file, tmp_path / "one"))
