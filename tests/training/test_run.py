"""A run from recipe to adapter on a tiny model: what it leaves, what it learns, how it stops and goes on."""

import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from helpers.children import Child, run_child
from helpers.tiny import model_dir, short_dialogues
from rolesum.errors import DataError, ModelError, RolesumError, UsageError
from rolesum.models import loading
from rolesum.models.dtype_choice import DtypeChoice
from rolesum.models.loading import load_model
from rolesum.recipe_loading import parse_recipe
from rolesum.training import Interrupted, Run, loss, train
from rolesum.training.cost_model import measured_peak_memory
from rolesum.training.metrics_file import read_metrics
from rolesum.training.plan import plan

ROLESUM = Path(sys.executable).with_name("rolesum")


def raw_recipe(**training):
    return {
        "name": "tiny",
        "base": str(model_dir("llama")),
        "dtype": "float32",
        "data": {
            "train": {"path": str(short_dialogues())},
            "validation": {"path": str(short_dialogues("en-test", 4))},
        },
        "lora": {"rank": 4, "alpha": 8},
        "training": {"tokens_per_batch": 2048, "learning_rate": 0.01, "log_steps": 1, **training},
    }


def recipe(**training):
    return parse_recipe(raw_recipe(**training), "test")


def weights(run):
    return load_file(run.adapter / "adapter_model.safetensors")


def test_a_run_leaves_adapter_recipe_metrics_environment_and_card_and_no_checkpoints(tmp_path):
    run = train(recipe(), tmp_path / "run", device="cpu")
    assert {path.name for path in run.path.iterdir()} == {"adapter", "recipe.yaml", "metrics.jsonl", "environment.json"}
    assert {"adapter_model.safetensors", "adapter_config.json", "README.md", "rolesum.json"} <= {
        path.name for path in run.adapter.iterdir()
    }
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["seed"] == 1 and environment["libraries"]["torch"] == torch.__version__
    assert len(environment["data"]["train"]["sha256"]) == 64
    assert yaml.safe_load(run.recipe.read_text())["training"]["epochs"] == 1
    assert all(tensor.dtype == torch.float32 for tensor in weights(run).values())


def test_training_lowers_the_loss_on_dialogues_that_it_has_not_seen(tmp_path):
    run = train(recipe(epochs=6), tmp_path / "run", device="cpu")
    losses = [row["eval_loss"] for row in map(json.loads, run.metrics.read_text().splitlines()) if "eval_loss" in row]
    assert len(losses) >= 6
    assert losses[-1] < losses[0] - 0.1


def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(tmp_path):
    first, second, other = (
        weights(train(recipe(seed=seed), tmp_path / f"run{number}", device="cpu"))
        for number, seed in enumerate((1, 1, 2))
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("kind", ["bloom", "gemma3"])
def test_other_families_train_save_and_load(tmp_path, kind):
    raw = {**raw_recipe(), "base": str(model_dir(kind))}
    run = train(parse_recipe(raw, "test"), tmp_path / "run", device="cpu")
    loaded = load_model(adapter=run.adapter, device="cpu")
    assert loaded.path == model_dir(kind)
    assert loaded.metadata["roles"] == ["overall", "user", "agent"]


def test_accumulated_batches_make_the_same_step_as_one_large_batch(tmp_path):
    """The loss is divided by the target tokens of the whole optimizer step, not batch by batch."""
    large = recipe(tokens_per_batch=100_000)
    small = recipe(tokens_per_batch=1024, gradient_accumulation=1000)
    one, many = (
        weights(train(each, tmp_path / name, device="cpu")) for each, name in ((large, "one"), (small, "many"))
    )
    for name, tensor in one.items():
        torch.testing.assert_close(many[name], tensor, rtol=1e-4, atol=1e-5)


def start(tmp_path, name, *flags):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(raw_recipe(epochs=16)), encoding="utf-8")
    return Child("train", file, "--out", tmp_path / name, "--device", "cpu", *flags)


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_from_which_resume_ends_as_if_never_stopped(tmp_path):
    whole = start(tmp_path, "whole")
    assert whole.wait(300) == 0, whole.stderr
    stopped = start(tmp_path, "stopped")
    metrics = Run(tmp_path / "stopped").metrics
    deadline = time.monotonic() + 120
    while (len(metrics.read_text().splitlines()) if metrics.exists() else 0) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    stopped.send_signal(signal.SIGINT)
    assert stopped.wait(60) == 130
    said = stopped.stderr
    assert "a checkpoint was written" in said and "--resume" in said
    assert not Run(tmp_path / "stopped").adapter.exists()

    again = start(tmp_path, "stopped")  # without --resume nothing is overwritten
    assert again.wait(60) == 2
    assert "add --resume" in again.stderr

    resumed = start(tmp_path, "stopped", "--resume")
    assert resumed.wait(300) == 0, resumed.stderr
    expected, found = weights(Run(tmp_path / "whole")), weights(Run(tmp_path / "stopped"))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    rows, expected_rows = (
        [json.loads(line) for line in Run(tmp_path / name).metrics.read_text().splitlines()]
        for name in ("stopped", "whole")
    )
    assert [row["step"] for row in rows] == [row["step"] for row in expected_rows]


