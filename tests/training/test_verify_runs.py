"""Runs on statements: what they leave, how they weigh summaries and answers, and what they refuse."""

import json
from dataclasses import replace

import pytest

from helpers.small_runs import TRAIN, evaluations, last, raw_recipe, same, trained, weights
from helpers.tiny import folder, model_dir
from helpers.tiny_seq2seq import seq2seq_dir
from helpers.verify_runs import STATEMENTS, answer_set, many_statements, statement_file, verify_recipe
from rolesum.dialogue import Statement, make_bundle
from rolesum.errors import DataError, ModelError, UsageError
from rolesum.formats import read_dialogues
from rolesum.formats.jsonl import to_json
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.support_calibration import calibrate_support
from rolesum.generation.verification import Verifier
from rolesum.instructions import load_instruction_set
from rolesum.models.base_adapter import base_adapter_notes, read_base_adapter
from rolesum.models.loading import load_model, load_prompt_model
from rolesum.recipe_loading import parse_recipe
from rolesum.training.data import data_notes, read_training_data
from rolesum.training.encode import encode_bundles
from rolesum.training.metrics_file import read_metrics
from rolesum.training.plan import plan


def read(chosen):
    return read_training_data(chosen, load_prompt_model(chosen.base))


def branches(data):
    return [branch for bundle in data.encoded for branch in bundle.branches]


def test_a_run_learns_the_answers_and_its_adapter_says_that_it_verifies(tmp_path):
    options = {"epochs": 10, "learning_rate": 0.03}
    run = trained(tmp_path / "run", verify_recipe(roles=[], training=options, validation={"path": str(STATEMENTS)}))
    losses = evaluations(run)
    assert last(losses) < 0.4 * losses[min(losses)]
    note = json.loads((run.adapter / "rolesum.json").read_text())
    assert note["verify"] == {"weight": 1.0} and note["roles"] == []
    assert note["instructions"]["answers"] == [["y", "n"]]
    card = (run.adapter / "README.md").read_text()
    assert "An adapter that tells whether a dialogue says a statement." in card and "| Roles |" not in card
    going_on = parse_recipe({**raw_recipe(), "base_adapter": str(run.adapter)}, "test")
    notes = base_adapter_notes(going_on, read_base_adapter(going_on), 5)
    assert any("also verifies statements" in one for one in notes)


def test_an_adapter_of_a_run_without_statements_says_so(tmp_path):
    run = trained(tmp_path / "run", parse_recipe(raw_recipe(), "test"))
    assert json.loads((run.adapter / "rolesum.json").read_text())["verify"] is None


@pytest.mark.parametrize("accumulation", [1, 3])
def test_the_loss_of_a_step_is_the_weighted_mean_over_all_its_batches(accumulation, tmp_path):
    weight = 25.0
    options = {"tokens_per_batch": 1100 if accumulation > 1 else 100_000, "gradient_accumulation": accumulation}
    none = {"alpha": 0}
    losses = {}
    for name, changes in {"summaries": {"roles": ["overall"]}, "answers": {"roles": [], "verify": {}}}.items():
        raw = raw_recipe(training={"tokens_per_batch": 100_000}, neftune=none, **changes)
        raw |= {"data": {"train": {"path": str(STATEMENTS)}}, "instructions": verify_recipe().instructions}
        losses[name] = read_metrics(trained(tmp_path / name, parse_recipe(raw, "test")).metrics)[0]["loss"]
    both = verify_recipe(roles=["overall"], verify={"weight": weight}, training=options, neftune=none)
    data = read(both)
    assert len(data.steps) == 1 and len(data.batches) == accumulation
    tokens = sum(branch.targets for branch in branches(data) if branch.role)
    expected = (tokens * losses["summaries"] + 12 * weight * losses["answers"]) / (tokens + 12 * weight)
    found = read_metrics(trained(tmp_path / "both", both).metrics)[0]["loss"]
    assert found == pytest.approx(expected, rel=2e-4)  # losses are logged with four decimals


def test_a_dialogue_without_statements_has_its_summaries_only_and_one_without_summaries_its_statements():
    file = statement_file("unsummarized", summaries={})
    data = read(verify_recipe(file, roles=["overall"]))
    assert [[branch.role for branch in bundle.branches] for bundle in data.encoded] == [
        ["", "", ""],
        *[["overall", "", "", ""]] * 3,
        ["overall"],
    ]
    alone = read(verify_recipe(file, roles=[]))
    assert len(alone.encoded) == 4 and alone.left_out == 1
    (note,) = data_notes(verify_recipe(roles=[]), alone, None)
    assert note.endswith("without a statement, and left out: 1 of 5 dialogues")


def test_a_bundle_over_the_budget_is_split_by_branches():
    data = read(verify_recipe(training={"tokens_per_batch": 450}))
    assert len(data.encoded) > len(data.dialogues) and all(bundle.tokens <= 450 for bundle in data.encoded)
    assert sum(not branch.role for branch in branches(data)) == 12


