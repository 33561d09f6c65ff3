"""`rolesum summarize --schema`: what is written, the exit codes, and what is refused before a model is loaded."""

import json

import pytest

from helpers.command import rolesum
from helpers.tiny import model_dir
from helpers.verify_runs import verify_adapter
from rolesum.instructions import load_fields

SCHEMA = {"type": "object", "properties": {"kind": {"enum": ["question", "order"]}}, "required": ["kind"]}
LONG = {"type": "object", "properties": {"text": {"type": "string", "minLength": 300}}, "required": ["text"]}


@pytest.fixture
def given(tmp_path):
    (tmp_path / "chat.txt").write_text("Customer: My lamp broke.\nAgent: Sorry!\n", encoding="utf-8")
    (tmp_path / "short.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    (tmp_path / "long.json").write_text(json.dumps(LONG), encoding="utf-8")
    return tmp_path


def summarize(given, schema, *arguments, model=None):
    chosen = model or ("--model", model_dir("llama"))
    chosen = (*chosen, "--dtype", "float32", "--device", "cpu")
    return rolesum("summarize", given / "chat.txt", "--schema", schema, *chosen, *arguments)


def test_a_text_file_gives_the_object_alone(given):
    done = summarize(given, given / "short.json")
    assert done.returncode == 0, done.stderr
    assert load_fields(SCHEMA).problems(json.loads(done.stdout)) == []


def test_an_answer_that_is_cut_off_is_null_with_a_note_and_the_code_of_data(given):
    out = given / "out.jsonl"
    done = summarize(given, given / "long.json", "--json", "--max-new-tokens", 4, "--out", out)
    record = json.loads(out.read_text(encoding="utf-8"))
    assert done.returncode == 3 and record["fields"] is None and "4 tokens cut" in record["problem"]
    assert "no fields: the limit of 4 tokens" in done.stderr


def test_an_adapter_that_verifies_gives_the_support_of_the_values(given):
    done = summarize(given, given / "short.json", "--json", model=("--adapter", verify_adapter()))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["support_threshold"] == 0.5 and 0 < record["values"][0]["support"] < 1


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--schema", "call-outcom"), 'did you mean "call-outcome"'),
        (("--schema", "call-outcome", "--roles", "user"), "--roles is for summaries"),
        (("--schema", "call-outcome", "--ask", "complaints=List the complaints."), "--ask is for summaries"),
        (("--schema", "call-outcome", "--verify", "quote"), "--verify quote is for summaries"),
        (("--schema", "call-outcome", "--stream"), "--schema cannot be combined"),
        (("--schema", "call-outcome", "--out", "fields.docx"), "is a document"),
    ],
)
def test_what_does_not_go_together_is_refused_without_a_model(given, arguments, what):
    done = rolesum("summarize", given / "chat.txt", "--model", given / "none", *arguments)
    assert done.returncode == 2 and what in done.stderr