def test_a_finished_run_is_not_overwritten(tmp_path):
    train(recipe(), tmp_path / "run", device="cpu")
    with pytest.raises(UsageError, match="holds a finished run"):
        train(recipe(), tmp_path / "run", device="cpu")


def test_resume_with_another_recipe_is_refused(tmp_path):
    Run(tmp_path).recipe.write_text("name: other\n")
    with pytest.raises(UsageError, match="differs"):
        train(recipe(), tmp_path, resume=True, device="cpu")


def test_dialogues_that_do_not_fit_are_all_named_and_nothing_is_trained(tmp_path):
    with pytest.raises(DataError) as caught:
        train(recipe(max_length=120), tmp_path / "run", device="cpu")
    assert len(caught.value.problems) > 3
    assert "en-service-01" in str(caught.value) and "drop-middle" in str(caught.value)
    assert not (tmp_path / "run" / "adapter").exists()


def test_drop_middle_trains_on_what_is_left(tmp_path, capsys):
    run = train(recipe(max_length=320, long_dialogues="drop-middle"), tmp_path / "run", device="cpu")
    assert run.adapter.is_dir()
    said = capsys.readouterr().err
    assert re.search(r"turns? dropped from the middle of \d+ dialogues?", said)
    assert re.search(r"turns? dropped from the middle of \d+ validation dialogues?", said)


def test_an_example_larger_than_a_batch_is_refused(tmp_path):
    with pytest.raises(DataError, match="tokens_per_batch"):
        train(recipe(tokens_per_batch=100), tmp_path / "run", device="cpu")


def test_a_role_that_the_data_has_no_summaries_for_is_refused(tmp_path):
    raw = {**raw_recipe(), "roles": ["supervisor"], "custom_roles": {"supervisor": {}}}
    with pytest.raises(DataError, match="no summaries for the roles supervisor"):
        train(parse_recipe(raw, "test"), tmp_path / "run", device="cpu")


def test_a_role_of_which_no_dialogue_has_a_summary_is_refused_beside_others_that_have(tmp_path):
    raw = raw_recipe() | {"custom_roles": {"boss": {}}, "roles": ["boss", "user"]}
    with pytest.raises(DataError, match=r"no summaries for boss") as caught:
        train(parse_recipe(raw, "test"), tmp_path / "run", device="cpu")
    assert "roles=[user]" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_data_without_any_summary_are_refused_with_the_advice_to_add_some(tmp_path):
    data = tmp_path / "chat.txt"
    data.write_text("Customer: My parcel has not come.\nAgent: I will look.\n")
    raw = raw_recipe() | {"data": {"train": {"path": str(data)}}}
    with pytest.raises(DataError, match="the file has: none") as caught:
        train(parse_recipe(raw, "test"), tmp_path / "run", device="cpu")
    assert "add summaries" in caught.value.problems[0].fix


def test_dialogues_without_a_summary_are_told(tmp_path, capsys):
    lines = short_dialogues().read_text().splitlines()
    bare = {key: value for key, value in json.loads(lines[0]).items() if key != "summaries"} | {"id": "bare"}
    data = tmp_path / "some.jsonl"
    data.write_text("\n".join([*lines, json.dumps(bare)]))
    raw = raw_recipe() | {"data": {"train": {"path": str(data)}}}
    train(parse_recipe(raw, "test"), tmp_path / "run", device="cpu")
    said = f"without a summary for these roles, and left out: 1 of {len(lines) + 1} dialogues"
    assert said in capsys.readouterr().err
    assert any(note.endswith(said) for note in plan(parse_recipe(raw, "test"), device="cpu").notes)


