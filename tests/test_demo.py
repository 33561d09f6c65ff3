import json
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.tiny import model_dir, short_dialogues
from rolesum.cli.demo import print_result
from rolesum.demo import SMALL_RECIPE, demo_recipe, run_demo
from rolesum.dialogue import SummaryStatement
from rolesum.errors import UsageError
from rolesum.evaluation.run import EvaluationTask, evaluate_model
from rolesum.formats import ReadOptions
from rolesum.generation import Decoding
from rolesum.generation.factory import EngineSpec
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.models.bundled_adapters import adapter_for
from rolesum.recipe_loading import load_recipe, parse_recipe
from rolesum.training import train


def tiny_recipe():
    return parse_recipe(
        {
            "name": "tiny",
            "base": str(model_dir("llama")),
            "training": {"log_steps": 1},
            "data": {"train": {"path": str(short_dialogues())}, "test": {"path": str(short_dialogues("en-test", 3))}},
        },
        "test",
    )


def test_the_demo_scores_before_and_after_summarizes_and_reports(tmp_path):
    result = run_demo(tmp_path / "demo", "cpu", tiny_recipe())
    assert set(result.table()) == {"overall", "user", "agent"}
    assert [one.role for one in result.summaries["fine-tuned"]] == ["overall", "user", "agent"]
    assert set(result.systems) == {"zero-shot", "fine-tuned"}  # no adapter comes with this base
    page = result.report.read_text(encoding="utf-8")
    assert "zero-shot" in page and "fine-tuned" in page and "<svg" in page
    for name in ("zero-shot", "fine-tuned"):
        results = json.loads((result.report.parent / name / "results.json").read_text())
        assert results["system"] == name and results["dialogues"] == 3


@pytest.mark.parametrize("small", [False, True])
def test_a_bundled_adapter_stands_beside_the_demos_own(small):
    assert adapter_for(demo_recipe(small).base)


def test_what_the_demo_shows_ends_with_the_summaries_of_the_bundled_adapter(tmp_path, capsys):
    result = run_demo(tmp_path / "demo", "cpu", tiny_recipe())
    (tuned,) = result.summaries.values()
    doubted = SummaryStatement(0, 14, "It is doubted.", 0.2)
    kept = [replace(one, text=f"A {one.role} summary to keep.", finish_reason="stop") for one in tuned]
    kept[0] = replace(kept[0], text="It is doubted.", statements=(doubted,), support_threshold=0.5)
    print_result(replace(result, summaries={"bundled": kept, "fine-tuned": tuned}))
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "agent  A agent summary to keep."
    assert "overall  It is doubted. (?)\n(?) the dialogue may not say this: support 0.20\n" in said
    order = ("3 held-out dialogues", "report: ", result.dialogue.turns[0].text[:40], "fine-tuned\n", "bundled\n")
    places = [said.index(one) for one in order[:3]] + [said.index(f"each role, {one}") for one in order[3:]]
    assert places == sorted(places)


def test_a_second_demo_replaces_the_first_and_nothing_else(tmp_path):
    out = tmp_path / "demo"
    out.mkdir()
    (out / "mine.txt").write_text("keep me")
    for _ in range(2):
        run_demo(out, "cpu", tiny_recipe())
        assert (out / "report.html").exists()
    assert (out / "mine.txt").read_text() == "keep me"


@pytest.mark.embedded
@pytest.mark.slow
def test_a_short_fine_tuning_of_the_embedded_model_beats_zero_shot(tmp_path):
    less = ["data.train.limit=6", "data.validation=null", "roles=[user]", "training.tokens_per_batch=800"]
    recipe = load_recipe(SMALL_RECIPE, less)
    run = train(recipe, tmp_path / "run", device="cpu")
    scores = []
    for adapter in (None, run.adapter):
        done = evaluate_model(
            EvaluationTask("sample:en-test", roles=["user"], read_options=ReadOptions(limit=3)),
            SummarizerConfig(
                EngineSpec(model="smollm2-135m", adapter=adapter, device="cpu"), decoding=Decoding(max_new_tokens=40)
            ),
        )
        scores.append(done.scores["user"].means["rouge1"])
    assert scores[1] > scores[0] + 10
    assert Path(run.adapter / "README.md").read_text().startswith("---")


def test_a_directory_that_holds_another_run_is_refused(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: precious\ndata: {train: {path: mine.jsonl}}\n")
    with pytest.raises(UsageError, match="holds another run"):
        run_demo(tmp_path, "cpu", tiny_recipe())
    assert (tmp_path / "recipe.yaml").read_text().startswith("name: precious")
