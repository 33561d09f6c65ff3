"""Summaries as a table: a row per dialogue, whose columns are read as references again."""

import pytest

from helpers.command import rolesum
from helpers.tiny import model_dir
from rolesum.dialogue import RoleSummary, SummaryStatement
from rolesum.formats import Source, read_dialogues
from rolesum.generation.summary_output import format_table

TABLE = """call,talk
7,"Customer: My lamp broke.
Agent: We send a new one."
8,"Customer: Hello?
Agent: Good morning."
"""


def summary(role, text, identity="7", **more):
    return RoleSummary(identity, role, text, 9, **{"finish_reason": "stop", **more})


def test_each_dialogue_is_a_row_with_a_column_for_each_role():
    rows = [
        [summary("overall", "A lamp, broken."), summary("user", 'It "broke".')],
        [summary("decisions", "None.\nAt all.", "8")],
    ]
    assert format_table(rows) == (
        'id,summary,summary.user,summary.decisions\n7,"A lamp, broken.","It ""broke"".",\n8,,,"None.\nAt all."\n'
    )
    assert format_table(rows[:1], "\t").startswith("id\tsummary\tsummary.user\n7\tA lamp, broken.\t")


def test_what_is_doubtful_is_marked_and_what_else_is_said_stands_in_a_column_of_notes():
    doubtful = (SummaryStatement(0, 9, "It broke.", 0.2, (0,)),)
    shown = format_table(
        [
            [
                summary("user", "It broke.", statements=doubtful, support_threshold=0.5),
                summary("agent", "We send", finish_reason="length"),
            ]
        ]
    )
    header, *rows = shown.splitlines()
    assert header == "id,summary.user,summary.agent,notes"
    assert rows[0].startswith('7,It broke. (?),We send,"user: (?) the dialogue may not say this: support 0.20')
    assert rows[1] == 'agent: […cut by --max-new-tokens]"'


def test_the_columns_are_those_that_a_table_of_dialogues_has():
    found = format_table([[summary("user", "It broke."), summary("overall", "A lamp.")]])
    header, row = found.strip().split("\n")
    (dialogue,) = read_dialogues(Source("t.csv", f"{header},speaker,text\n{row},Customer,hi\n"))
    assert dialogue.summaries == {"user": ("It broke.",), "overall": ("A lamp.",)}


@pytest.fixture
def summarize(tmp_path):
    """Summarizes the table into a file by a tiny model."""
    (tmp_path / "calls.csv").write_text(TABLE, encoding="utf-8")

    def run(out, *more):
        model = ("--model", model_dir("llama"), "--max-new-tokens", 4, "--roles", "user,agent")
        columns = ("--columns", "id=call,dialogue=talk")
        return rolesum("summarize", "calls.csv", *columns, *model, "--out", out, *more, cwd=tmp_path)

    return run


def test_a_table_of_dialogues_is_summarized_into_what_the_output_is_named(summarize, tmp_path):
    for name in ("out.csv", "out.tsv", "out.jsonl", "out.txt"):
        done = summarize(name)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
    read = {name: (tmp_path / f"out.{name}").read_text(encoding="utf-8") for name in ("csv", "tsv", "jsonl", "txt")}
    assert read["csv"].startswith("id,summary.user,summary.agent,notes\n7,")
    assert read["tsv"].startswith("id\tsummary.user\t")
    assert [line[:11] for line in read["jsonl"].splitlines()] == ['{"id": "7",', '{"id": "8",']
    assert read["txt"].startswith("# 7\n\n[user]\n") and "# 8" in read["txt"]


@pytest.mark.parametrize("flags", [("--json",), ("--schema", "call-outcome")])
def test_json_is_not_written_to_a_table(summarize, flags):
    done = summarize("out.csv", *flags)
    assert done.returncode == 2 and f"{flags[0]} writes JSON" in done.stderr
