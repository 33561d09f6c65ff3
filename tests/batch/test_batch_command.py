"""The command line of rolesum batch: inputs first, the output directory last."""

import json

import pytest
import typer
from typer.testing import CliRunner

from helpers.tiny import model_dir, short_dialogues
from rolesum.cli.batch import batch
from rolesum.errors import UsageError
from rolesum.formats import read_dialogues

APP = typer.Typer()
APP.command()(batch)
OPTIONS = ("--dtype", "float32", "--device", "cpu", "--max-new-tokens", 8, "--shard-size", 2)


def command(*arguments):
    return CliRunner().invoke(APP, list(map(str, arguments)))


def test_a_model_summarizes_files_and_directories_and_the_same_command_goes_on(tmp_path):
    first, second = short_dialogues("en-train", 3, 2), tmp_path / "in" / "chat.txt"
    second.parent.mkdir()
    second.write_text("Customer: Hello, my parcel is late.\nAgent: I will look.\n", encoding="utf-8")
    asked = (first, second.parent, tmp_path / "out", "--model", model_dir("llama"), *OPTIONS, "--json")
    done = command(*asked, "--roles", "overall,customer")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"out": str(tmp_path / "out"), "summarized": 4, "failed": 0}
    shards = sorted((tmp_path / "out").glob("summaries-*.jsonl"))
    records = [json.loads(line) for shard in shards for line in shard.read_text(encoding="utf-8").splitlines()]
    assert [one["id"] for one in records] == [*(one.id for one in read_dialogues(first)), "chat"]
    assert all(list(one["summaries"]) == ["overall", "user"] for one in records)
    assert all(one["stats"]["user"]["mean_logprob"] < 0 for one in records)
    shards[0].unlink()  # as if the run had been stopped before
    again = command(*asked, "--roles", "overall,customer")
    assert json.loads(again.stdout) == json.loads(done.stdout) and shards[0].exists()
    assert isinstance(command(*asked, "--roles", "overall").exception, UsageError)


def test_one_of_several_samples_is_chosen(tmp_path):
    asked = (short_dialogues("en-train", 3, 2), tmp_path / "out", "--model", model_dir("llama"), *OPTIONS)
    several = ("--samples", 2, "--temperature", 1, "--choose", "mbr", "--roles", "overall")
    done = command(*asked, *several)
    assert done.exit_code == 0 and len(list((tmp_path / "out").glob("summaries-*.jsonl"))) == 2
    state = json.loads((tmp_path / "out" / "state.json").read_text(encoding="utf-8"))
    assert {"samples": 2, "choose": "mbr"}.items() <= state["settings"].items()


def test_where_every_dialogue_fails_the_exit_code_is_that_of_bad_data(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"id": "a", "turns": []}\n', encoding="utf-8")
    done = command(tmp_path / "in.jsonl", tmp_path / "out", "--model", model_dir("llama"), *OPTIONS)
    assert done.exit_code == 3
    assert "0 dialogues summarized, 1 failed: see" in done.stderr


@pytest.mark.parametrize("arguments", [("out",), ("in.jsonl", "out", "--workers", 2)])
def test_what_does_not_go_together_is_refused(arguments):
    assert isinstance(command(*arguments).exception, UsageError)