def test_a_shortened_dialogue_keeps_its_summaries_and_loses_its_statements():
    side = load_prompt_model(model_dir("llama"))
    (dialogue, *_) = read_dialogues("sample:dialogues-en-train")
    layout = side.layout(instructions=load_instruction_set(answer_set()))
    bundle = make_bundle(dialogue, ("overall",), verify=True)
    whole = encode_bundles([bundle], layout, side.encoder, max_length=10**6).bundles[0]
    assert len(whole.branches) == 1 + len(dialogue.statements)
    short = {"max_length": len(whole.prefix), "long_dialogues": "drop-middle"}
    cut = encode_bundles([bundle], layout, side.encoder, **short)
    assert cut.shortened == 1 and [branch.role for branch in cut.bundles[0].branches] == ["overall"]
    for long_dialogues in ("refuse", "drop-middle"):  # of statements alone nothing can be dropped
        with pytest.raises(DataError, match="skip the id") as caught:
            options = {**short, "long_dialogues": long_dialogues}
            encode_bundles([make_bundle(dialogue, (), verify=True)], layout, side.encoder, **options)
        assert "drop-middle" not in str(caught.value)


def test_data_without_statements_is_an_error():
    with pytest.raises(DataError, match="no dialogue has statements, on which a recipe with verify trains"):
        read(verify_recipe(TRAIN))
    with pytest.raises(DataError, match="no dialogue has statements"):
        read(verify_recipe(TRAIN, roles=[]))


def test_statements_that_are_all_true_are_an_error():
    file = folder() / "true.jsonl"
    one = replace(read_dialogues(STATEMENTS)[0], statements=(Statement("It rained.", "overall", True),))
    file.write_text(to_json(one))
    with pytest.raises(DataError, match="all statements are true: the answer would not depend on the dialogue"):
        read(verify_recipe(file, roles=["overall"]))


def test_answers_that_are_not_single_tokens_are_refused():
    with pytest.raises(ModelError, match="yes / no or Yes / No are not one token each"):
        read(verify_recipe().model_copy(update={"instructions": None}))


def test_encoder_decoders_are_refused():
    with pytest.raises(UsageError, match="statements are verified by causal models"):
        read(verify_recipe(base=str(seq2seq_dir("t5"))))


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"preference": {}}, "preference tuning trains on pairs alone"),
        ({"verify": {"weight": 0}}, "greater than 0"),
        ({"validation": {"summaries": 2}}, "validation.summaries needs roles"),
        ({"verify": None}, "name one at least"),
    ],
)
def test_settings_that_do_not_go_with_statements_are_refused(section, says):
    with pytest.raises(UsageError, match=says):
        parse_recipe(raw_recipe(**{"roles": [], "verify": {}, **section}), "test")


def test_a_plan_counts_statements_as_examples():
    planned = plan(verify_recipe(roles=["overall"]), device="cpu", measure=True)
    assert planned.examples == 5 + 12 and planned.measured


CALIBRATION = {"path": str(many_statements())}


def fitted_again(directory):
    """What is fitted to the validation statements by the adapter as it was written."""
    loaded = load_model(adapter=directory, dtype="float32", device="cpu")
    verifier = Verifier(TransformersEngine(loaded), temperature=1.0)
    return calibrate_support(verifier, read_dialogues(CALIBRATION["path"]))


@pytest.mark.parametrize("keep", ["last", "best"])
def test_a_run_fits_temperature_and_threshold_to_the_validation_statements_of_what_it_keeps(keep, tmp_path):
    options = {"epochs": 3, "learning_rate": 0.05}
    chosen = verify_recipe(roles=[], training=options, validation=CALIBRATION)
    chosen = chosen.model_copy(update={"validation": chosen.validation.model_copy(update={"keep": keep})})
    run = trained(tmp_path / "run", chosen)
    verify = json.loads((run.adapter / "rolesum.json").read_text())["verify"]
    found = fitted_again(run.adapter)
    assert verify["weight"] == 1.0 and verify["fitted_on"]["statements"] == 64 and verify["fitted_on"]["dialogues"] == 4
    assert verify["temperature"] == pytest.approx(found.temperature, abs=2e-3)
    assert verify["threshold"] == pytest.approx(found.threshold, abs=2e-3)
    assert verify["fitted_on"]["auroc"] == pytest.approx(found.auroc, abs=1e-3)
    assert json.loads(run.environment.read_text())["verify"] == verify
    card = (run.adapter / "README.md").read_text()
    assert (
        f"| Support | temperature {verify['temperature']:g}, threshold {verify['threshold']:g}, fitted to 64 " in card
    )


def test_a_run_with_too_few_validation_statements_says_so_and_stores_no_threshold(tmp_path, capsys):
    run = trained(tmp_path / "run", verify_recipe(roles=[], validation={"path": str(STATEMENTS)}))
    assert json.loads((run.adapter / "rolesum.json").read_text())["verify"] == {"weight": 1.0}
    assert "4 true and 8 false statements, where 30 of each are needed" in " ".join(capsys.readouterr().err.split())
    trained(tmp_path / "other", verify_recipe(roles=[]))
    assert "there is no validation data" in " ".join(capsys.readouterr().err.split())


def test_looking_at_the_statements_changes_nothing_of_the_weights(tmp_path):
    with_look = verify_recipe(roles=[], validation=CALIBRATION, lora={"dropout": 0.1})
    without = verify_recipe(roles=[], validation={"path": str(STATEMENTS)}, lora={"dropout": 0.1})
    pairs = [trained(tmp_path / name, one) for name, one in (("with", with_look), ("without", without))]
    assert same(*map(weights, pairs))
