"""Whose summary a column holds, by its name or as an option maps it; the same in tables, SAMSum's records and JSON."""

import json

import pytest

from rolesum.errors import DataError, UsageError
from rolesum.formats import ReadOptions, Source, read_dialogues
from rolesum.formats.summary_fields import mapped_summaries, summary_columns

TALK = "Customer: hi\nAgent: hello"
ALL = {"overall": ("They greet.",), "user": ("The customer greets.",), "agent": ("The agent greets.",)}
TURNS = """id,speaker,text,{0},{1},{2}
7,Customer,hi,They greet.,The customer greets.,The agent greets.
7,Agent,hello,,,
"""
ROWS = """id,dialogue,{0},{1},{2}
7,"Customer: hi
Agent: hello",They greet.,The customer greets.,The agent greets.
"""


def summaries(text, name="calls.csv", **options):
    (dialogue,) = read_dialogues(Source(name, text), ReadOptions(**options))
    assert dialogue.roles == {"Customer": "user", "Agent": "agent"}
    return dialogue.summaries


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *(("summary", "overall"), ("Final summary", "overall"), ("summary_all", "overall"), ("brief_summary", "brief")),
        *(("summary_user", "user"), ("summary:user", "user"), ("summary.user", "user"), ("User Summary", "user")),
        *(("customer_summary", "user"), ("summary-customer", "user"), ("summary_front_desk", "agent")),
        *(("用户摘要", "user"), ("客服摘要", "agent"), ("摘要", "overall")),
        *(("summary_seller", "seller"), ("team_lead_summary", "lead")),
    ],
)
def test_a_columns_name_says_whose_summary_it_holds(name, role):
    assert summary_columns(["id", name, "text"], {"seller": (), "lead": ("team_lead",)}) == {role: (name,)}


@pytest.mark.parametrize("name", ["summary_date", "summarize_user", "user", "summary_length", "x" * 300 + "_summary"])
def test_a_name_of_no_role_is_another_columns(name):
    assert summary_columns([name]) == {}


def test_numbers_are_those_of_several_summaries():
    names = ["summary_user_2", "summary1", "user_summary_1", "summary2"]
    assert summary_columns(names) == {"user": ("user_summary_1", "summary_user_2"), "overall": ("summary1", "summary2")}
    assert mapped_summaries({"summary.user.2": "b", "id": "c", "summary.user": "a"}, "--columns") == {
        "user": ("a", "b")
    }


@pytest.mark.parametrize("form", [TURNS, ROWS])
@pytest.mark.parametrize(
    "names",
    [("summary", "summary_user", "summary_agent"), ("Overall summary", "user summary", "agent summary")],
)
def test_a_table_has_summaries_of_roles_in_columns_of_their_names(form, names):
    assert summaries(form.format(*names)) == ALL


@pytest.mark.parametrize("form", [TURNS, ROWS])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_of_other_names_are_mapped_to_the_roles(form, delimiter):
    text = form.format("gist", "theirs", "ours").replace("id", "call", 1).replace(",", delimiter)
    columns = {"id": "call", "summary": "gist", "summary.customer": "theirs", "summary.agent": "ours"}
    assert summaries(text, columns=columns) == ALL


def test_what_is_mapped_goes_before_a_name():
    text = ROWS.format("summary", "user_summary", "summary_user")
    told = summaries(text, columns={"summary.user": "summary_user", "summary.agent": "user_summary"})
    assert told == {"overall": ("They greet.",), "user": ("The agent greets.",), "agent": ("The customer greets.",)}


def test_the_rows_of_a_dialogue_may_have_several_summaries_of_a_role():
    text = "id,speaker,text,summary_user\n7,Customer,hi,One.\n7,Agent,hello,Two.\n7,Agent,bye,One.\n"
    assert summaries(text) == {"user": ("One.", "Two.")}


@pytest.mark.parametrize("form", [TURNS, ROWS])
def test_two_columns_of_one_summary_are_refused_with_what_to_do(form):
    with pytest.raises(DataError) as told:
        summaries(form.format("summary", "summary_user", "customer_summary"))
    (problem,) = told.value.problems
    assert problem.where == "calls.csv:1" and "summary_user and customer_summary" in problem.what
    assert "--columns summary.user=customer_summary" in problem.fix


@pytest.mark.parametrize("form", [TURNS, ROWS])
def test_a_summarys_column_that_is_there_twice_is_refused(form):
    with pytest.raises(DataError, match=r"calls\.csv:1: the column summary_user is there twice"):
        summaries(form.format("summary", "summary_user", "summary_user"))


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"summary.agnt": "ours"}, 'unknown role "agnt"'),
        ({"summary.user": "theirs", "summary.customer": "ours"}, "two values for summary.user"),
        ({"summary_user": "theirs"}, 'did you mean "summary.user"'),
    ],
)
def test_a_mapping_of_a_summary_that_makes_no_sense_is_a_usage_error(columns, what):
    with pytest.raises(UsageError, match=what) as told:
        summaries(TURNS.format("gist", "theirs", "ours"), columns=columns)
    assert told.value.problems[0].where == "--columns"


def test_custom_roles_have_columns_too():
    roles = {"seller": ("shop",)}
    assert summaries(ROWS.format("a", "b", "shop_summary"), custom_roles=roles) == {"seller": ("The agent greets.",)}
    mapped = {"summary.seller": "b"}
    assert summaries(TURNS.format("a", "b", "c"), columns=mapped, custom_roles=roles)["seller"] == (
        "The customer greets.",
    )


def test_records_of_samsum_may_have_summaries_of_roles():
    record = {"id": 7, "dialogue": TALK, "summary": "", "user_summary": "The customer greets.", "summary_agent": None}
    assert summaries(json.dumps([record]), "calls.json") == {"user": ("The customer greets.",)}


def test_paths_name_summaries_of_roles():
    value = {
        "talk": [{"who": "Customer", "said": "hi"}, {"who": "Agent", "said": "hello"}],
        "gist": {"u": ["A.", "B."]},
    }
    paths = {"turns": "talk", "speaker": "who", "text": "said", "summary.user": "gist.u.*", "summary.agent": "gist.a"}
    assert summaries(json.dumps(value), "calls.json", json_path=paths) == {"user": ("A.", "B.")}
    with pytest.raises(UsageError, match='--json-path: unknown role "usr"'):
        summaries(json.dumps(value), "calls.json", json_path={**paths, "summary.usr": "gist"})
