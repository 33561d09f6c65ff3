import json
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rolesum.dialogue import Dialogue, Pair, Statement, Turn
from rolesum.errors import Problem
from rolesum.formats import ReadOptions, Source, jsonl, parquet, parse_dialogues, read_dialogues, read_items
from rolesum.formats.jsonl import to_json

SCHEMA = json.loads(resources.files("rolesum.formats").joinpath("dialogue.schema.json").read_text(encoding="utf-8"))
TURNS = [{"speaker": "Anna", "text": "hi"}, {"speaker": "Tom", "text": "hello"}]
SMALL = {"id": "1", "turns": TURNS}
STATEMENT = {"text": "Anna greeted Tom.", "role": "user", "supported": True}
PAIR = {"role": "user", "chosen": "Anna greeted Tom.", "rejected": "Tom greeted Anna."}

GOOD = [
    SMALL,
    {**SMALL, "id": 7},
    {**SMALL, "roles": {}},
    {**SMALL, "roles": {"Anna": "user", "Tom": "agent"}},
    {**SMALL, "summaries": {}},
    {**SMALL, "summaries": {"user": "A greeting."}},
    {**SMALL, "summaries": {"user": ["A greeting.", "Hi."]}},
    {**SMALL, "language": "zh", "meta": {"anything": [1, None]}},
    {**SMALL, "turns": [*TURNS, {"speaker": "Tom", "text": "  "}]},
    {**SMALL, "turns": [{**TURNS[0], "time": "10:30"}, TURNS[1]]},
    {**SMALL, "summaries": {"brief": "A greeting."}},
    {**SMALL, "statements": []},
    {**SMALL, "statements": [STATEMENT, {**STATEMENT, "turns": [1, 2]}]},
    {**SMALL, "statements": [{**STATEMENT, "supported": False, "kind": "negation"}]},
    {**SMALL, "pairs": []},
    {**SMALL, "pairs": [PAIR, {**PAIR, "role": "overall"}]},
]
BAD = [
    {"turns": TURNS},
    {**SMALL, "id": ""},
    {**SMALL, "id": None},
    {**SMALL, "id": 1.5},
    {**SMALL, "id": True},
    {**SMALL, "id": ["1"]},
    {"id": "1"},
    {**SMALL, "turns": []},
    {**SMALL, "turns": None},
    {**SMALL, "turns": "Anna: hi"},
    {**SMALL, "turns": ["hi"]},
    {**SMALL, "turns": [{"speaker": "Anna"}]},
    {**SMALL, "turns": [{"speaker": "Anna", "text": None}]},
    {**SMALL, "turns": [{"speaker": " ", "text": "hi"}]},
    {**SMALL, "turns": [{"speaker": "Anna", "text": "hi", "time": " "}]},
    {**SMALL, "turns": [{"speaker": "Anna", "text": "hi", "time": 630}]},
    {**SMALL, "turns": [{"speaker": "Anna", "text": "hi", "when": "10:30"}]},
    {**SMALL, "brief": "A greeting."},
    {**SMALL, "statements": {}},
    {**SMALL, "statements": ["Anna greeted Tom."]},
    {**SMALL, "statements": [{"text": "Anna greeted Tom.", "role": "user"}]},
    {**SMALL, "statements": [{**STATEMENT, "supported": "yes"}]},
    {**SMALL, "statements": [{**STATEMENT, "text": " "}]},
    {**SMALL, "statements": [{**STATEMENT, "kind": ""}]},
    {**SMALL, "statements": [{**STATEMENT, "turns": [0]}]},
    {**SMALL, "statements": [{**STATEMENT, "turns": [True]}]},
    {**SMALL, "statements": [{**STATEMENT, "turns": 1}]},
    {**SMALL, "statements": [{**STATEMENT, "label": True}]},
    {**SMALL, "pairs": {}},
    {**SMALL, "pairs": ["A greeting."]},
    {**SMALL, "pairs": [{"role": "user", "chosen": "A greeting."}]},
    {**SMALL, "pairs": [{**PAIR, "rejected": " "}]},
    {**SMALL, "pairs": [{**PAIR, "chosen": ["A greeting."]}]},
    {**SMALL, "pairs": [{**PAIR, "score": 1}]},
    {**SMALL, "turns": [{"speaker": "Anna", "text": " \n"}]},
    {**SMALL, "roles": None},
    {**SMALL, "roles": ["user"]},
    {**SMALL, "roles": {"Anna": 1}},
    {**SMALL, "summaries": "A greeting."},
    {**SMALL, "summaries": {"user": ""}},
    {**SMALL, "summaries": {"user": []}},
    {**SMALL, "summaries": {"user": ["A greeting.", " "]}},
    {**SMALL, "summaries": {"user": None}},
    {**SMALL, "language": "fr"},
    {**SMALL, "language": None},
    {**SMALL, "meta": []},
    {**SMALL, "sumaries": {}},
]


def read(record):
    return list(parse_dialogues(Source("chats.jsonl", json.dumps(record)), ReadOptions(format="rolesum")))


