"""Benchmarks are tried out on a processor, at toy size: else nobody would notice that one of them broke."""

import json
import sys
from pathlib import Path

import pytest

from helpers.children import run_script
from helpers.small_runs import recipe, trained
from helpers.tiny import model_dir
from helpers.verify_runs import verify_recipe
from rolesum.dialogue import make_bundle
from rolesum.evaluation.model_metrics.log_probability import summary_logprobs
from rolesum.formats import ReadOptions, find_dialogue, read_dialogues
from rolesum.models.loading import load_model

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from decode_step import likelihood  # noqa: E402
from page import example, filled  # noqa: E402

TOY = ("--device", "cpu", "--layers", "1", "--hidden", "64", "--vocab", "256", "--dialogues", "3", "--shapes", "csds")


@pytest.mark.slow
def test_gpu_7b_measures_both_layouts_at_toy_size(tmp_path):
    done = run_script(BENCHMARKS / "gpu_7b.py", *TOY, "--trl", "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "gpu_7b.json").read_text())["rows"]
    assert [row["variant"] for row in rows] == ["shared prefix", "one example a row"]
    assert all(row["examples_per_second"] > 0 for row in rows), rows


@pytest.mark.slow
def test_examples_hold_each_dialogue_and_what_a_terminal_shows_of_its_summaries(tmp_path):
    adapter = trained(tmp_path / "first", recipe()).adapter
    chats = ("--data", "sample:dialogues-en-test", "--ids", "en-0113", "--roles", "overall", "user")
    toy = ("--device", "cpu", "--dtype", "float32", "--max-new-tokens", "8", "--results", tmp_path)
    done = run_script(BENCHMARKS / "examples.py", "--adapter", adapter, *chats, *toy)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "examples.json").read_text())["rows"]
    assert [(row["id"], row["role"]) for row in rows] == [("en-0113", "overall"), ("en-0113", "user")]
    page = filled("# R\n\n<!-- from examples.json: example-en -->\n<!-- end -->\n", tmp_path)
    turns = find_dialogue("sample:dialogues-en-test", "en-0113").turns
    assert f"{turns[-1].speaker}: {turns[-1].text}\n```\n" in page and "\n[user]\n" in page


def test_an_example_shows_a_dialogue_and_its_summaries_as_a_terminal_does():
    row = {"language": "zh", "id": "1", "turns": [["客人", "取消"], ["前台", "好"]]}
    rows = [
        {**row, "role": "overall", "shown": "[overall]\na|b"},
        {**row, "role": "user", "shown": "[user]\nc (?)\n(?) the dialogue may not say this: support 0.2"},
        {**row, "language": "en", "role": "user", "shown": "[user]\nd"},
    ]
    assert example(rows, "example-zh").splitlines() == [
        *("```", "客人: 取消", "前台: 好", "```", ""),
        *("```", "[overall]", "a|b", "", "[user]", "c (?)", "(?) the dialogue may not say this: support 0.2", "```"),
    ]


@pytest.mark.slow
def test_few_dialogues_trains_from_base_and_adapter_and_scores_both_at_toy_size(tmp_path):
    first = trained(tmp_path / "first", recipe())
    toy = ("--device", "cpu", "--dtype", "float32", "--counts", "2", "--limit", "2", "--max-new-tokens", "8")
    changes = ("--set", "data.validation=null", "--set", "validation.keep=last", "--set", "training.epochs=1")
    where = ("--adapter", first.adapter, "--work", tmp_path / "work", "--results", tmp_path)
    data = ("--train", "sample:dialogues-en-train", "--test", "sample:dialogues-en-test", "--roles", "user,agent")
    done = run_script(BENCHMARKS / "few_dialogues.py", *toy, *changes, *where, *data)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "few_dialogues.json").read_text())["rows"]
    systems = ["zero-shot", "adapter", "base-2", "adapter-2"]
    assert [row["system"] for row in rows] == [name for name in systems for _ in ("user", "agent")]
    notes = {
        name: json.loads((tmp_path / "work" / name / "adapter" / "rolesum.json").read_text()) for name in systems[2:]
    }
    assert notes["base-2"]["roles"] == ["user", "agent"]
    assert notes["base-2"]["base_adapter"] is None and notes["base-2"]["base"] == notes["adapter-2"]["base"]
    assert notes["adapter-2"]["base_adapter"]["name"] == str(first.adapter)


@pytest.mark.slow
def test_verification_times_three_ways_that_give_the_same_at_toy_size(tmp_path):
    run = trained(tmp_path / "run", verify_recipe())
    toy = ("--device", "cpu", "--dtype", "float32", "--limit", "3", "--max-new-tokens", "16", "--rounds", "1")
    done = run_script(BENCHMARKS / "verification.py", *toy, "--adapter", run.adapter, "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "verification.json").read_text())
    alone, follow_up, separate = record["rows"]
    assert alone["share"] == 0 and follow_up["statements"] == separate["statements"] > 0
    assert record["headline"]["equal_texts"] and record["headline"]["largest_difference"] < 1e-5


def test_the_likelihood_of_references_is_that_of_each_alone():
    loaded = load_model(model_dir("llama"), dtype="float32", device="cpu")
    dialogues = read_dialogues("sample:dialogues-en-test", ReadOptions(limit=2))
    bundles = [make_bundle(one, ("overall", "user", "agent", "brief"), "first") for one in dialogues]
    found = summary_logprobs(loaded, loaded.layout(), bundles)
    expected = [-one for of_dialogue in found for of in of_dialogue for one in of]
    assert likelihood(loaded, "sample:dialogues-en-test", 2) == pytest.approx(sum(expected) / len(expected), abs=1e-5)