def test_an_example_longer_than_the_model_reads_is_not_told_to_raise_the_limit(tmp_path):
    one = json.loads(short_dialogues("en-train", 1, 1).read_text())
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({**one, "turns": one["turns"] * 60}))
    raw = raw_recipe(max_length=20000, tokens_per_batch=20000) | {"data": {"train": {"path": str(path)}}}
    with pytest.raises(DataError, match="take a model that reads more") as caught:
        train(parse_recipe(raw, "test"), tmp_path / "run", device="cpu")
    assert "raise training.max_length" not in str(caught.value)


def test_a_misspelt_target_leaves_no_directory(tmp_path):
    raw = raw_recipe() | {"lora": {"targets": ["q_prj"]}}
    with pytest.raises(UsageError, match="q_prj"):
        train(parse_recipe(raw, "test"), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_an_adapter_on_another_base_is_refused(tmp_path):
    run = train(recipe(), tmp_path / "run", device="cpu")
    with pytest.raises(ModelError, match="was trained on"):
        load_model(model_dir("llama", seed=1), adapter=run.adapter, device="cpu")
    with pytest.raises(ModelError, match="was trained on"):
        load_model(model_dir("qwen2"), adapter=run.adapter, device="cpu")


def with_little_disk():
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


@pytest.mark.slow
def test_a_disk_that_is_full_is_an_error_with_a_remedy_and_leaves_no_adapter(tmp_path):
    """Files that may not grow past 20 kB stand for a full disk: the adapter's weights do not fit."""
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump({**raw_recipe(), "lora": {"rank": 16}}), encoding="utf-8")
    done = run_child("train", file, "--out", tmp_path / "run", "--device", "cpu", before=with_little_disk)
    assert done.returncode == 5, done.stderr
    assert "ulimit -f" in done.stderr and "then continue with the same command and --resume" in done.stderr
    assert {path.name for path in (tmp_path / "run").iterdir()} <= {
        "recipe.yaml",
        "metrics.jsonl",
        "environment.json",
        "checkpoints",
    }


def test_metrics_say_the_true_epoch(tmp_path):
    run = train(recipe(epochs=3), tmp_path / "run", device="cpu")
    assert read_metrics(run.metrics)[-1]["epoch"] == pytest.approx(3)


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_no_adapter(tmp_path):
    with pytest.raises(RolesumError, match="no longer a number") as caught:
        train(
            recipe(learning_rate=1e30, max_grad_norm=0, epochs=5, schedule="constant", warmup=0),
            tmp_path / "run",
            device="cpu",
        )
    assert "learning_rate" in caught.value.problems[0].fix
    assert not (tmp_path / "run" / "adapter").exists()


@pytest.mark.parametrize("step", [2, 3], ids=["before a checkpoint", "at the end"])
def test_a_loss_that_is_no_number_between_two_lines_of_the_log_is_seen(step, tmp_path, monkeypatch):
    """No checkpoint and no adapter hold what came of it, though nothing would be logged at that step."""
    calls, summed = 0, loss._summed_loss

    def spoiled(model, *rest):
        nonlocal calls
        calls += model.training
        return summed(model, *rest) * (float("nan") if model.training and calls == step else 1.0)

    monkeypatch.setattr(loss, "_summed_loss", spoiled)
    raw = raw_recipe(log_steps=50, save_minutes=1e-6 if step == 2 else 60, tokens_per_batch=1100)
    raw["data"] = {"train": {"path": str(short_dialogues("en-train", 5, 1))}}
    with pytest.raises(RolesumError, match=f"the loss is no longer a number at step {step}"):
        train(parse_recipe(raw, "test"), tmp_path / "run", device="cpu")
    run = Run(tmp_path / "run")
    assert not run.adapter.exists()
    assert run.last_checkpoint() == (run.checkpoints / "checkpoint-1" if step == 2 else None)


