"""A run's directory and its checkpoints under bad luck and bad use: damage, two at a time, files of others."""

import json
import shutil
import time
from pathlib import Path

import pytest
import torch
import yaml

from helpers.children import CHILDREN
from helpers.small_runs import TRAIN, raw_recipe, recipe, same, trained, weights
from rolesum.errors import ResourceError, RolesumError, UsageError
from rolesum.recipe import dump_recipe
from rolesum.training import Interrupted, Run, finetune, train
from rolesum.training.callbacks import StopOnNaN
from rolesum.training.run_directory import is_complete, lock_run


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run of six steps that was stopped twice, after steps 1 and 2."""
    run = Run(tmp_path_factory.mktemp("stopped") / "run")
    for number in range(2):
        with pytest.raises(Interrupted):
            trained(run.path, chosen(), max_minutes=0, resume=number > 0)
    assert [one.name for one in sorted(run.checkpoints.iterdir())] == ["checkpoint-1", "checkpoint-2"]
    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("whole") / "run", chosen())


@pytest.fixture
def run(stopped, tmp_path):
    return Run(shutil.copytree(stopped.path, tmp_path / "run"))


def chosen():
    return recipe(training={"epochs": 2}, lora={"dropout": 0.1})


def resumed(run):
    return trained(run.path, chosen(), resume=True)


FILES = ["optimizer.pt", "scheduler.pt", "rng_state.pth", "adapter_model.safetensors", "trainer_state.json"]


@pytest.mark.parametrize("damage", ["gone", "cut short", "empty"])
@pytest.mark.parametrize("file", FILES)
def test_a_checkpoint_with_a_file_that_is_not_whole_is_passed_over(file, damage, run, whole, capsys):
    path = run.checkpoints / "checkpoint-2" / file
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if damage == "cut short" else 0])
    resumed(run)
    assert "checkpoint-2 is incomplete and is skipped" in capsys.readouterr().err
    assert same(weights(run), weights(whole))


@pytest.mark.parametrize("file", [file for file in FILES if file != "trainer_state.json"])
def test_a_checkpoint_of_the_right_size_with_other_bytes_is_an_error_that_says_what_to_do(file, run, whole):
    path = run.checkpoints / "checkpoint-2" / file
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(ResourceError, match="the checkpoint cannot be read") as caught:
        resumed(run)
    assert "checkpoint-2" in str(caught.value) and "remove it" in str(caught.value)
    shutil.rmtree(run.checkpoints / "checkpoint-2")
    assert same(weights(resumed(run)), weights(whole))


@pytest.mark.parametrize("state", ["[]", "null", '{"global_step": 999}', '{"global_step": "2"}'])
def test_a_state_of_another_step_is_no_whole_checkpoint(state, run):
    checkpoint = run.checkpoints / "checkpoint-2"
    assert is_complete(checkpoint)
    (checkpoint / "trainer_state.json").write_text(state)
    sizes = json.loads((checkpoint / "sizes.json").read_text())
    (checkpoint / "sizes.json").write_text(json.dumps(sizes | {"trainer_state.json": len(state)}))
    assert not is_complete(checkpoint)


@pytest.mark.parametrize("text", [None, "[]", "{"], ids=["gone", "no mapping", "broken"])
def test_a_run_whose_environment_is_lost_is_not_resumed(text, run):
    run.environment.unlink() if text is None else run.environment.write_text(text)
    with pytest.raises(UsageError, match=r"data and base and instructions changed|no run of rolesum wrote"):
        resumed(run)


def test_a_recipe_that_is_no_text_is_another_one(run):
    run.recipe.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="the recipe differs"):
        resumed(run)


def test_a_recipe_of_other_settings_is_refused_by_their_keys_but_its_note_may_change(run):
    began = yaml.safe_load(run.recipe.read_text())
    began["training"] |= {"seed": 2, "log_steps": 7}
    run.recipe.write_text(yaml.safe_dump(began | {"note": "another", "unknown": 1}))
    with pytest.raises(UsageError, match=r"began with: training\.log_steps, training\.seed, unknown\n"):
        resumed(run)
    began["training"] |= yaml.safe_load(dump_recipe(chosen()))["training"]
    run.recipe.write_text(yaml.safe_dump(began | {"note": "another"}))
    resumed(run)


def hold(path, is_held):
    with lock_run(Run(path)):
        is_held.set()
        time.sleep(60)


@pytest.mark.parametrize("resume", [False, True])
def test_a_directory_that_another_process_trains_into_is_refused(resume, run, tmp_path):
    path = run.path if resume else tmp_path / "new"
    is_held = CHILDREN.Event()
    other = CHILDREN.Process(target=hold, args=(path, is_held))
    other.start()
    assert is_held.wait(60)
    with pytest.raises(UsageError, match=f"in use by process {other.pid}"):
        trained(path, chosen(), resume=resume)
    other.kill()
    other.join()
    assert trained(path, chosen(), resume=resume).adapter.is_dir()
    assert not Run(path).lock.exists()


def test_a_run_that_was_finished_meanwhile_is_not_trained_over(tmp_path, monkeypatch):
    """Both looked at an empty directory; one was first."""
    out, load = tmp_path / "run", finetune.load_weights

    def slow(*args, **options):
        monkeypatch.setattr(finetune, "load_weights", load)
        trained(out, recipe())
        return load(*args, **options)

    monkeypatch.setattr(finetune, "load_weights", slow)
    with pytest.raises(UsageError, match="holds a finished run"):
        trained(out, recipe(training={"epochs": 2}))
    assert yaml.safe_load(Run(out).recipe.read_text())["training"]["epochs"] == 1


def test_the_lock_leaves_nothing(tmp_path):
    with lock_run(Run(tmp_path / "run")):
        assert Run(tmp_path / "run").lock.exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["recipe.yaml", "metrics.jsonl", "environment.json", "adapter", "checkpoints"])
def test_a_directory_with_files_of_somebody_elses_is_refused_and_left_as_it_is(name, tmp_path):
    mine = tmp_path / name
    mine.write_text("{} # mine")
    with pytest.raises(UsageError, match=f"what no run of rolesum wrote: {name}"):
        trained(tmp_path, recipe())
    assert [path.name for path in tmp_path.iterdir()] == [name] and mine.read_text() == "{} # mine"


def test_other_files_in_a_runs_directories_stay(tmp_path):
    for folder in ("best", "checkpoints"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.txt").write_text("mine")
    run = trained(tmp_path, recipe(validation={"keep": "best"}))
    assert run.adapter.is_dir()
    for folder in (run.best, run.checkpoints):
        assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_a_place_where_nothing_can_be_written_is_refused_before_the_base_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "load_prompt_model", lambda *_: pytest.fail("it was loaded"))
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("long" * 100)):
        with pytest.raises(ResourceError, match="cannot be a directory"):
            trained(path, recipe())


def test_weights_that_are_no_numbers_are_not_written(tmp_path, monkeypatch):
    """Of the last update: its loss was one still."""
    step = torch.optim.AdamW.step

    def spoiling(self, *args, **kwargs):
        done = step(self, *args, **kwargs)
        with torch.no_grad():
            self.param_groups[0]["params"][0].fill_(float("nan"))
        return done

    monkeypatch.setattr(torch.optim.AdamW, "step", spoiling)
    raw = raw_recipe(training={"gradient_accumulation": 1000}) | {"data": {"train": {"path": str(TRAIN)}}}
    with pytest.raises(RolesumError, match="the trained weights are no longer numbers"):
        trained(tmp_path / "run", recipe(training=raw["training"], data=raw["data"]))
    assert not Run(tmp_path / "run").adapter.exists()


def test_a_loss_that_is_no_number_is_an_error_in_every_process():
    for logs in ({"loss": float("nan")}, {"eval_loss": float("inf")}):
        with pytest.raises(RolesumError, match="no longer a number"):
            StopOnNaN().on_log(None, type("State", (), {"global_step": 3}), None, logs=logs)
    StopOnNaN().on_log(None, None, None, logs={"loss": 1.0, "grad_norm": float("nan")})


def test_memory_that_a_processor_does_not_have_is_a_resource_error(tmp_path, monkeypatch):
    def asks_too_much(*_):
        return torch.empty(2**55, dtype=torch.uint8)

    monkeypatch.setattr(finetune, "_fit", asks_too_much)
    with pytest.raises(ResourceError, match="do not fit the device's memory") as caught:
        train(recipe(), tmp_path / "run", device="cpu")
    assert "tokens_per_batch" in str(caught.value)
    assert not Path(tmp_path / "run" / ".lock").exists()