def is_read(record):
    items = read(record)
    assert items
    return all(isinstance(item, Dialogue) for item in items)


@pytest.mark.parametrize("record", GOOD, ids=json.dumps)
def test_a_good_record_is_read_and_keeps_to_the_schema(record):
    assert Draft202012Validator(SCHEMA).is_valid(record)
    assert is_read(record)


@pytest.mark.parametrize("record", BAD, ids=json.dumps)
def test_a_bad_record_is_refused_by_the_reader_and_by_the_schema(record):
    assert not Draft202012Validator(SCHEMA).is_valid(record)
    assert not is_read(record)


# Most fields are well-formed, so that about half of the records are good and a bad one is bad in one place.
letters = st.text(min_size=1, max_size=3)
blanks = st.sampled_from(["", " ", "\t\n", "\u3000", "\u200b", "\x1f", "\ufeff"])
values = st.none() | st.floats(0.1, 0.9) | blanks | st.lists(blanks, max_size=2) | st.just({})
turns = st.fixed_dictionaries({"speaker": letters, "text": letters | blanks})
bad_turns = st.fixed_dictionaries({"speaker": letters | values}, optional={"text": letters | values, "time": blanks})
summaries = letters | st.lists(letters | blanks, max_size=2)
good = {
    "id": letters | st.integers(),
    "turns": st.lists(turns, min_size=1, max_size=3),
    "summaries": st.dictionaries(letters, letters | st.lists(letters, min_size=1, max_size=2), max_size=2),
    "language": st.sampled_from(["en", "zh"]),
    "meta": st.dictionaries(letters, values, max_size=1),
}
odd = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys((*good, "extra"), values),
        "turns": st.lists(turns | bad_turns, max_size=3) | values,
        "summaries": st.dictionaries(letters, summaries | values, max_size=2) | values,
    },
)
whole = st.fixed_dictionaries(
    {key: good[key] for key in ("id", "turns")}, optional={key: good[key] for key in ("summaries", "language", "meta")}
)
records = whole | st.builds(lambda record, change: {**record, **dict(list(change.items())[:1])}, whole, odd)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(records)
def test_the_schema_and_the_reader_take_the_same_records(record):
    assert is_read(record) == Draft202012Validator(SCHEMA).is_valid(record)


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)


def test_a_record_becomes_a_dialogue_with_all_that_it_says():
    (dialogue,) = read(
        {
            "id": 7,
            "turns": [{"speaker": " Anna ", "text": " hi "}, {"speaker": "Tom", "text": " "}],
            "roles": {"Anna": "user"},
            "summaries": {"user": ["A greeting.", "Hi."], "overall": "Hello."},
            "language": "zh",
            "meta": {"domain": "bank"},
        }
    )
    assert dialogue == Dialogue(
        id="7",
        turns=(Turn("Anna", "hi"),),
        roles={"Anna": "user"},
        summaries={"user": ("A greeting.", "Hi."), "overall": ("Hello.",)},
        language="zh",
        meta={"domain": "bank"},
        source="chats.jsonl:1",
    )


def test_roles_that_are_left_out_are_those_that_the_labels_name():
    (dialogue,) = read({"id": "1", "turns": [{"speaker": "Customer", "text": "hi"}, *TURNS]})
    assert dialogue.roles == {"Customer": "user"}


def test_roles_that_are_given_are_taken_as_they_are():
    (dialogue,) = read({"id": "1", "turns": [{"speaker": "Customer", "text": "hi"}], "roles": {}})
    assert dialogue.roles == {}


def test_a_role_for_a_speaker_who_never_speaks_is_a_problem():
    (problem,) = read({**SMALL, "roles": {"Ana": "user"}})
    assert problem.where == "chats.jsonl:1, id 1"
    assert "Ana" in problem.what


def test_a_misspelt_field_gets_the_nearest_one():
    (problem,) = read({**SMALL, "sumaries": {}})
    assert 'unknown field "sumaries"' in problem.what
    assert problem.fix == 'did you mean "summaries"?'


def test_all_faults_of_one_record_are_told():
    assert len(read({"turns": TURNS, "language": "fr", "meta": 5})) == 3


@pytest.mark.parametrize("record", GOOD, ids=json.dumps)
def test_a_dialogue_written_in_this_format_reads_as_itself(record):
    (dialogue,) = read(record)
    (again,) = parse_dialogues(Source("chats.jsonl", to_json(dialogue)), ReadOptions(format="rolesum"))
    assert again == dialogue


def test_roles_that_nobody_plays_are_still_nobodys_after_writing_and_reading():
    (dialogue,) = read({"id": "1", "turns": [{"speaker": "Customer", "text": "hi"}], "roles": {}})
    (again,) = parse_dialogues(Source("chats.jsonl", to_json(dialogue)), ReadOptions(format="rolesum"))
    assert again.roles == {}


