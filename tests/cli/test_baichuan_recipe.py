"""The paper's recipe, from the data check to the export, on a tiny checkpoint of Baichuan2-7B's architecture."""

import json

import pytest
from typer.testing import CliRunner

from helpers.tiny_checkpoints import write_tiny_checkpoint
from rolesum.cli.main import app
from rolesum.training.metrics_file import read_metrics


def rolesum(*words):
    """What a command prints; it must succeed."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def settings(**values):
    return [word for key, value in values.items() for word in ("--set", f"{key.replace('__', '.')}={value}")]


def whole_way(folder, train, test, limit, budget, tokenizer=None):
    base, run = folder / "base", folder / "run"
    write_tiny_checkpoint("baichuan2-7b", base, tokenizer)
    rolesum("data", "check", train)
    # As the recipe says, but for less: one small batch a step, float32, and no warm-up of a share of 20 steps.
    less = settings(
        base=base,
        data__train={"path": str(train), "limit": limit},
        data__validation={"path": str(test), "limit": 3},
        data__test={"path": str(test)},
        dtype="float32",
        training__epochs=1,
        training__tokens_per_batch=budget,
        training__gradient_accumulation=1,
        training__learning_rate=0.003,
        training__log_steps=1,
    )
    steps = json.loads(rolesum("plan", "baichuan2-7b-csds", *less, "--json"))["steps"]
    rolesum("train", "baichuan2-7b-csds", *less, "--out", run)
    losses = [row["loss"] for row in read_metrics(run / "metrics.jsonl") if "loss" in row]
    assert len(losses) == steps >= 20 and losses[-1] < losses[0]
    how = ("--data", test, "--limit", 3, "--max-new-tokens", 12, "--dtype", "float32", "--json")
    tuned = json.loads(rolesum("evaluate", "--adapter", run / "adapter", *how))
    assert set(tuned["roles"]) == {"overall", "user", "agent"}
    said = rolesum("export", run, "--to", "llama", "--out", folder / "llama")
    assert "LlamaForCausalLM" in said and "reloaded in a fresh process" in said
    again = json.loads(rolesum("evaluate", "--model", folder / "llama", *how))
    assert again["roles"] == tuned["roles"]


def test_on_the_bundled_dialogues(tmp_path):
    whole_way(tmp_path, "sample:zh-train", "sample:zh-test", 30, 2048)


@pytest.mark.slow
def test_on_csds_with_the_real_tokenizer(tmp_path, shared):
    tokenizer = shared / "tokenizers" / "baichuan2-7b" / "tokenizer.model"
    csds = shared / "data" / "csds"
    whole_way(tmp_path, csds / "val_reconstructed.json", csds / "test.json", 44, 1024, tokenizer)
