"""Training on tables: a CSV gives what the same dialogues as JSON lines give, by keys or flags for its columns."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from helpers.command import rolesum
from helpers.small_runs import HELD_OUT, TRAIN, raw_recipe
from helpers.tiny import model_dir
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.models.loading import load_prompt_model
from rolesum.recipe import changed_keys, dump_recipe
from rolesum.recipe_loading import load_recipe, parse_recipe
from rolesum.training.data import data_notes, read_training_data, read_validation_data

COLUMNS = {"id": "call", "speaker": "who", "role": "part", "text": "said"} | {
    field: field.replace("summary", "gist") for field in ("summary", "summary.user", "summary.agent")
}
FLAG = ",".join(f"{field}={column}" for field, column in COLUMNS.items())


def write_table(path, source, limit=None):
    """Write the dialogues of a file as a table of turns, with the summaries beside the first turn of each."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS.values(), restval="")
        writer.writeheader()
        for one in read_dialogues(source, ReadOptions(limit=limit)):
            gists = {f"gist.{role}".removesuffix(".overall"): text for role, (text,) in one.summaries.items()}
            for turn in one.turns:
                part = one.roles.get(turn.speaker, "")
                writer.writerow({"call": one.id, "who": turn.speaker, "part": part, "said": turn.text, **gists})
                gists = {}
    return str(path)


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path / "calls.csv", TRAIN)


def read(data, **training):
    recipe = parse_recipe({**raw_recipe(training=training), "data": data}, "test")
    model = load_prompt_model(str(model_dir("llama")))
    return read_training_data(recipe, model), read_validation_data(recipe, model)


def notes(data):
    recipe = parse_recipe({**raw_recipe(), "data": data}, "test")
    return data_notes(recipe, read_training_data(recipe, load_prompt_model(str(model_dir("llama")))), None)


def test_a_table_trains_and_validates_what_the_same_json_lines_do(table, tmp_path):
    held_out = write_table(tmp_path / "held-out.csv", HELD_OUT)
    files = {"train": {"path": table, "columns": COLUMNS}, "validation": {"path": held_out, "columns": COLUMNS}}
    theirs = read({"train": {"path": str(TRAIN)}, "validation": {"path": str(HELD_OUT)}})
    for found, wanted in zip(read(files), theirs, strict=True):
        assert found.encoded == wanted.encoded and found.steps == wanted.steps


def test_tables_to_be_kept_apart_are_read_with_the_same_columns(table, tmp_path):
    json_lines = {"path": str(TRAIN), "limit": 2}
    data, _ = read({"train": {"path": table, "columns": COLUMNS, "apart_from": [str(HELD_OUT)]}, "mix": [json_lines]})
    assert len(data.dialogues) == 7 and data.overlapping == 0
    few = write_table(tmp_path / "few.csv", TRAIN, limit=1)
    data, _ = read({"train": {"path": table, "columns": COLUMNS, "apart_from": [few]}})
    assert len(data.dialogues) == 4 and data.overlapping == 1


def test_summaries_of_roles_that_nobody_plays_are_told(table):
    columns = {field: column for field, column in COLUMNS.items() if field != "role"}
    text = Path(table).read_text(encoding="utf-8")
    for label in {turn.speaker for one in read_dialogues(TRAIN) for turn in one.turns}:
        text = text.replace(f",{label},", ",Anna,")
    Path(table).write_text(text, encoding="utf-8")
    told = notes({"train": {"path": table, "columns": columns}})
    assert told == [
        f"{table}: no speaker plays user or agent in 5 dialogues with its summary; "
        'say who does: --speaker "LABEL=ROLE", or roles in the file'
    ]
    (told,) = notes({"train": {"path": table, "columns": columns, "speakers": {"Anna": "user"}}})
    assert "no speaker plays agent in 5 dialogues" in told


def test_flags_say_how_the_training_data_are_read(table):
    given = ("--columns", FLAG, "--speaker", "Anna=user", "--speaker", "客服甲=agent", "--encoding", "gb18030")
    done = rolesum(
        "train", "mine", "--set", f"data.train.path={table}", "--set", "data.train.columns={id: x}", *given, "--dry-run"
    )
    assert done.returncode == 0, done.stderr
    train = yaml.safe_load(done.stdout)["data"]["train"]
    assert (train["columns"], train["encoding"]) == (COLUMNS, "gb18030")
    assert train["speakers"] == {"Anna": "user", "客服甲": "agent"}
    paths = ("--json-path", "turns=talk,text=said,summary.user=gist", "--unknown-speaker", "continue")
    train = yaml.safe_load(rolesum("train", "mine", *paths, "--dry-run").stdout)["data"]["train"]
    assert train["json_path"] == {"turns": "talk", "text": "said", "summary.user": "gist"}
    assert (train["unknown_speaker"], train["columns"]) == ("continue", None)


def test_plan_reads_a_table_by_the_same_flags(table):
    settings = (f"data.train.path={table}", f"base={model_dir('llama')}", "base_adapter=null", "data.validation=null")
    sets = [part for one in (*settings, "validation.keep=last") for part in ("--set", one)]
    done = rolesum("plan", "mine", *sets, "--columns", FLAG, "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert (plan["dialogues"], plan["examples"]) == (5, 15)


def test_a_run_resumes_with_the_columns_that_it_began_with(table):
    recipe = load_recipe("mine", [f"data.train.columns={json.dumps(COLUMNS)}"])
    other = load_recipe("mine", [f"data.train.columns={json.dumps(COLUMNS | {'id': 'case'})}"])
    assert changed_keys(dump_recipe(recipe), recipe) == []
    assert changed_keys(dump_recipe(recipe), other) == ["data.train.columns.id"]


def test_a_run_that_began_before_these_keys_were_known_resumes():
    recipe = load_recipe("mine")
    earlier = yaml.safe_load(dump_recipe(recipe))
    for key in ("encoding", "columns", "json_path", "speakers", "unknown_speaker"):
        del earlier["data"]["train"][key], earlier["data"]["validation"][key]
    assert changed_keys(yaml.safe_dump(earlier), recipe) == []
