"""base_adapter: a run goes on from a trained adapter, checks that it fits, and hands on where it came from."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from helpers.small_runs import TRAIN, cut_at, evaluations, last, raw_recipe, same, trained, weights
from helpers.tiny import model_dir
from rolesum.cli.main import app
from rolesum.errors import ModelError, UsageError
from rolesum.formats import read_dialogues
from rolesum.generation.factory import EngineSpec
from rolesum.instructions.sets import instruction_set
from rolesum.models.adapter_metadata import write_metadata
from rolesum.models.base_adapter import FEW, base_adapter_notes, read_base_adapter, with_base_adapter
from rolesum.models.bundled_adapters import license_notice
from rolesum.models.loading import load_model
from rolesum.recipe_loading import load_recipe, parse_recipe
from rolesum.training.plan import plan

TERMS = "the data it was trained on allow non-commercial use only"


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """A trained adapter of rank 4 with terms; a test must not change it."""
    run = trained(tmp_path_factory.mktemp("first") / "run", parse_recipe(raw_recipe(), "first"))
    note = json.loads((run.adapter / "rolesum.json").read_text())
    note |= {"recipe": "first", "data": ["calls.jsonl"], "license": "cc-by-nc-4.0", "terms": TERMS}
    (run.adapter / "rolesum.json").write_text(json.dumps(note))
    return run.adapter


def going_on(adapter, **changes):
    """The recipe of a run from the adapter, which leaves its base and LoRA settings to it."""
    raw = raw_recipe(training={"learning_rate": 0.001, "epochs": 2})
    del raw["base"], raw["lora"]
    return parse_recipe({**raw, "base_adapter": str(adapter), **changes}, "mine.yaml")


def changed(adapter, folder, **note):
    """A copy of the adapter with other metadata."""
    copy = shutil.copytree(adapter, folder)
    found = json.loads((copy / "rolesum.json").read_text())
    (copy / "rolesum.json").write_text(json.dumps({**found, **note}))
    return copy


def metadata(run):
    return json.loads((run.adapter / "rolesum.json").read_text())


def test_a_run_takes_base_and_lora_from_the_adapter_and_ends_better_than_it(adapter, tmp_path):
    run = trained(tmp_path / "run", going_on(adapter))
    written = yaml.safe_load(run.recipe.read_text())
    assert written["base"] == str(model_dir("llama"))
    assert (written["lora"]["rank"], written["lora"]["alpha"]) == (4, 8)
    assert set(written["lora"]["targets"]) == set(
        json.loads((adapter / "adapter_config.json").read_text())["target_modules"]
    )
    assert weights(run).keys() == load_file(adapter / "adapter_model.safetensors").keys()
    assert last(evaluations(run)) < last(evaluations(type(run)(adapter.parent)))


def test_the_recipe_that_a_run_leaves_begins_the_same_run_again(adapter, tmp_path):
    first = trained(tmp_path / "first", going_on(adapter))
    assert same(weights(trained(tmp_path / "again", load_recipe(first.recipe))), weights(first))


def test_a_run_from_an_adapter_stopped_and_resumed_equals_the_run_not_stopped(adapter, tmp_path, monkeypatch):
    chosen = going_on(adapter, lora={"dropout": 0.2})
    whole = trained(tmp_path / "whole", chosen)
    cut_at(2, tmp_path / "run", chosen, monkeypatch)
    assert same(weights(trained(tmp_path / "run", chosen, resume=True)), weights(whole))


def test_a_resumed_run_refuses_an_adapter_that_has_changed(adapter, tmp_path, monkeypatch):
    copy = changed(adapter, tmp_path / "copy")
    cut_at(1, tmp_path / "run", going_on(copy), monkeypatch)
    changed_weights = {name: one + 1 for name, one in load_file(copy / "adapter_model.safetensors").items()}
    save_file(changed_weights, copy / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match="base adapter changed since this run began"):
        trained(tmp_path / "run", going_on(copy), resume=True)


def test_a_chain_of_adapters_is_kept_with_recipes_data_and_terms(adapter, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ROLESUM_CACHE", str(tmp_path / "cache"))
    second = trained(tmp_path / "second", going_on(adapter, name="second"))
    third = trained(tmp_path / "third", going_on(second.adapter, name="third"))
    found = metadata(third)
    assert found["data"] == [str(TRAIN)] and "terms" not in found
    parent = found["base_adapter"]
    assert (parent["name"], parent["recipe"], parent["data"]) == (str(second.adapter), "second", [str(TRAIN)])
    first = parent["base_adapter"]
    assert (first["name"], first["recipe"], first["data"]) == (str(adapter), "first", ["calls.jsonl"])
    assert first["license"] == "cc-by-nc-4.0" and len(first["sha256"]) == 64
    card = (third.adapter / "README.md").read_text()
    assert card.index(f"| Goes on from | {second.adapter} (recipe second") < card.index(
        f"| Goes on from | {adapter} (recipe first"
    )
    assert "\nlicense: cc-by-nc-4.0\n" in card.split("---")[1]
    assert f"{adapter} (cc-by-nc-4.0): {TERMS}" in card
    capsys.readouterr()
    EngineSpec(adapter=third.adapter, device="cpu").open()
    assert f"{third.adapter} goes on from {adapter}: {TERMS}" in capsys.readouterr().err


def test_the_terms_of_a_tuned_base_go_on_to_an_adapter_on_it(adapter, tmp_path):
    """A merged adapter is a base with the adapter's metadata."""
    base = shutil.copytree(model_dir("llama"), tmp_path / "merged")
    shutil.copyfile(adapter / "rolesum.json", base / "rolesum.json")
    run = trained(tmp_path / "run", parse_recipe({**raw_recipe(), "base": str(base)}, "merged"))
    assert license_notice(run.adapter).startswith(f"{run.adapter} goes on from {base}: {TERMS}")
    assert license_notice(base).startswith(f"{base} summarizes: {TERMS}")


