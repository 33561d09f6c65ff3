"""A run that is killed, or whose disk is full, at any moment goes on from a whole checkpoint to the same adapter."""

import errno
import importlib
import os
import shutil
import signal
import time
from operator import attrgetter

import pytest
import torch
from safetensors.torch import load_file
from torch import distributed

from helpers.children import CHILDREN
from helpers.tiny import model_dir, short_dialogues
from rolesum import atomic_io
from rolesum.errors import ResourceError, UsageError
from rolesum.recipe_loading import parse_recipe
from rolesum.training import Interrupted, Run, train, trainer
from rolesum.training.metrics_file import read_metrics

STEPS = 9
LEFT_BY_A_RUN = {"adapter", "recipe.yaml", "metrics.jsonl", "environment.json"}


def recipe(keep="last", dropout=0.0):
    """Nine steps with a checkpoint after each, and an evaluation after every third."""
    raw = {
        "name": "tiny",
        "base": str(model_dir("llama")),
        "data": {
            "train": {"path": str(short_dialogues("en-train", 5, 1))},
            "validation": {"path": str(short_dialogues("en-test", 3, 1))},
        },
        "lora": {"rank": 4, "alpha": 8, "dropout": dropout},
        "training": {
            "epochs": 3,
            "tokens_per_batch": 1100,
            "learning_rate": 0.01,
            "log_steps": 1,
            "save_minutes": 1e-6,
        },
        "validation": {"per_epoch": 1, "keep": keep},
    }
    return parse_recipe(raw, "test")


def weights(run):
    return load_file(run.adapter / "adapter_model.safetensors")


def assert_as_if_never_killed(run, unkilled, left=LEFT_BY_A_RUN):
    """Bit for bit the same adapter, line for line the same metrics, and nothing left lying about."""
    ours, theirs = weights(run), weights(unkilled)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert read_metrics(run.metrics) == read_metrics(unkilled.metrics)
    assert {path.name for path in run.path.iterdir()} == left


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Sums are added up in the same order here and in the children."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory):
    """Unkilled runs by keep and dropout, each made once."""
    made = {}

    def run(keep="last", dropout=0.0):
        if (keep, dropout) not in made:
            folder = tmp_path_factory.mktemp("unkilled") / "run"
            made[keep, dropout] = train(recipe(keep, dropout), folder, device="cpu")
        return made[keep, dropout]

    return run


def train_in_child(chosen, out, resume):
    torch.set_num_threads(1)
    train(chosen, out, resume=resume, device="cpu")


def train_until(chosen, out, place, when, after):
    """Train, and be gone at a call of `place`, "module:name", before or after it has worked.

    `when` is the number of the call, or a text that its arguments hold.
    """
    module, _, name = place.partition(":")
    *owner, last = name.split(".")
    target = attrgetter(".".join(owner))(importlib.import_module(module)) if owner else importlib.import_module(module)
    original = getattr(target, last)
    calls = 0

    def counted(*args, **kwargs):
        nonlocal calls
        calls += 1
        now = calls == when or (isinstance(when, str) and when in " ".join(map(str, args)))
        if now and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(target, last, counted)
    train_in_child(chosen, out, False)


def killed(chosen, out, place, when, after=False):
    child = CHILDREN.Process(target=train_until, args=(chosen, out, place, when, after))
    child.start()
    child.join(240)
    assert child.exitcode == -signal.SIGKILL
    return Run(out)


WATCH = "rolesum.training.callbacks"
TRAINER = "rolesum.training.trainer:RoleTrainer"

