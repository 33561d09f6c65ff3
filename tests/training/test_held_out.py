"""data.validation: {share: …}: which dialogues of the training file are held out, and that no other run sees them."""

import json

import pytest

from helpers.small_runs import TRAIN, evaluations, raw_recipe, stopped_at, trained, weights
from helpers.tiny import short_dialogues
from rolesum.counts import counted
from rolesum.errors import DataError, UsageError
from rolesum.formats import read_dialogues
from rolesum.formats.jsonl import to_json
from rolesum.models.loading import load_prompt_model
from rolesum.recipe_loading import load_recipe, parse_recipe
from rolesum.training.data import choose_held_out, read_training_data, read_validation_data
from rolesum.training.plan import plan


def conversations(count, start=0):
    return [(("Anna", f"This is call {number}."), ("Tom", "I see.")) for number in range(start, start + count)]


def sharing(share=0.4, epochs=1, **data):
    raw = raw_recipe(training={"epochs": epochs})
    raw["data"] = {"train": {"path": str(TRAIN)}, "validation": {"share": share}, **data}
    return parse_recipe(raw, "test")


def both_sides(recipe):
    """The training dialogues of a recipe and those of its validation."""
    model = load_prompt_model(recipe.base)
    training, validation = read_training_data(recipe, model), read_validation_data(recipe, model)
    return training, validation


def test_choose_held_out_takes_about_the_share():
    assert 800 < len(choose_held_out(conversations(10_000), 0.1, "calls.jsonl")) < 1200


def test_choose_held_out_keeps_each_side_when_the_file_grows():
    few, many = conversations(200), conversations(500)
    before = choose_held_out(few, 0.1, "calls.jsonl")
    assert len(before) > 1
    assert choose_held_out(many, 0.1, "calls.jsonl") & set(few) == before
    assert choose_held_out(few[::-1], 0.1, "calls.jsonl") == before


@pytest.mark.parametrize("start", range(0, 200, 10))
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_choose_held_out_leaves_at_least_one_dialogue_on_each_side(start, share):
    assert 1 <= len(choose_held_out(conversations(10, start), share, "calls.jsonl")) <= 9


@pytest.mark.parametrize(("count", "share"), [(9, 0.1), (1, 0.9), (4, 0.2)])
def test_choose_held_out_refuses_a_share_of_less_than_one_dialogue(count, share):
    with pytest.raises(DataError, match="is less than one") as caught:
        choose_held_out(conversations(count) * 3, share, "calls.jsonl")
    said = str(caught.value)
    assert f"{share:g} of {counted(count, 'different dialogue')}" in said and "calls.jsonl" in said
    assert "data.validation=null" in said


def test_a_share_is_held_out_once_and_nothing_of_it_is_trained_on():
    training, validation = both_sides(sharing())
    ids = [{one.id for one in part.dialogues} for part in (training, validation)]
    assert not ids[0] & ids[1]
    assert ids[0] | ids[1] == {one.id for one in read_dialogues(TRAIN)}
    assert training.held_out == len(ids[1]) > 0


def test_a_conversation_that_recurs_stands_on_one_side_in_every_file(tmp_path):
    lines = TRAIN.read_text().splitlines()
    again = tmp_path / "again.jsonl"
    doubles = [json.dumps({**json.loads(line), "id": f"double-{place}"}) for place, line in enumerate(lines)]
    again.write_text("\n".join([*lines, *doubles]))
    other = str(short_dialogues("en-train", 8, 1))  # the five of TRAIN, and three more
    training, validation = both_sides(sharing(train={"path": str(again)}, mix=[{"path": other}]))
    sides = [{one.normalized_turns for one in part.dialogues} for part in (training, validation)]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 8


def test_a_mixed_file_that_is_wholly_held_out_is_refused(tmp_path):
    _, validation = both_sides(sharing())
    held = {one.id for one in validation.dialogues}
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join(line for line in TRAIN.read_text().splitlines() if json.loads(line)["id"] in held))
    with pytest.raises(DataError, match="all its dialogues recur in what is held out"):
        both_sides(sharing(mix=[{"path": str(other)}]))


def test_a_run_leaves_the_held_out_dialogues_and_says_how_many(tmp_path, capsys):
    run = trained(tmp_path / "run", sharing())
    _, validation = both_sides(sharing())
    assert [to_json(one) for one in read_dialogues(run.held_out)] == [to_json(one) for one in validation.dialogues]
    said = f"{sharing().data.train.path}: held out for validation: {len(validation.dialogues)} of 5 dialogues"
    assert said in capsys.readouterr().err
    assert said in plan(sharing(), device="cpu").notes
    assert evaluations(run)


def test_a_run_with_a_share_that_is_resumed_ends_as_if_never_stopped(tmp_path, monkeypatch):
    chosen = sharing(epochs=3)
    whole = weights(trained(tmp_path / "whole", chosen))
    stopped_at(1, tmp_path / "run", chosen, monkeypatch)
    resumed = weights(trained(tmp_path / "run", chosen, resume=True))
    assert all((whole[name] == resumed[name]).all() for name in whole)


def test_a_share_of_too_few_dialogues_is_refused_by_train_and_plan_before_the_run(tmp_path):
    for start in (lambda one: trained(tmp_path / "run", one), lambda one: plan(one, device="cpu")):
        with pytest.raises(DataError, match=r"0.1 of 5 different dialogues is less than one"):
            start(sharing(0.1))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("validation", "said"),
    [
        ({}, "give path, or share"),
        (
            {"share": 0.1, "path": "other.jsonl"},
            'path cannot stand beside it: write --set data.validation="{share: 0.1}"',
        ),
        ({"share": 0.1, "limit": 3, "skip": ["a"]}, "limit, skip cannot stand beside it"),
        ({"share": 0}, "greater than 0"),
        ({"share": 1}, "less than 1"),
    ],
)
def test_a_validation_that_is_neither_a_file_nor_a_share_is_refused(validation, said):
    with pytest.raises(UsageError) as caught:
        parse_recipe({**raw_recipe(), "data": {"train": {"path": "a.jsonl"}, "validation": validation}}, "mine.yaml")
    assert said in str(caught.value) and "mine.yaml" in str(caught.value)


def test_a_share_can_be_set_for_any_recipe():
    assert load_recipe("sample", ["data.validation.share=0.2"]).data.validation.share == 0.2