def test_an_adapter_without_terms_gives_no_notice(adapter, tmp_path):
    run = trained(tmp_path / "run", parse_recipe(raw_recipe(), "first"))
    assert license_notice(run.adapter) == ""
    assert "license:" not in (run.adapter / "README.md").read_text()


def test_the_words_that_the_adapter_was_asked_in_are_those_of_the_run(adapter, tmp_path):
    old = instruction_set("en").model_dump()
    old["instructions"] = {
        "user": "What did the customer want, in the old words?",
        "overall": "Sum up.",
        "agent": "And?",
    }
    run = trained(tmp_path / "run", going_on(changed(adapter, tmp_path / "copy", instruction_sets={"en": old})))
    stored = metadata(run)["instruction_sets"]
    assert stored["en"]["instructions"]["user"] == "What did the customer want, in the old words?"
    assert (
        stored["en"]["instructions"]["brief"] == instruction_set("en").instructions["brief"]
    )  # newer than the adapter
    assert stored["zh"] == instruction_set("zh").model_dump(mode="json")  # as it is read back
    asked = load_model(adapter=run.adapter, device="cpu").layout().branch(read_dialogues(TRAIN)[0], "user")
    assert asked[0].text == "What did the customer want, in the old words?"


def test_what_the_run_changes_of_the_adapters_roles_is_said_by_train_and_plan(adapter, tmp_path, capsys):
    chosen = going_on(changed(adapter, tmp_path / "copy", roles=["overall", "brief"]), roles=["overall", "user"])
    trained(tmp_path / "run", chosen)
    said, notes = capsys.readouterr().err, plan(chosen, device="cpu").notes
    for line in (
        "was not trained for user: this run alone teaches it",
        "was also trained for brief, which this run may",
    ):
        assert line in said and any(line in note for note in notes)
    assert any(note.endswith(f"{TERMS}; that holds for what goes on from it") for note in notes)
    assert any("goes on from" in note and "recipe first; trained on calls.jsonl" in note for note in notes)