# Where, at which call, before or after it; and the step of the newest whole checkpoint that the kill leaves.
MOMENTS = {
    "before the first checkpoint": (f"{WATCH}:ProgressLine.on_step_end", 1, False, None),
    "after a step's update": (f"{WATCH}:ProgressLine.on_step_end", 5, False, 4),
    "after a line of metrics": (f"{WATCH}:MetricsFile.on_log", 3, True, 2),
    "in an evaluation": (f"{TRAINER}.evaluate", 2, False, 5),
    "with the first checkpoint half written": (f"{TRAINER}._save_rng_state", 1, False, None),
    "with a later checkpoint half written": (f"{TRAINER}._save_rng_state", 4, False, 3),
    "with a checkpoint written and not named": ("rolesum.training.trainer:finish_checkpoint", 4, False, 3),
    "with a checkpoint named and the oldest not removed": ("pathlib:Path.rename", 4, True, 4),
    "after the last checkpoint": ("rolesum.training.finetune:_save", 1, False, STEPS),
    "with the adapter half written": ("rolesum.atomic_io:flush_to_disk", "/.adapter.rolesum-", False, STEPS),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed_a_run_ends_as_if_never_killed(moment, tmp_path, unkilled):
    place, when, after, step = MOMENTS[moment]
    run = killed(recipe(), tmp_path / "run", place, when, after)
    checkpoint = run.last_checkpoint()
    assert (checkpoint and checkpoint.name) == (step and f"checkpoint-{step}")
    assert not run.adapter.exists()
    train(recipe(), run.path, resume=True, device="cpu")
    assert_as_if_never_killed(run, unkilled())


BEST_MOMENTS = {
    "before a new best is written": ("rolesum.training.result:save_adapter", 2, False),
    "with a new best half written": ("rolesum.atomic_io:flush_to_disk", "best/.6.rolesum-", False),
    "with a new best and no checkpoint that knows it": (f"{WATCH}:KeepBest.on_evaluate", 2, True),
    "with an older best not yet removed": (f"{WATCH}:KeepBest.on_save", 6, False),
    "between two evaluations": (f"{WATCH}:ProgressLine.on_step_end", 8, False),
    "before the best takes its place": ("rolesum.training.run_directory:Run.result", 1, False),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", BEST_MOMENTS)
def test_killed_and_resumed_a_run_with_dropout_that_keeps_its_best_ends_as_if_never_killed(moment, tmp_path, unkilled):
    chosen = recipe("best", dropout=0.2)
    run = killed(chosen, tmp_path / "run", *BEST_MOMENTS[moment])
    train(chosen, run.path, resume=True, device="cpu")
    assert_as_if_never_killed(run, unkilled("best", 0.2))


@pytest.mark.slow
def test_killed_from_outside_again_and_again_a_run_ends_as_if_never_killed(tmp_path, unkilled):
    run = Run(tmp_path / "run")
    kills = 0
    for delay in (0.0, 0.05, 0.1, 0.15, 0.2, 0.25):
        known = run.last_checkpoint()
        child = CHILDREN.Process(target=train_in_child, args=(recipe(), run.path, run.recipe.is_file()))
        child.start()
        deadline = time.monotonic() + 120
        while child.is_alive() and run.last_checkpoint() == known and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(delay)
        child.kill()
        child.join(60)
        kills += child.exitcode == -signal.SIGKILL
        if run.adapter.exists():
            break
    assert kills >= 3
    tidied = LEFT_BY_A_RUN
    if not run.adapter.exists():
        train(recipe(), run.path, resume=True, device="cpu")
    else:  # killed among its last acts, or not at all
        tidied = LEFT_BY_A_RUN | {one.name for one in (run.checkpoints, run.path / ".lock") if one.exists()}
    assert_as_if_never_killed(run, unkilled(), tidied)


@pytest.mark.slow
def test_killed_after_its_adapter_was_written_a_run_is_finished(tmp_path, unkilled):
    run = killed(recipe(), tmp_path / "run", "rolesum.training.finetune:finish_run", 1)
    expected = weights(unkilled())
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(run).items())
    with pytest.raises(UsageError, match="is finished already"):
        train(recipe(), run.path, resume=True, device="cpu")


def stopped(chosen, out):
    """A run that was stopped after its first step."""
    with pytest.raises(Interrupted, match="stopped at step 1 of 9"):
        train(chosen, out, max_minutes=1e-6, device="cpu")
    return Run(out)


@pytest.mark.slow
def test_with_dropout_a_stopped_run_resumes_bit_for_bit(tmp_path, unkilled):
    run = stopped(recipe(dropout=0.2), tmp_path / "run")
    train(recipe(dropout=0.2), run.path, resume=True, device="cpu")
    assert_as_if_never_killed(run, unkilled(dropout=0.2))
    other = weights(unkilled())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in weights(run).items())  # it does drop


