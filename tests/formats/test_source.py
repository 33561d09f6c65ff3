import json

import pytest

from rolesum.errors import DataError, Problem
from rolesum.formats.source import Record, Source, open_source

LONG = 1000


def record(number):
    return {"id": str(number), "dialogue": "Anna: hi\nTom: hello", "summary": "They greet."}


def split(source):
    items = list(source.records())
    return [item for item in items if isinstance(item, Record)], [item for item in items if isinstance(item, Problem)]


@pytest.fixture
def opened(tmp_path):
    """Writes bytes to a file and opens it."""

    def write(raw, name="chats.jsonl"):
        path = tmp_path / name
        path.write_bytes(raw)
        return open_source(path)

    return write


def test_line_ends_of_windows_and_of_old_macs_become_newlines(opened):
    assert opened(b"Anna: hi\r\nTom: yo\rAnna: bye\n").text == "Anna: hi\nTom: yo\nAnna: bye\n"


def test_a_byte_order_mark_is_no_part_of_the_text(opened):
    assert opened(b'\xef\xbb\xbf{"id": "1"}').first_record == {"id": "1"}


def test_a_file_that_is_not_utf8_is_refused_with_the_line_and_the_byte(opened):
    with pytest.raises(DataError) as caught:
        opened("用户：你好\n客服：".encode() + "您好".encode("gb18030"))
    assert caught.value.problems[0].where.endswith("chats.jsonl:2")
    assert "not UTF-8: byte 0xc4" in str(caught.value)
    assert "GB18030" in caught.value.problems[0].fix


def test_the_line_and_the_byte_are_right_behind_a_byte_order_mark_too(opened):
    with pytest.raises(DataError) as caught:
        opened(b"\xef\xbb\xbfAnna: hi\n\xffTom: yo\n")
    assert caught.value.problems[0].where.endswith("chats.jsonl:2")
    assert "byte 0xff" in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"\xef\xbb\xbf", b" \r\n\n"])
def test_an_empty_file_is_refused(opened, raw):
    with pytest.raises(DataError, match="the file is empty"):
        opened(raw)


def test_a_file_that_cannot_be_read_is_refused_with_its_name(tmp_path):
    with pytest.raises(DataError, match=r"none\.json: cannot read the file"):
        open_source(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot read the file"):
        open_source(tmp_path)


def test_a_misspelt_sample_gets_the_nearest_one():
    with pytest.raises(DataError, match='did you mean "en-test"'):
        open_source("sample:en-tset")


def test_broken_json_in_line_812_is_named_by_its_line_and_the_other_lines_are_read():
    lines = [json.dumps(record(number)) for number in range(1, LONG + 1)]
    lines[811] = lines[811].replace('"dialogue":', '"dialogue"')
    records, problems = split(Source("chats.jsonl", "\n".join(lines)))
    assert [problem.where for problem in problems] == ["chats.jsonl:812"]
    assert "Expecting ':' delimiter" in problems[0].what
    assert len(records) == LONG - 1


def test_every_broken_line_is_told():
    records, problems = split(Source("chats.jsonl", '{"id": 1}\n{"id": \n{"id": 3}\nid: 4\n'))
    assert [problem.where for problem in problems] == ["chats.jsonl:2", "chats.jsonl:4"]
    assert [item.value["id"] for item in records] == [1, 3]


def test_blank_lines_are_passed_over_and_counted():
    records, _ = split(Source("chats.jsonl", '\n{"id": 1}\n\n \n{"id": 2}\n'))
    assert [item.location for item in records] == ["chats.jsonl:2", "chats.jsonl:5"]


def test_records_of_an_array_are_placed_where_they_begin():
    text = json.dumps([record(number) for number in range(3)], indent=1)
    records, problems = split(Source("chats.json", text))
    assert problems == []
    lines = text.split("\n")
    assert [lines[int(item.location.partition(":")[2]) - 1].strip() for item in records] == ["{"] * 3
    assert [item.location for item in records] == ["chats.json:2", "chats.json:7", "chats.json:12"]


def test_a_broken_element_of_an_array_is_named_by_its_line_and_what_stands_before_it_is_read():
    text = '[\n{"id": 1},\n{"id": 2,\n "dialogue" "Anna: hi"},\n{"id": 3}\n]'
    records, problems = split(Source("chats.json", text))
    assert [item.value for item in records] == [{"id": 1}]
    assert [problem.where for problem in problems] == ["chats.json:4"]
    assert "dialogue" in problems[0].what


def test_an_array_that_is_cut_off_is_a_problem():
    for text in ('[{"id": 1}, {"id": 2', '[{"id": 1},', '[{"id": 1}'):
        records, problems = split(Source("chats.json", text))
        assert [item.value for item in records] == [{"id": 1}]
        assert len(problems) == 1


def test_text_after_the_end_of_an_array_is_a_problem_with_its_line():
    _, problems = split(Source("chats.json", '[{"id": 1}\n]\n{"id": 2}'))
    assert problems[0].where == "chats.json:2"
    assert "after the end" in problems[0].what


def test_one_object_over_several_lines_is_one_record():
    records, problems = split(Source("chat.json", "\n" + json.dumps(record(1), indent=2)))
    assert problems == []
    assert [(item.value, item.location) for item in records] == [(record(1), "chat.json:2")]


@pytest.mark.parametrize(
    "text", ['{"id": "1", "score": NaN}', '[{"id": "1", "score": 1e999}]', '{\n"id": "1",\n"score": -Infinity}']
)
def test_nan_and_infinities_are_read_as_null(text):
    assert Source("x.json", text).first_record == {"id": "1", "score": None}


def test_half_of_an_emoji_in_an_object_of_several_lines_is_a_problem():
    _, problems = split(Source("x.json", '{\n"id": "\\ud83d"\n}'))
    assert "half of an emoji" in problems[0].what


@pytest.mark.parametrize(
    ("text", "is_json"),
    [
        ("{name} said so", False),
        ("[客服]小王：好", False),
        ('{"a": 1}', True),
        ("{'a': 1}", True),
        ("{\n", True),
        ("{}", True),
        ("[]", True),
        ("{id: 1}", True),
    ],
)
def test_a_text_that_begins_with_a_brace_is_no_json(text, is_json):
    assert Source("x", text).is_json == is_json


def test_a_dialogue_from_standard_input_has_the_id_stdin():
    assert Source("standard input", "Anna: hi").stem == "stdin"