def test_the_bundled_samples_keep_to_the_schema_and_read_as_themselves():
    for dialogue in read_dialogues("sample:zh-test"):
        line = to_json(dialogue)
        assert Draft202012Validator(SCHEMA).is_valid(json.loads(line))
        (again,) = parse_dialogues(Source("again.jsonl", line))
        assert (again.turns, again.roles, again.summaries) == (dialogue.turns, dialogue.roles, dialogue.summaries)


def test_statements_name_turns_from_1_in_the_file_and_from_0_in_memory():
    (dialogue,) = read({**SMALL, "statements": [{**STATEMENT, "turns": [2]}]})
    assert dialogue.statements == (Statement("Anna greeted Tom.", "user", True, (1,)),)
    assert json.loads(to_json(dialogue))["statements"][0]["turns"] == [2]


def test_turns_that_are_dropped_shift_no_statement_to_another_turn():
    turns = [TURNS[0], {"speaker": "Tom", "text": " "}, TURNS[1]]
    (dialogue,) = read({"id": "1", "turns": turns, "statements": [{**STATEMENT, "turns": [3]}]})
    assert dialogue.turns[dialogue.statements[0].turns[0]].text == "hello"


@pytest.mark.parametrize("number", [3, 4])
def test_a_statement_that_names_a_turn_without_text_or_beyond_the_last_is_refused(number):
    turns = [*TURNS, {"speaker": "Tom", "text": " "}]
    (problem,) = read({"id": "1", "turns": turns, "statements": [STATEMENT, {**STATEMENT, "turns": [number]}]})
    assert problem.what == f"statement 2 names turn {number}, which is not there"


def test_pairs_are_read_and_written_as_they_are():
    (dialogue,) = read({**SMALL, "pairs": [PAIR]})
    assert dialogue.pairs == (Pair("user", "Anna greeted Tom.", "Tom greeted Anna."),)
    assert json.loads(to_json(dialogue))["pairs"] == [PAIR]


def test_a_pair_whose_texts_differ_in_spaces_only_is_refused():
    (problem,) = read({**SMALL, "pairs": [PAIR, {**PAIR, "rejected": " Anna  greeted Tom. "}]})
    assert problem.what == "pair 2, for user: the chosen and the rejected summary are the same"


def test_the_role_of_a_pair_may_be_an_alias():
    source = Source("chats.jsonl", json.dumps({**SMALL, "pairs": [{**PAIR, "role": "customer"}]}))
    assert read_dialogues(source)[0].pairs[0].role == "user"


def test_the_fields_that_a_turn_may_not_have_are_named():
    (problem,) = read_items(Path(__file__).parent.parent / "assets" / "inputs" / "extra.jsonl")
    assert 'turn 1 has "end", "start" too' in problem.what and problem.where.endswith("extra.jsonl:1, id 1")


@pytest.mark.parametrize(
    ("turn", "what"),
    [
        ("hi", "turn 2 is no object"),
        ({"speaker": "A"}, "turn 2 has no text under text"),
        ({"speaker": " ", "text": "a"}, "turn 2 has no text under speaker"),
        ({"speaker": "A", "text": "a", "time": 3}, "turn 2 has no text under time"),
    ],
)
def test_a_broken_turn_is_named_by_its_number(turn, what):
    (problem,) = read_items(
        Source("x.jsonl", json.dumps({"id": "1", "turns": [{"speaker": "A", "text": "a"}, turn]})),
        ReadOptions(format="rolesum"),
    )
    assert what in problem.what


def test_nan_in_meta_is_written_as_null():
    (dialogue,) = read_dialogues(Path(__file__).parent.parent / "assets" / "inputs" / "nanmeta.jsonl")
    assert json.loads(to_json(dialogue), parse_constant=pytest.fail)["meta"] == {"score": None, "x": None}


def test_the_fields_are_the_columns_that_are_read_from_parquet_and_the_schemas():
    assert set(jsonl.FIELDS) == set(parquet.FIELDS) == set(SCHEMA["properties"])


@pytest.mark.parametrize("turns", [None, [], [None]])
def test_a_row_of_parquet_without_turns_is_a_problem_of_that_row(tmp_path, turns):
    pyarrow = pytest.importorskip("pyarrow", reason="pip install 'rolesum[parquet]'")
    from pyarrow import parquet as writer

    good = {"id": "b", "turns": [{"speaker": "Anna", "text": "hi"}]}
    struct = pyarrow.struct([("speaker", pyarrow.string()), ("text", pyarrow.string())])
    schema = pyarrow.schema([("id", pyarrow.string()), ("turns", pyarrow.list_(struct))])
    table = pyarrow.Table.from_pylist([{"id": "a", "turns": turns}, good, {"id": "c", "turns": turns}], schema=schema)
    writer.write_table(table, tmp_path / "in.parquet")
    items = list(read_items(tmp_path / "in.parquet"))
    assert [item.id for item in items if isinstance(item, Dialogue)] == ["b"]
    places = [item.where.partition(", id ")[2] for item in items if isinstance(item, Problem)]
    assert list(dict.fromkeys(places)) == ["a", "c"]