def test_a_checkpoint_that_was_being_written_is_not_resumed_from(tmp_path, unkilled):
    run = stopped(recipe(), tmp_path / "run")
    unfinished = run.checkpoints / ".unfinished" / "checkpoint-5"
    shutil.copytree(run.checkpoints / "checkpoint-1", unfinished)  # it looks whole, and says step 5
    state = unfinished / "trainer_state.json"
    state.write_text(state.read_text().replace('"global_step": 1', '"global_step": 5'))
    assert '"global_step": 5' in state.read_text()
    (unfinished / "optimizer.pt").write_bytes(b"half")
    assert run.last_checkpoint() == run.checkpoints / "checkpoint-1"
    train(recipe(), run.path, resume=True, device="cpu")
    assert_as_if_never_killed(run, unkilled())


FULL = OSError(errno.ENOSPC, "No space left on device")
TORN = RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")  # torch.save's for the same


@pytest.mark.parametrize(
    ("owner", "name", "error"),
    [
        pytest.param(torch, "save", FULL, id="in torch.save"),
        pytest.param(torch, "save", TORN, id="in torch.save as torch tells it"),
        pytest.param(trainer.RoleTrainer, "save_model", FULL, id="in the weights"),
        pytest.param(atomic_io, "flush_to_disk", FULL, id="on the way to the disk"),
    ],
)
def test_a_full_disk_in_a_checkpoint_is_a_resource_error_and_keeps_the_ones_before(
    owner, name, error, tmp_path, monkeypatch, unkilled
):
    original = getattr(owner, name)

    def failing(*args, **kwargs):
        if "checkpoint-5" in " ".join(map(str, args)):
            raise error
        return original(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, failing)
        with pytest.raises(ResourceError, match="could not write a checkpoint") as caught:
            train(recipe(), tmp_path / "run", device="cpu")
    assert "free some disk space" in str(caught.value) and "--resume" in str(caught.value)
    run = Run(tmp_path / "run")
    assert {path.name for path in run.checkpoints.iterdir()} == {"checkpoint-3", "checkpoint-4"}
    assert not run.adapter.exists()
    train(recipe(), run.path, resume=True, device="cpu")
    assert_as_if_never_killed(run, unkilled())


def test_no_more_than_two_checkpoints_are_kept_and_they_are_the_newest(tmp_path, monkeypatch):
    kept = []
    original = trainer.finish_checkpoint

    def noting(written, folder):
        original(written, folder)
        kept.append({path.name for path in folder.glob("checkpoint-*")})

    monkeypatch.setattr(trainer, "finish_checkpoint", noting)
    train(recipe(), tmp_path / "run", device="cpu")
    assert kept == [{f"checkpoint-{number}" for number in (step - 1, step) if number} for step in range(1, STEPS + 1)]


def test_a_process_that_is_lost_while_a_checkpoint_is_written_is_not_told_as_a_full_disk(tmp_path):
    lost = distributed.DistBackendError("connection closed by peer")
    with pytest.raises(distributed.DistBackendError), trainer.RoleTrainer._disk_errors(None, tmp_path / "unfinished"):
        raise lost


@pytest.mark.parametrize("write", ["a file", "a directory"])
def test_what_is_written_whole_is_on_the_disk_before_it_has_its_name_and_then_its_name_is(write, tmp_path, monkeypatch):
    flushed = []
    flush = atomic_io.flush_to_disk
    target = tmp_path / "new"

    def noting(path):
        flushed.append((path.name, target.exists()))
        flush(path)

    monkeypatch.setattr(atomic_io, "flush_to_disk", noting)
    if write == "a file":
        atomic_io.atomic_write_text(target, "text")
        assert flushed == [(".new.tmp", False), (tmp_path.name, True)]
    else:
        with atomic_io.atomic_directory(target) as work:
            (work / "inside").write_text("text")
        assert flushed == [("inside", False), (work.name, False), (tmp_path.name, True)]