def test_a_plan_counts_the_adapters_parameters_and_names_it(adapter):
    made = plan(going_on(adapter), device="cpu")
    assert made.base_adapter == str(adapter)
    assert made.trained_parameters == sum(
        one.numel() for one in load_file(adapter / "adapter_model.safetensors").values()
    )
    assert plan(going_on(adapter), device="cpu", measure=True).measured


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lora": {"rank": 8}}, "lora.rank is 8, and the adapter has 4"),
        ({"lora": {"alpha": 32, "dora": True}}, "lora.alpha is 32.0, and the adapter has 8"),
        ({"lora": {"alpha": 32, "dora": True}}, "lora.dora is True, and the adapter has False"),
        ({"lora": {"targets": ["q_proj"]}}, "lora.targets is [q_proj], and the adapter has [down_proj, gate_proj"),
        ({"language": "zh"}, "language is zh, and the adapter was asked in en"),
        (
            {"custom_roles": {"boss": {"definition": "Who pays."}}},
            "custom_roles.boss: the adapter was trained with the definition 'Who decides.'",
        ),
    ],
)
@pytest.mark.parametrize("how", ["train", "plan"])
def test_a_recipe_that_does_not_agree_with_the_adapter_is_refused(how, changes, said, adapter, tmp_path):
    copy = changed(adapter, tmp_path / "copy", language="en", definitions={"boss": "Who decides."})
    chosen = going_on(copy, **changes)
    with pytest.raises(UsageError) as caught:
        trained(tmp_path / "run", chosen) if how == "train" else plan(chosen, device="cpu")
    assert said in str(caught.value) and str(copy) in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_other_instructions_than_the_adapters_are_refused(adapter, tmp_path):
    file = tmp_path / "mine.yaml"
    own = {**instruction_set("en").model_dump(), "name": "mine", "custom": "Say what {role} said."}
    file.write_text(yaml.safe_dump(own))
    with pytest.raises(UsageError, match=r"trained with the built-in instructions, and .* asks in other words"):
        trained(tmp_path / "run", going_on(adapter, instructions=str(file)))
    first = trained(tmp_path / "first", parse_recipe({**raw_recipe(), "instructions": str(file)}, "first"))
    again = trained(tmp_path / "again", going_on(first.adapter, instructions=str(file)))
    inherited = trained(tmp_path / "inherited", going_on(first.adapter))
    assert metadata(again)["instructions"] == metadata(inherited)["instructions"] == metadata(first)["instructions"]
    older = {key: value for key, value in metadata(first)["instructions"].items() if key not in ("verify", "answers")}
    write_metadata(first.adapter, {**metadata(first), "instructions": older})
    with_base_adapter(going_on(first.adapter, instructions=str(file)))


@pytest.mark.parametrize(
    ("base", "said"), [("qwen2", "they differ in"), ("llama", "they differ in weights")], ids=["sizes", "weights"]
)
def test_another_base_than_the_adapters_is_refused(base, said, adapter, tmp_path):
    other = model_dir(base, seed=1)
    with pytest.raises(ModelError, match="the adapter was trained on") as caught:
        trained(tmp_path / "run", going_on(adapter, base=str(other)))
    assert said in str(caught.value) and f"--set base={model_dir('llama')}" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_adapter_of_another_size_is_refused_by_a_plan_without_weights(adapter, tmp_path):
    wide = model_dir("wide-llama")
    with pytest.raises(ModelError, match="they differ in hidden"):
        plan(going_on(adapter, base=str(wide)), device="cpu")


def test_a_directory_without_an_adapter_is_refused_with_the_names_that_there_are(tmp_path):
    with pytest.raises(ModelError, match="no adapter here") as caught:
        trained(tmp_path / "run", going_on(tmp_path / "none"))
    assert "rolesum-smollm2-135m" in str(caught.value)


def test_an_adapter_whose_weights_are_missing_is_refused(adapter, tmp_path):
    copy = changed(adapter, tmp_path / "copy")
    (copy / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match="the adapter cannot be loaded"):
        trained(tmp_path / "run", going_on(copy))
    assert not (tmp_path / "run").exists()


def test_full_training_of_a_base_with_an_adapter_is_refused(adapter):
    with pytest.raises(UsageError, match="merge them first"):
        going_on(adapter, method="full")