def test_a_validation_loss_that_is_no_number_stops_the_run(tmp_path, monkeypatch):
    summed = loss._summed_loss
    monkeypatch.setattr(
        loss, "_summed_loss", lambda model, *rest: summed(model, *rest) * (1.0 if model.training else 1e400)
    )
    with pytest.raises(RolesumError, match="the validation loss is no longer a number"):
        train(recipe(), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run" / "adapter").exists()


def test_the_losses_logged_after_a_resume_are_all_there(tmp_path):
    """A run that stops between two lines of the log: its lines' losses, times their steps, sum to the whole run's."""
    raw = raw_recipe(log_steps=4, tokens_per_batch=1100, epochs=2)
    raw["data"] = {"train": {"path": str(short_dialogues("en-train", 5, 1))}}
    chosen = parse_recipe(raw, "test")

    def total(run):
        rows = [row for row in read_metrics(run.metrics) if "loss" in row]
        steps = [row["step"] for row in rows]
        spans = [at - before for before, at in pairwise([0, *steps])]
        return steps, sum(row["loss"] * span for row, span in zip(rows, spans, strict=True))

    whole, expected = total(train(chosen, tmp_path / "whole", device="cpu"))
    for _ in range(2):
        with pytest.raises(Interrupted):
            train(chosen, tmp_path / "run", device="cpu", max_minutes=0, resume=(tmp_path / "run").exists())
    steps, found = total(train(chosen, tmp_path / "run", device="cpu", resume=True))
    assert (whole, steps) == ([1, 4, 6], [1, 2, 4, 6])
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_run_does_not_go_on_in_another_dtype(tmp_path, monkeypatch):
    """auto is what is fast on the machine."""
    chosen = parse_recipe(raw_recipe() | {"dtype": "auto"}, "test")
    monkeypatch.setattr(loading, "choose_dtype", lambda *_: DtypeChoice(torch.bfloat16, "for the test"))
    with pytest.raises(Interrupted):
        train(chosen, tmp_path / "run", device="cpu", max_minutes=0)
    monkeypatch.setattr(loading, "choose_dtype", lambda *_: DtypeChoice(torch.float32, "for the test"))
    with pytest.raises(UsageError, match=r"began in bfloat16, and dtype: auto is float32 on this device"):
        train(chosen, tmp_path / "run", device="cpu", resume=True)


def test_resume_after_the_data_changed_is_refused(tmp_path):
    data = tmp_path / "train.jsonl"
    data.write_text(short_dialogues().read_text())
    raw = raw_recipe()
    raw["data"] = {"train": {"path": str(data)}}
    run = train(parse_recipe(raw, "test"), tmp_path / "run", device="cpu")
    shutil.rmtree(run.adapter)  # as if it had been stopped
    data.write_text("\n".join(data.read_text().splitlines()[:3]))
    with pytest.raises(UsageError, match="data changed since this run began"):
        train(parse_recipe(raw, "test"), tmp_path / "run", resume=True, device="cpu")


def test_a_misspelt_lora_target_is_refused_though_another_matches(tmp_path):
    raw = {**raw_recipe(), "lora": {"targets": ["q_proj", "v_porj"]}}
    with pytest.raises(UsageError, match="no module v_porj"):
        train(parse_recipe(raw, "test"), tmp_path / "run", device="cpu")


def test_missing_data_leaves_nothing_written(tmp_path):
    raw = {**raw_recipe(), "data": {"train": {"path": "nowhere.jsonl"}}}
    with pytest.raises(DataError, match="cannot read the file"):
        train(parse_recipe(raw, "test"), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_metrics_line_that_was_cut_short_is_passed_over(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 5, "loss": 2.0}\n{"step": 10, "lo')
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 5, "loss": 2.0}]


def test_the_peak_of_memory_is_the_process_own_and_not_its_parents():
    """Linux hands the highest ru_maxrss on to a child that is started by vfork."""
    held = bytearray(700_000_000)
    held[::4096] = b"x" * len(held[::4096])
    imports = "from rolesum.training.cost_model import measured_peak_memory; import torch"
    program = f"{imports}; print(measured_peak_memory(torch.device('cpu')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 100e6 < int(done.stdout) < 690e6 < measured_peak_memory(torch.device("cpu"))
