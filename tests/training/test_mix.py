"""Training on several files at once: data.mix, how often each is taken, and what is kept apart from the test set."""

import json
from collections import Counter

import pytest

from helpers.small_runs import TRAIN, raw_recipe, recipe, same, stopped_at, trained, weights
from helpers.tiny import model_dir, short_dialogues
from rolesum.errors import DataError, UsageError
from rolesum.formats import read_dialogues
from rolesum.models.loading import load_prompt_model
from rolesum.recipe_loading import load_recipe, parse_recipe
from rolesum.training.data import data_notes, read_training_data

MORE = short_dialogues("en-test", 3, 2)


def of_files(train, *mix, **sections):
    raw = raw_recipe(**sections)
    raw["data"] = {"train": train, "mix": list(mix)}
    return parse_recipe(raw, "test")


def read(chosen):
    return read_training_data(chosen, load_prompt_model(str(model_dir("llama"))))


def write(path, records):
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return str(path)


def records_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_all_files_are_trained_on_and_a_repeated_one_so_often_in_each_epoch():
    data = read(of_files({"path": str(TRAIN)}, {"path": str(MORE), "repeat": 3}, training={"epochs": 2}))
    once, thrice = ({one.id for one in read_dialogues(file)} for file in (TRAIN, MORE))
    assert {one.id for one in data.dialogues} == once | thrice and len(data.dialogues) == 8
    for epoch in range(2):
        drawn = [draw for batch in data.batches for draw in batch if draw.epoch == epoch]
        times = Counter((data.encoded[draw.index].id, len(data.encoded[draw.index].branches)) for draw in drawn)
        counted = Counter()
        for (identity, branches), many in times.items():
            counted[identity] += many * branches
        assert counted == dict.fromkeys(once, 3) | dict.fromkeys(thrice, 9)  # three roles each
        assert len({draw.seed for draw in drawn}) == len(drawn)  # noise of its own each time


def test_files_in_one_mix_train_what_one_file_of_both_trains(tmp_path):
    both = write(tmp_path / "both.jsonl", [*records_of(TRAIN), *records_of(MORE)])
    mixed = trained(tmp_path / "mixed", of_files({"path": str(TRAIN)}, {"path": str(MORE)}))
    whole = trained(tmp_path / "whole", of_files({"path": both}))
    assert same(weights(mixed), weights(whole))


def test_dialogues_that_recur_in_another_file_are_left_out_and_told(tmp_path):
    records = records_of(TRAIN)
    again = json.loads(json.dumps(records[1]))
    again["id"], again["summaries"] = "another-id", {}
    for turn in again["turns"]:
        turn["text"] = "  " + turn["text"].replace(" ", "  ")
    other = json.loads(json.dumps(records[2]))
    other["turns"][0]["text"] += " And more."
    held_out = write(tmp_path / "test.jsonl", [again, other])
    chosen = of_files({"path": str(TRAIN), "apart_from": [held_out]}, {"path": str(MORE)})
    data = read(chosen)
    assert {one.id for one in read_dialogues(TRAIN)} - {one.id for one in data.dialogues} == {records[1]["id"]}
    assert data.overlapping == 1
    told = f"{TRAIN}, {MORE}: found in the files of apart_from, and left out: 1 training dialogue"
    assert told in data_notes(chosen, data, None)


def test_a_file_of_which_nothing_is_left_is_an_error():
    with pytest.raises(DataError, match="all its dialogues recur in"):
        read(of_files({"path": str(MORE)}, {"path": str(TRAIN), "apart_from": [str(TRAIN)]}))


def test_a_role_may_come_from_any_of_the_files(tmp_path):
    parts = []
    for name, role, file in (("one", "overall", TRAIN), ("two", "user", MORE)):
        records = records_of(file)
        for record in records:
            record["summaries"] = {role: record["summaries"][role]}
        parts.append({"path": write(tmp_path / f"{name}.jsonl", records)})
    data = read(of_files(*parts, roles=["overall", "user"]))
    assert data.examples == 8
    with pytest.raises(DataError, match="no summaries for agent"):
        read(of_files(*parts, roles=["overall", "user", "agent"]))


def test_what_does_not_fit_is_told_of_all_files_at_once():
    with pytest.raises(DataError) as caught:
        read(of_files({"path": str(TRAIN)}, {"path": str(MORE)}, training={"max_length": 40}))
    assert {problem.where.split(", ")[0].split(":")[0] for problem in caught.value.problems} == {str(TRAIN), str(MORE)}


def test_a_mix_stopped_and_resumed_equals_one_not_stopped_and_wants_the_files_it_began_with(tmp_path, monkeypatch):
    held_out = tmp_path / "held-out.jsonl"
    held_out.write_text(json.dumps(records_of(TRAIN)[0]) + "\n", encoding="utf-8")
    more = tmp_path / "more.jsonl"
    more.write_text(MORE.read_text(encoding="utf-8"), encoding="utf-8")
    chosen = of_files({"path": str(TRAIN), "apart_from": [str(held_out)]}, {"path": str(more), "repeat": 2})
    straight = trained(tmp_path / "straight", chosen)
    stopped_at(2, tmp_path / "run", chosen, monkeypatch)
    for file in (more, held_out):
        text = file.read_text(encoding="utf-8")
        file.write_text(text + json.dumps(records_of(TRAIN)[1]) + "\n", encoding="utf-8")
        with pytest.raises(UsageError, match="data changed since this run began"):
            trained(tmp_path / "run", chosen, resume=True)
        file.write_text(text, encoding="utf-8")
    assert same(weights(trained(tmp_path / "run", chosen, resume=True)), weights(straight))


def test_the_card_names_every_file(tmp_path):
    run = trained(tmp_path / "run", of_files({"path": str(TRAIN)}, {"path": str(MORE)}))
    card = (run.adapter / "README.md").read_text(encoding="utf-8")
    assert f"{TRAIN}, {MORE}, 8 dialogues" in card


def test_a_mix_can_be_set_on_the_command_line_and_its_keys_are_checked():
    chosen = load_recipe("sample", ["data.mix=[{path: more.jsonl, repeat: 2}]"])
    assert [(file.path, file.repeat) for file in chosen.data.train_files] == [
        ("sample:dialogues-en-train", 1),
        ("more.jsonl", 2),
    ]
    with pytest.raises(UsageError, match=r'unknown key "data\.mix\.0\.repeats"') as caught:
        load_recipe("sample", ["data.mix=[{path: more.jsonl, repeats: 2}]"])
    assert "repeat" in caught.value.problems[0].fix
    assert recipe().data.mix == ()


def test_one_file_is_split_by_offset_and_limit():
    everything = [one.id for one in read_dialogues(TRAIN)]
    first, rest = ({"path": str(TRAIN), "limit": 2}, {"path": str(TRAIN), "offset": 2})
    assert [one.id for one in read(of_files(first)).dialogues] == everything[:2]
    assert [one.id for one in read(of_files(rest)).dialogues] == everything[2:]
    assert [one.id for one in read(of_files(rest | {"limit": 1})).dialogues] == everything[2:3]
    with pytest.raises(DataError, match="it has 5 dialogues, and offset leaves out the first 5"):
        read(of_files({"path": str(TRAIN), "offset": 5}))
