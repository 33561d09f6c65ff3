"""A model in shards (FSDP 2) trains what a whole one does, and leaves the same files.

accelerate shards on GPUs only, torch on a CPU too. So the processes of these tests tell accelerate that theirs is a GPU
run: everything behind that word is what a GPU run does, over gloo.
"""

import pytest
import torch
import yaml
from accelerate import PartialState
from accelerate.utils import DistributedType
from safetensors.torch import load_file

from helpers.children import run_in_processes
from helpers.tiny import model_dir, short_dialogues
from rolesum.errors import UsageError
from rolesum.models.attention.segments import uses_segment_attention
from rolesum.models.loading import load_prompt_model
from rolesum.recipe_loading import load_recipe
from rolesum.training import Interrupted, Run, finetune, loss, train
from rolesum.training.distributed import DistributedContext, init_distributed
from rolesum.training.forward import training_forward
from rolesum.training.metrics_file import read_metrics
from rolesum.training.run_directory import checkpoint_to_resume

CHUNK = 16  # of the loss: the two processes' batches fall into different numbers of chunks


def as_on_gpus():
    """In a process that is to train: accelerate takes it for one of a GPU run."""
    begin = PartialState.__init__

    def begin_as_on_gpus(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        if self.distributed_type is DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = begin_as_on_gpus
    loss.LOGITS_CHUNK = CHUNK
    loss.FROZEN_HEAD_CHUNK = {}


def recipe_file(folder, kind="llama", method="lora", **others):
    raw = {
        "name": "tiny",
        "base": str(model_dir(kind)),
        "dtype": "float32",
        "method": method,
        "data": {
            "train": {"path": str(short_dialogues("en-train", 6, 2))},
            "validation": {"path": str(short_dialogues("en-test", 3, 2))},
        },
        "training": {"tokens_per_batch": 900, "gradient_accumulation": 2, "learning_rate": 0.003, "log_steps": 1},
        **others,
    }
    if method == "lora":
        raw["lora"] = {"rank": 4, "alpha": 8}
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return file


def in_shards(file, out, *flags, on_cpu=True, **settings):
    """What `accelerate launch -m rolesum train` with FSDP does in two processes."""
    command = ("train", file, "--out", out, "--device", "cpu", *flags)
    environment = {"ACCELERATE_USE_FSDP": "true", **settings}
    return run_in_processes(2, *command, env=environment, before=as_on_gpus if on_cpu else None)


def whole(file, out, monkeypatch):
    monkeypatch.setattr(loss, "LOGITS_CHUNK", CHUNK)
    monkeypatch.setattr(loss, "FROZEN_HEAD_CHUNK", {})
    return train(load_recipe(file), out, device="cpu")


def weights(run):
    return load_file(next(run.path.glob("*/*.safetensors")))


def assert_same(found, expected):
    ours, theirs = weights(found), weights(expected)
    assert {name: one.shape for name, one in ours.items()} == {name: one.shape for name, one in theirs.items()}
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=1e-5, msg=name)
    rows, expected_rows = read_metrics(found.metrics), read_metrics(expected.metrics)
    assert [(row["step"], *row) for row in rows] == [(row["step"], *row) for row in expected_rows]
    for row, expected_row in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(expected_row, rel=1e-4), row["step"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "method", "others"),
    [
        ("llama", "lora", {"validation": {"keep": "best"}}),
        ("tied-llama", "full", {}),
    ],
)
def test_shards_train_what_a_whole_model_does(tmp_path, monkeypatch, kind, method, others):
    file = recipe_file(tmp_path, kind, method, **others)
    done = in_shards(file, tmp_path / "shards")
    assert done.returncode == 0, done.stderr
    assert_same(Run(tmp_path / "shards"), whole(file, tmp_path / "whole", monkeypatch))


@pytest.mark.slow
def test_shards_go_on_from_an_adapter_as_a_whole_model_does(tmp_path, monkeypatch):
    first = train(load_recipe(recipe_file(tmp_path)), tmp_path / "first", device="cpu")
    file = recipe_file(tmp_path, base_adapter=str(first.adapter))
    done = in_shards(file, tmp_path / "shards")
    assert done.returncode == 0, done.stderr
    assert_same(Run(tmp_path / "shards"), whole(file, tmp_path / "whole", monkeypatch))


@pytest.mark.slow
def test_a_sharded_run_stopped_and_resumed_ends_as_if_never_stopped(tmp_path, monkeypatch):
    file = recipe_file(tmp_path)
    stopped = in_shards(file, tmp_path / "shards", "--max-minutes", "0.0001")
    assert "stopped at step 1 of" in stopped.stderr, stopped.stderr
    resumed = in_shards(file, tmp_path / "shards", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert_same(Run(tmp_path / "shards"), whole(file, tmp_path / "whole", monkeypatch))


@pytest.mark.slow
def test_sharding_on_a_cpu_is_refused_as_accelerate_would_leave_it_out_without_a_word(tmp_path):
    done = in_shards(recipe_file(tmp_path), tmp_path / "shards", on_cpu=False)
    assert done.returncode != 0
    assert done.stderr.count("accelerate shards a model on GPUs only") == 1
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"WORLD_SIZE": "1"}, "FSDP needs several processes"),
        ({"FSDP_VERSION": "1"}, "FSDP 2 only"),
        ({"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "renames the weights"),
    ],
)
def test_what_cannot_be_done_in_shards_is_refused(monkeypatch, settings, told):
    started = {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "NO_WRAP",
        "WORLD_SIZE": "2",
    }
    for name, value in (started | settings).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=told):
        init_distributed("cpu")


def test_a_run_begun_whole_is_not_resumed_in_shards(tmp_path):
    with pytest.raises(Interrupted):
        train(load_recipe(recipe_file(tmp_path)), tmp_path / "run", device="cpu", max_minutes=0.0001)
    run = Run(tmp_path / "run")
    assert checkpoint_to_resume(run, sharded=False) == run.last_checkpoint()
    with pytest.raises(UsageError, match="began without FSDP"):
        checkpoint_to_resume(run, sharded=True)


def test_a_model_that_is_to_be_sharded_over_gpus_is_computed_as_on_a_gpu_though_it_does_not_lie_there_yet(tmp_path):
    chosen = load_recipe(recipe_file(tmp_path))
    side = load_prompt_model(chosen.base)
    target, loaded = finetune._load_base(
        chosen, side, DistributedContext(2, gpu=torch.device("cuda:0"), sharded=True), "cuda"
    )
    assert (target.type, loaded.device.type) == ("cuda", "cpu")
    with training_forward(loaded.model, loaded.family, 0.0, target):
        assert not uses_segment_attention(loaded.language_model)
    with training_forward(loaded.model, loaded.family, 0.0, loaded.device):
        assert uses_segment_attention(loaded.language_model)
