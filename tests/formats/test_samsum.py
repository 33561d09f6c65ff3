import json

import pytest

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats import ReadOptions, Source, parse_dialogues, sniff_format
from rolesum.formats.check import check_file

RECORDS = [
    {"id": "13", "dialogue": "Anna: hi\r\nTom: hello\r\n\r\nAnna: bye", "summary": "They greet."},
    {"id": 14, "dialogue": 'Anna: the "best", really\nTom: <file_gif>', "summary": " They laugh. "},
]
FORMS = {
    "json": json.dumps(RECORDS),
    "jsonl": "\n".join(map(json.dumps, RECORDS)),
    "csv": "id,dialogue,summary\n"
    '13,"Anna: hi\nTom: hello\n\nAnna: bye",They greet.\n'
    '14,"Anna: the ""best"", really\nTom: <file_gif>", They laugh. \n',
    "csv with other columns first": "summary,id,dialogue\n"
    'They greet.,13,"Anna: hi\nTom: hello\n\nAnna: bye"\n'
    'They laugh.,14,"Anna: the ""best"", really\nTom: <file_gif>"\n',
}


def items(text, name="chats"):
    return list(parse_dialogues(Source(name, text), ReadOptions(format="samsum")))


@pytest.mark.parametrize("form", FORMS)
def test_json_json_lines_and_csv_give_the_same_dialogues(form):
    first, second = items(FORMS[form])
    assert (first.id, second.id) == ("13", "14")
    assert first.turns == (Turn("Anna", "hi"), Turn("Tom", "hello"), Turn("Anna", "bye"))
    assert second.turns == (Turn("Anna", 'the "best", really'), Turn("Tom", "<file_gif>"))
    assert (first.summaries, second.summaries) == ({"overall": ("They greet.",)}, {"overall": ("They laugh.",)})
    assert first.roles == {}


def test_a_record_without_a_summary_is_a_dialogue_without_references():
    (dialogue,) = items('{"id": "1", "dialogue": "Anna: hi"}')
    assert dialogue.summaries == {}


@pytest.mark.parametrize("summary", ["", " \n", 5, ["They greet."]])
def test_a_summary_that_is_empty_or_no_text_is_a_problem(summary):
    (item,) = items(json.dumps({"id": "1", "dialogue": "Anna: hi", "summary": summary}))
    assert isinstance(item, Problem)
    assert item.where == "chats:1, id 1"
    assert "summary" in item.what


def test_a_dialogue_that_does_not_begin_with_a_speaker_is_a_problem():
    (item,) = items('{"id": "1", "dialogue": "hi there\\nAnna: hi"}')
    assert isinstance(item, Problem)
    assert "does not begin" in item.what


def test_rows_of_a_csv_are_placed_where_they_begin():
    found = items('id,dialogue,summary\n1,"Anna: hi\nTom: yo",s\n2,,s\n3,"Anna: hi",s\n', "chats.csv")
    assert [item.source if isinstance(item, Dialogue) else item.where for item in found] == [
        *("chats.csv:2", "chats.csv:4, id 2", "chats.csv:5"),
    ]


def test_blank_rows_of_a_csv_shift_no_place():
    found = items('id,dialogue,summary\n1,"Anna: hi",s\n\n\n2,,s\n', "chats.csv")
    assert found[1].where == "chats.csv:5, id 2"


def test_a_csv_row_that_is_too_short_is_a_problem_with_its_line():
    found = items('id,dialogue,summary\n1,"Anna: hi",s\n2\n3,"Anna: hi",s\n', "chats.csv")
    assert [item.where for item in found if isinstance(item, Problem)] == ["chats.csv:3"]
    assert [item.id for item in found if isinstance(item, Dialogue)] == ["1", "3"]


def test_a_csv_row_with_an_empty_id_is_a_problem():
    (item,) = items('id,dialogue,summary\n,"Anna: hi",s\n', "chats.csv")
    assert isinstance(item, Problem)


def test_a_csv_quote_that_is_never_closed_is_told_at_the_row_that_opens_it():
    rows = "".join(f"{number},Anna: hi,s\n" for number in range(4, 50))
    found = items(f'id,dialogue,summary\n1,Anna: hi,s\n2,"Anna: hi,s\n{rows}', "chats.csv")
    assert found[0].id == "1"
    assert "broken CSV" in found[1].what
    assert found[1].where == "chats.csv:3"


@pytest.mark.parametrize(
    ("name", "good", "broken"),
    [
        pytest.param("train", 14731, ["13828807"], marks=pytest.mark.slow),
        ("val", 818, []),
        ("test", 819, []),
    ],
)
def test_the_real_data_is_read_whole_but_for_its_one_empty_dialogue(shared, name, good, broken):
    found = check_file(shared / "data" / "samsum" / f"{name}.json")
    assert (found.format, found.dialogues, found.languages) == ("samsum", good, {"en": good})
    assert found.summaries == {"overall": good}
    assert [problem.where.rpartition(", id ")[2] for problem in found.problems] == broken
    assert all(problem.what == "the dialogue has no turns" for problem in found.problems)


@pytest.mark.parametrize("row", ["1,Anna: hi, Tom,they greet", "1,Anna: hi"])
def test_a_csv_row_with_more_or_fewer_cells_than_the_header_is_a_problem(row):
    (problem,) = parse_dialogues(Source("f.csv", f"id,dialogue,summary\n{row}\n"), ReadOptions(format="samsum"))
    assert problem.where == "f.csv:2" and "cells" in problem.what


def test_blank_lines_in_a_csv_are_no_records_and_shift_no_line():
    text = "id,dialogue,summary\n\n1,Anna: hi,x\n   \n2,,y\n   "
    one, problem = parse_dialogues(Source("f.csv", text), ReadOptions(format="samsum"))
    assert one.source == "f.csv:3" and problem.where == "f.csv:5, id 2"


def test_a_csv_without_its_columns_is_told_which_are_missing():
    (problem,) = parse_dialogues(Source("f.csv", "name,dialogue\n1,Anna: hi\n"), ReadOptions(format="samsum"))
    assert "no column id" in problem.what


def test_a_first_line_longer_than_any_header_is_no_csv():
    source = Source("f.txt", "Anna: " + "a," * 100_000)
    assert sniff_format(source).name == "plain"
