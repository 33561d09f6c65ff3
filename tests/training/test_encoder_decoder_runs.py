"""The verbs over encoder-decoders: train, validate, summarize on the way, stop, go on, save, load, evaluate, plan."""

import json

import pytest
import torch
from safetensors.torch import load_file

from helpers.small_runs import HELD_OUT, TRAIN, cut_at, evaluations, raw_recipe, same, trained, weights
from helpers.tiny_seq2seq import seq2seq_dir
from rolesum.errors import DataError
from rolesum.evaluation.run import EvaluationTask, evaluate_model
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation import Decoding
from rolesum.generation.factory import EngineSpec
from rolesum.generation.summarizer import summarize_dialogues
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.models.checkpoint import read_tensor
from rolesum.models.loading import load_model, load_prompt_model
from rolesum.recipe_loading import parse_recipe
from rolesum.training import data as training_data
from rolesum.training.inspect import inspect_dialogue
from rolesum.training.plan import plan

KINDS = ("bart", "mbart", "mbart50", "pegasus", "t5", "mt5")


def recipe(kind, **sections):
    return parse_recipe(raw_recipe(**sections) | {"base": str(seq2seq_dir(kind))}, "test")


@pytest.mark.parametrize("kind", KINDS)
def test_training_lowers_the_loss_and_the_adapter_loads_and_summarizes(kind, tmp_path):
    chosen = recipe(kind, training={"epochs": 6, "learning_rate": 0.03}, neftune={"alpha": 5.0})
    run = trained(tmp_path / "run", chosen)
    losses = list(evaluations(run).values())
    assert len(losses) >= 3 and losses[-1] < losses[0] - 0.05
    loaded = load_model(adapter=run.adapter, device="cpu", dtype="float32")
    assert loaded.path == seq2seq_dir(kind)
    assert json.loads((run.adapter / "adapter_config.json").read_text())["task_type"] == "SEQ_2_SEQ_LM"
    spec = EngineSpec(adapter=run.adapter, device="cpu")
    texts = summarize_dialogues(read_dialogues(HELD_OUT), SummarizerConfig(spec, decoding=Decoding(max_new_tokens=4)))
    assert len(texts) == 3 and all(len(of_dialogue) == 3 for of_dialogue in texts)


def test_the_validation_loss_is_the_librarys_mean_over_all_target_tokens(tmp_path):
    run = trained(tmp_path / "run", recipe("t5"))
    loaded = load_model(adapter=run.adapter, device="cpu", dtype="float32")
    side, chosen = load_prompt_model(seq2seq_dir("t5")), recipe("t5")
    encoded = training_data.read_validation_data(chosen, side).encoded
    total = tokens = 0.0
    for bundle in encoded:
        (branch,) = bundle.branches
        source, target = [*bundle.prefix, *branch.ids[: -branch.targets]], branch.ids[-branch.targets :]
        with torch.no_grad():
            mean = loaded.model(input_ids=torch.tensor([source]), labels=torch.tensor([target])).loss.item()
        total, tokens = total + mean * branch.targets, tokens + branch.targets
    assert list(evaluations(run).values())[-1] == pytest.approx(total / tokens, rel=1e-5)


def test_a_stopped_run_goes_on_bit_for_bit_with_dropout_noise_and_summaries_on_the_way(tmp_path, monkeypatch):
    def chosen():
        return recipe(
            "bart-dropout",
            training={"epochs": 2},
            neftune={"alpha": 5.0},
            validation={"summaries": 2, "max_new_tokens": 8},
        )

    whole = trained(tmp_path / "whole", chosen())
    assert evaluations(whole, "eval_rouge1").keys() == evaluations(whole).keys()
    cut_at(2, tmp_path / "run", chosen(), monkeypatch)
    resumed = trained(tmp_path / "run", chosen(), resume=True)
    assert same(weights(resumed), weights(whole))
    assert evaluations(resumed) == evaluations(whole)


