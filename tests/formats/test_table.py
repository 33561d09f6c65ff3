import json

import pytest

from rolesum.errors import DataError, Problem, UsageError
from rolesum.formats import ReadOptions, Source, parse_dialogues, read_dialogues, sniff_format
from rolesum.formats.table import parse_columns

CALLS = """call_id;who;utterance;part
c1;Anna;Hi;client
c2;Bob;Yo;
c1;Tom;"Hello; yes
indeed";agent
"""
COLUMNS = parse_columns("id=call_id,speaker=who,text=utterance,role=part")


def said(dialogue):
    return [(turn.speaker, turn.text) for turn in dialogue.turns]


def test_mapped_columns_give_the_turns_grouped_by_id_whatever_parts_the_cells():
    first, second = read_dialogues(Source("calls.csv", CALLS), ReadOptions(columns=COLUMNS))
    assert (first.id, said(first)) == ("c1", [("Anna", "Hi"), ("Tom", "Hello; yes indeed")])
    assert first.roles == {"Anna": "user", "Tom": "agent"}
    assert (second.id, said(second), second.roles) == ("c2", [("Bob", "Yo")], {})
    assert first.source == "calls.csv:2"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_of_the_plain_names_need_no_mapping(delimiter):
    source = Source("t", "ID,Speaker,Text\n1,Customer,Hi\n1,Agent,Hello\n".replace(",", delimiter))
    assert sniff_format(source).name == "csv"
    (dialogue,) = read_dialogues(source)
    assert said(dialogue) == [("Customer", "Hi"), ("Agent", "Hello")]
    assert dialogue.roles == {"Customer": "user", "Agent": "agent"}


def test_a_table_without_ids_is_one_dialogue():
    (dialogue,) = read_dialogues(Source("talk.tsv", "speaker\ttext\nA\tHi\nB\tYo\n"))
    assert (dialogue.id, said(dialogue)) == ("talk", [("A", "Hi"), ("B", "Yo")])


def test_a_row_may_be_a_dialogue():
    text = 'call,talk,sum\n7,"Anna: hi\nTom: yo",They greet.\n8,"Anna: bye",\n'
    columns = {"id": "call", "dialogue": "talk", "summary": "sum"}
    first, second = read_dialogues(Source("t.csv", text), ReadOptions(columns=columns))
    assert (first.id, said(first)) == ("7", [("Anna", "hi"), ("Tom", "yo")])
    assert (first.summaries, second.summaries) == ({"overall": ("They greet.",)}, {})
    assert (second.id, second.source) == ("8", "t.csv:4")


def test_rows_without_a_speaker_need_a_rule():
    source = Source("t.csv", "speaker,text\nAnna,Hi\n,there\n")
    with pytest.raises(DataError, match="1 of 2 turns without a speaker"):
        read_dialogues(source)
    (dialogue,) = read_dialogues(source, ReadOptions(unknown_speaker="continue"))
    assert said(dialogue) == [("Anna", "Hi there")]


def test_a_column_that_the_table_lacks_is_a_usage_error_with_the_nearest():
    with pytest.raises(UsageError, match='did you mean "call_id"'):
        read_dialogues(Source("calls.csv", CALLS), ReadOptions(columns={**COLUMNS, "id": "callid"}))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("idd=x", 'no field "idd"'),
        ("id", '"id" is not NAME=VALUE'),
        ("id=", '"id=" is not NAME=VALUE'),
        ("=a", '"=a" is not NAME=VALUE'),
        ("id=a,id=b", '"id" has two values'),
        ("dialogue=a,text=b", "either a turn or a whole dialogue"),
        ("", '"" is not NAME=VALUE'),
    ],
)
def test_a_mapping_that_makes_no_sense_is_a_usage_error(text, what):
    with pytest.raises(UsageError, match=what):
        parse_columns(text)


def test_columns_of_another_format_are_a_usage_error():
    with pytest.raises(UsageError, match="columns are mapped in csv only"):
        parse_dialogues(Source("t.txt", "Anna: hi"), ReadOptions(format="plain", columns=COLUMNS))


def test_a_broken_row_is_told_with_its_line_and_its_dialogue_is_left_out():
    items = list(parse_dialogues(Source("t.csv", "id,speaker,text\n1,A,Hi\n2,A,Yo\n2,B\n3,A,Bye\n")))
    (problem,) = [item for item in items if isinstance(item, Problem)]
    assert problem.where == "t.csv:4"
    assert [item.id for item in items if not isinstance(item, Problem)] == ["1", "3"]


