"""rolesum init: what a project holds, that it can be trained in, and that no file is overwritten."""

import json
import shlex

import pytest

from helpers.command import rolesum
from rolesum.errors import DataError, UsageError
from rolesum.project import create_project
from rolesum.recipe_loading import load_recipe
from rolesum.settings import read_settings

TURNS = [{"speaker": "Customer", "text": "My parcel is late."}, {"speaker": "Agent", "text": "I will check."}]


def data_file(folder, *records):
    file = folder / "calls.jsonl"
    file.write_text("\n".join(json.dumps(one) if isinstance(one, dict) else one for one in records))
    return file


@pytest.fixture
def calls(tmp_path):
    return data_file(tmp_path, {"id": "c-1", "turns": TURNS, "summaries": {"agent": "The agent will check."}})


def test_a_project_has_a_recipe_for_the_data_with_their_roles(tmp_path, calls):
    made = create_project(tmp_path / "mine", str(calls))
    recipe = load_recipe(tmp_path / "mine" / "recipe.yaml")
    assert recipe.data.train.path == str(calls) and recipe.roles == ("agent",) and recipe.name == "mine"
    assert recipe.training == load_recipe("mine").training
    assert json.loads((tmp_path / "mine" / "data-check.json").read_text())["dialogues"] == 1
    assert made.next_command == "rolesum train recipe.yaml"


def test_data_inside_the_project_are_named_from_there(tmp_path, calls):
    create_project(tmp_path, str(calls))
    assert load_recipe(tmp_path / "recipe.yaml").data.train.path == "calls.jsonl"


def test_its_settings_are_read_in_it(tmp_path, calls):
    create_project(tmp_path / "mine", str(calls))
    found = {key: one.value for key, one in read_settings(tmp_path / "mine", {}).items()}
    assert found == {"adapter": "rolesum-en-zh", "roles": "agent"}


def test_the_lines_that_are_commented_out_are_settings_too(tmp_path):
    create_project(tmp_path / "mine")
    file = tmp_path / "mine" / ".rolesum.toml"
    lines = [line.removeprefix("# ") for line in file.read_text().splitlines()[2:]]
    own = [line for line in lines if not line.startswith(('adapter = "rolesum', "roles"))]
    file.write_text("\n".join(own))
    (tmp_path / "mine" / "runs" / "mine").mkdir(parents=True)
    assert set(read_settings(tmp_path / "mine", {})) == {"adapter", "model", "threads"}


@pytest.mark.parametrize("name", ["recipe.yaml", ".rolesum.toml", "data-check.json"])
def test_no_file_is_overwritten_and_none_is_written_beside_it(tmp_path, calls, name):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("my own")
    with pytest.raises(UsageError, match="is there already"):
        create_project(tmp_path / "mine", str(calls))
    assert [one.name for one in (tmp_path / "mine").iterdir()] == [name]
    assert (tmp_path / "mine" / name).read_text() == "my own"


@pytest.mark.parametrize("records", [["{broken"], [{"id": "c-1", "turns": TURNS}], []])
def test_data_without_a_summary_are_refused_and_nothing_is_written(tmp_path, records):
    with pytest.raises(DataError):
        create_project(tmp_path / "mine", str(data_file(tmp_path, *records)))
    assert not (tmp_path / "mine").exists()


def test_problems_of_some_records_are_in_the_report_and_come_first(tmp_path):
    good = {"id": "c-1", "turns": TURNS, "summaries": {"user": "It is late."}}
    file = data_file(tmp_path, good, {"id": "c-2", "turns": []})
    made = create_project(tmp_path / "mine", str(file))
    assert made.next_command == f"rolesum data check {file}"
    assert len(json.loads((tmp_path / "mine" / "data-check.json").read_text())["problems"]) == 1


TABLE = """call,who,said,theirs,our own
c-1,Anna,My parcel is late.,It is late.,The agent will check.
c-1,Tom,I will check.,,
"""
READING = {
    "columns": {"id": "call", "speaker": "who", "text": "said", "summary.user": "theirs", "summary.agent": "our own"},
    "speakers": {"Anna": "user", "Tom": "agent"},
}


def test_how_a_table_is_read_is_checked_and_kept_in_the_recipe(tmp_path):
    file = tmp_path / "calls.csv"
    file.write_text(TABLE)
    flags = ("--columns", "id=call,speaker=who,text=said,summary.user=theirs,summary.agent=our own")
    speakers = ("--speaker", "Anna=user", "--speaker", "Tom=agent")
    done = rolesum("init", "calls", "--data", "calls.csv", *flags, *speakers, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    train = load_recipe(tmp_path / "calls" / "recipe.yaml").data.train
    assert (train.path, train.columns, train.speakers) == (str(file), READING["columns"], READING["speakers"])
    assert load_recipe(tmp_path / "calls" / "recipe.yaml").roles == ("user", "agent")
    assert train.read()[0].roles == READING["speakers"]  # from any directory
    assert rolesum("init", "other", *flags, cwd=tmp_path).returncode == 2


def test_the_check_that_comes_next_reads_the_data_in_the_same_way(tmp_path):
    file = tmp_path / "calls.csv"
    file.write_text(TABLE + "c-2,Anna,Hello?,,\nc-2,Tom,It is late\n")
    made = create_project(tmp_path / "calls", str(file), READING)
    command = shlex.split(made.next_command)
    assert command[1:3] == ["data", "check"] and len(made.report.problems) == 1
    done = rolesum(*command[1:], cwd=tmp_path / "calls")
    assert (
        done.returncode == 3
        and "1 good dialogue" in done.stdout
        and "summaries by role: user 1, agent 1" in done.stdout
    )


def test_the_command_names_the_files_and_what_comes_next(tmp_path, calls):
    done = rolesum("init", "mine", "--data", calls, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "wrote mine/recipe.yaml" in done.stdout and "next: cd mine && rolesum train recipe.yaml" in done.stdout
    assert rolesum("init", "mine", cwd=tmp_path).returncode == 2