@pytest.mark.parametrize("kind", ["bart", "t5", "pegasus"])
def test_all_weights_are_trained_saved_and_loaded(kind, tmp_path):
    run = trained(tmp_path / "run", recipe(kind, method="full", training={"learning_rate": 0.01}))
    before, after = (load_file(path / "model.safetensors") for path in (seq2seq_dir(kind), run.model))
    assert before.keys() == after.keys()
    unchanged = {name for name in before if torch.equal(before[name], after[name])}
    fixed = ("final_logits_bias", "k_proj.bias", *(("embed_positions.weight",) if kind == "pegasus" else ()))
    assert all(name.endswith(fixed) for name in unchanged)  # a key's bias changes no attention
    loaded = load_model(run.model, device="cpu")
    assert loaded.metadata["roles"] == ["overall", "user", "agent"]


def test_evaluation_leaves_predictions_and_a_report(tmp_path):
    done = evaluate_model(
        EvaluationTask(str(HELD_OUT), read_options=ReadOptions(limit=2), out=tmp_path / "out"),
        SummarizerConfig(
            EngineSpec(model=str(seq2seq_dir("bart")), device="cpu", dtype="float32"),
            decoding=Decoding(max_new_tokens=6),
        ),
    )
    assert set(done.scores) == {"overall", "user", "agent"}
    assert {"predictions.jsonl", "results.json", "report.html"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_a_source_that_does_not_fit_is_refused_or_shortened_and_a_target_never(tmp_path):
    with pytest.raises(DataError, match="tokens to read") as caught:
        trained(tmp_path / "run", recipe("bart", training={"max_length": 100}))
    assert "drop-middle" in str(caught.value) and "raise training.max_length" in str(caught.value)
    long = tmp_path / "long.jsonl"
    value = json.loads(TRAIN.read_text().splitlines()[0])
    turn = {**value["turns"][0], "text": "My lamp broke again."}
    long.write_text(json.dumps({**value, "turns": [value["turns"][0], *[turn] * 30, value["turns"][0]]}))
    chosen = recipe(
        "bart", training={"max_length": 250, "long_dialogues": "drop-middle"}, data={"train": {"path": str(long)}}
    )
    found = training_data.read_training_data(chosen, load_prompt_model(seq2seq_dir("bart")))
    assert found.shortened == 1 and max(one.longest_source for one in found.encoded) <= 250
    long.write_text(json.dumps({**value, "summaries": {"overall": "word " * 3000}}))
    sections = {
        "training": {"long_dialogues": "drop-middle"},
        "data": {"train": {"path": str(long)}},
        "roles": ["overall"],
    }
    with pytest.raises(DataError, match="the target alone does not fit: shorten it"):
        trained(tmp_path / "run", recipe("bart", **sections))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["bart", "t5", "pegasus"])
def test_a_plan_says_why_prefixes_are_not_shared_and_measures(kind):
    made = plan(recipe(kind), device="cpu", measure=True)
    assert made.measured and made.tokens_per_second > 0 and made.trained_parameters < made.parameters
    assert any("in both directions" in note for note in made.notes)
    loaded = load_model(seq2seq_dir(kind), device="cpu")
    own = sum(one.numel() for one in loaded.model.parameters())
    assert made.parameters - made.trained_parameters == own


def test_a_plan_gives_the_settings_that_would_fit():
    made = plan(recipe("bart", training={"max_length": 100, "tokens_per_batch": 120}), device="cpu")
    told = " ".join(made.notes)
    assert "training.max_length=" in told and "training.tokens_per_batch=" in told


def test_one_dialogue_is_shown_as_source_and_target():
    side = load_prompt_model(seq2seq_dir("mbart50"))
    dialogue = read_dialogues(HELD_OUT)[0]
    shown = inspect_dialogue(side, dialogue, ("overall",), side.layout())
    assert [(one.kind, one.loss) for one in shown] == [
        ("control", False),
        ("dialogue", False),
        ("instruction", False),
        ("control", False),
        ("control", True),
        ("target", True),
        ("control", True),
    ]
    assert shown[0].tokens == shown[4].tokens == ("en_XX",)


def test_the_fingerprint_reads_the_checkpoints_own_tensors():
    loaded = load_model(seq2seq_dir("t5"), device="cpu", dtype="float32")
    name = sorted(name for name, one in loaded.model.named_parameters() if one.dim() >= 2)[0]
    found = read_tensor(seq2seq_dir("t5"), name, loaded.config)
    assert torch.equal(found, loaded.model.get_parameter(name))