def test_two_roles_of_one_speaker_are_a_problem():
    (item,) = parse_dialogues(Source("t.csv", "id,speaker,text,role\n1,A,Hi,user\n1,A,Yo,agent\n"))
    assert isinstance(item, Problem) and item.where == "t.csv:3, id 1"


def test_a_table_whose_columns_nobody_knows_asks_for_the_mapping():
    with pytest.raises(DataError, match="--columns"):
        read_dialogues(Source("calls.csv", CALLS))
    with pytest.raises(DataError, match="--columns"):
        read_dialogues(Source("calls.csv", CALLS), ReadOptions(format="csv"))


def test_a_column_that_is_there_twice_is_refused():
    with pytest.raises(DataError, match="the column id is there twice"):
        read_dialogues(Source("calls.csv", "id,id,speaker,text\n1,2,Customer,Hello?\n"))


@pytest.mark.parametrize("cell", ["Customer: " + "long " * 28_000, "x" * 140_000])
def test_a_cell_may_be_longer_than_131072_characters(cell):
    rows = f'id,speaker,text\n1,Customer,"{cell}"\n2,Agent,ok\n'
    first, second = read_dialogues(Source("bigcell.csv", rows))
    assert len(first.turns[0].text) > 131_072 and second.turns[0].text == "ok"


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;", "sep=;;;"])
def test_a_line_that_names_the_delimiter_stands_above_the_header(first):
    (dialogue,) = read_dialogues(Source("sep.csv", f"{first}\nid;speaker;text\n1;Customer;hello\n1;Agent;ok\n"))
    assert [turn.text for turn in dialogue.turns] == ["hello", "ok"] and dialogue.source == "sep.csv:3"


def test_problems_below_such_a_line_have_the_lines_of_the_file():
    with pytest.raises(DataError) as told:
        read_dialogues(Source("sep.csv", "sep=;\nid;speaker;text\n1;Customer;hello\n1;Agent\n"))
    assert told.value.problems[0].where == "sep.csv:4"


def test_a_markdown_table_is_one_of_pipes_without_its_rule():
    table = "| id | speaker | text |\n|---|:---:|---|\n| 1 | Customer | hello |\n| 1 | Agent | ok |\n"
    (dialogue,) = read_dialogues(Source("table.md", table))
    assert [turn.text for turn in dialogue.turns] == ["hello", "ok"]


def test_the_columns_of_samsum_may_stand_below_the_delimiters_line():
    (dialogue,) = read_dialogues(Source("s.csv", 'sep=,\nid,dialogue,summary\n7,"Anna: hi\nTom: yo",They greet.\n'))
    assert dialogue.id == "7" and dialogue.summaries == {"overall": ("They greet.",)}


@pytest.mark.parametrize(
    ("talk", "what"), [("they met", "its line 1 names no speaker"), ("", "the dialogue has no turns")]
)
@pytest.mark.parametrize("form", ["csv", "samsum"])
def test_a_dialogue_without_a_speaker_is_a_problem_that_says_why(form, talk, what):
    (item,) = parse_dialogues(Source("t.csv", f"id,dialogue\n7,{talk}\n"), ReadOptions(format=form))
    assert isinstance(item, Problem) and what in item.what and item.where == "t.csv:2, id 7"


def test_rows_may_be_the_objects_of_json_lines():
    rows = [
        {"call": 7.0, "who": "Anna", "said": "Hi", "cost": {"cents": 5}, "summary_user": "Anna greets."},
        {"call": 7.0, "who": None, "said": "there"},
        {"call": 8.5, "who": "Tom", "said": 5},
    ]
    source = Source("calls.jsonl", "\n".join(map(json.dumps, rows)))
    columns = {"id": "call", "speaker": "who", "text": "said"}
    first, second = read_dialogues(source, ReadOptions(columns=columns, unknown_speaker="continue"))
    assert (first.id, said(first), first.summaries) == ("7", [("Anna", "Hi there")], {"user": ("Anna greets.",)})
    assert (second.id, said(second)) == ("8.5", [("Tom", "5")])


def test_a_mapped_column_of_json_holds_texts_or_numbers():
    columns = {"id": "call", "dialogue": "talk"}
    text = '{"call": 1, "talk": "Anna: hi"}\n{"call": 2, "talk": ["Anna: hi"]}\n[]'
    good, *problems = parse_dialogues(Source("calls.jsonl", text), ReadOptions(columns=columns))
    assert good.id == "1" and [one.where for one in problems] == ["calls.jsonl:2", "calls.jsonl:3"]
    assert "--json-path" in problems[0].fix