def stock(folder, **options):
    """An adapter that PEFT wrote, without rolesum's metadata."""
    torch.manual_seed(3)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", **options)
    base = load_model(model_dir("llama"), dtype="float32", device="cpu").language_model
    get_peft_model(base, config).save_pretrained(folder)
    return folder


def test_an_adapter_of_peft_without_metadata_can_be_gone_on_from_where_its_base_is_named(tmp_path):
    made = stock(tmp_path / "stock")
    with pytest.raises(UsageError, match="does not say which base it was trained on"):
        trained(tmp_path / "run", going_on(made))
    run = trained(tmp_path / "run", going_on(made, base=str(model_dir("llama"))))
    assert weights(run).keys() == load_file(Path(made) / "adapter_model.safetensors").keys()
    assert set(metadata(run)["instruction_sets"]) == {"en", "zh"}


@pytest.mark.parametrize(
    "options", [{"rank_pattern": {"q_proj": 4}}, {"modules_to_save": ["lm_head"]}, {"bias": "all"}]
)
def test_an_adapter_that_is_more_than_plain_lora_is_refused(options, tmp_path):
    made = stock(tmp_path / "stock", **options)
    with pytest.raises(ModelError, match="more than plain LoRA") as caught:
        trained(tmp_path / "run", going_on(made, base=str(model_dir("llama"))))
    assert next(iter(options)) in str(caught.value)


def test_from_adapter_takes_precedence_over_set_and_recipe(adapter, tmp_path):
    file = tmp_path / "recipe.yaml"
    raw = raw_recipe()
    del raw["base"], raw["lora"]
    file.write_text(yaml.safe_dump({**raw, "base_adapter": "of-the-recipe"}))
    command = ["train", str(file), "--set", "base_adapter=of-set", "--from-adapter", str(adapter), "--dry-run"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    shown = yaml.safe_load(done.stdout)
    assert (shown["base_adapter"], shown["base"], shown["lora"]["rank"]) == (str(adapter), str(model_dir("llama")), 4)
    planned = CliRunner().invoke(app, ["plan", str(file), "--from-adapter", str(adapter), "--device", "cpu", "--json"])
    assert json.loads(planned.stdout)["base_adapter"] == str(adapter)


def test_few_dialogues_without_an_adapter_are_told_of_the_bundled_one_for_the_base():
    chosen = load_recipe("dialogues-smollm2-135m")
    said = "--from-adapter rolesum-smollm2-135m goes on from an adapter"
    assert said in base_adapter_notes(chosen, None, FEW - 1)[0]
    others = (chosen.model_copy(update={"method": "full"}), chosen.model_copy(update={"base": "gemma3-270m"}))
    assert [base_adapter_notes(one, None, FEW - 1) for one in others] == [[], []]
    assert base_adapter_notes(chosen, None, FEW) == []


def test_few_dialogues_for_an_adapter_are_told_with_how_to_compare_the_two(adapter):
    def last_note(dialogues, **data):
        recipe = with_base_adapter(going_on(adapter, data={**raw_recipe()["data"], **data}))
        return base_adapter_notes(recipe, read_base_adapter(recipe), dialogues)[-1]

    said = last_note(1, validation={"share": 0.1})
    assert said.startswith("1 dialogue to train on: few. ") and "validation.jsonl of the run" in said
    assert "score both adapters on own.jsonl" in last_note(12, validation={"path": "own.jsonl"})
    assert "hold some out (data.validation.share)" in last_note(12, validation=None)
    assert "few" not in last_note(FEW, validation=None)


def test_the_recipe_for_own_dialogues_goes_on_from_the_bundled_adapter_and_is_named_after_the_file():
    recipe = with_base_adapter(load_recipe("mine", ["data.train.path=calls/support.jsonl"]))
    assert recipe.name == "support" and recipe.note == "Trained on calls/support.jsonl by the recipe mine."
    assert (recipe.base, recipe.lora.rank, recipe.lora.alpha) == ("qwen2.5-coder-1.5b", 8, 16)
    assert recipe.data.validation.share == 0.1 and recipe.data.test is None
    assert with_base_adapter(load_recipe("mine", ["base_adapter=null"])).base == "qwen2.5-coder-1.5b"
