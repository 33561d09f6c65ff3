import json

import pytest

from rolesum.errors import UsageError
from rolesum.formats import ReadOptions
from rolesum.formats.check import check_file


@pytest.fixture
def data_file(tmp_path):
    """Writes records as JSON lines and gives the path."""

    def write(*records):
        path = tmp_path / "chats.jsonl"
        path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
        return path

    return write


def chat(identity, *turns, **more):
    return {"id": identity, "turns": [{"speaker": speaker, "text": text} for speaker, text in turns], **more}


def test_what_a_file_holds_is_counted(data_file):
    path = data_file(
        chat("1", ("Customer", "hello"), ("Agent", "hi"), ("Customer", "bye"), summaries={"user": ["A.", "B."]}),
        chat("2", ("用户", "你好"), ("小王", "您好"), summaries={"user": "问好。", "overall": "寒暄。"}),
    )
    found = check_file(path)
    assert (found.format, found.dialogues, found.turns, found.problems) == ("rolesum", 2, 5, [])
    assert found.languages == {"en": 1, "zh": 1}
    assert found.speakers_by_role == {"user": 2, "agent": 1, "no role": 1}
    assert found.summaries == {"user": 3, "overall": 1}


def test_every_repetition_of_an_id_is_a_problem_that_names_both_places(data_file):
    path = data_file(*(chat(identity, ("Anna", "hi")) for identity in ("a", "b", "a", 1, "1", "a")))
    found = check_file(path)
    assert [problem.where.rpartition(":")[2] for problem in found.problems] == ["3", "5", "6"]
    assert f"the id a stands twice (first at {path}:1)" in found.problems[0].what
    assert f"first at {path}:4" in found.problems[1].what
    assert f"the id a stands twice (first at {path}:1)" in found.problems[2].what


def test_problems_and_good_records_are_told_apart(data_file):
    found = check_file(data_file(chat("1", ("Anna", "hi")), {"id": "2"}, chat("3", ("Anna", " "))))
    assert found.dialogues == 1
    assert [problem.where.rpartition(":")[2] for problem in found.problems] == ["2, id 2", "3, id 3"]


def test_custom_roles_are_counted_by_their_name(data_file):
    path = data_file(chat("1", ("翻译", "hello"), ("Tom", "hi"), roles={"翻译": "翻译"}))
    assert len(check_file(path).problems) == 1
    found = check_file(path, ReadOptions(custom_roles={"interpreter": ["翻译"]}))
    assert (found.problems, found.speakers_by_role) == ([], {"interpreter": 1, "no role": 1})


def test_an_unknown_format_is_a_usage_error(data_file):
    with pytest.raises(UsageError, match='unknown format "sansum"'):
        check_file(data_file(chat("1", ("Anna", "hi"))), ReadOptions(format="sansum"))


def test_the_result_is_plain_json(data_file):
    path = data_file(chat("1", ("Customer", "hello"), ("Agent", "hi"), summaries={"user": "A."}), {"id": "2"})
    told = json.loads(json.dumps(check_file(path).as_json()))
    assert (told["file"], told["format"], told["dialogues"], told["turns"]) == (str(path), "rolesum", 1, 2)
    assert told["languages"] == {"en": 1}
    assert told["speakers_by_role"] == {"user": 1, "agent": 1}
    assert told["summaries"] == {"user": 1}
    assert [problem["where"] for problem in told["problems"]] == [f"{path}:2, id 2"]


def test_given_speakers_play_their_roles_and_a_label_that_no_turn_has_is_a_problem(data_file):
    path = data_file(chat("1", ("Anna", "hi"), ("Tom", "hello"), summaries={"user": "Anna greets."}))
    (problem,) = check_file(path).problems
    assert "no speaker plays it (speakers: Anna, Tom)" in problem.what and "--speaker" in problem.fix
    assert check_file(path, ReadOptions(speakers={"Anna": "user"})).problems == []
    (problem,) = check_file(path, ReadOptions(speakers={"Anna": "user", "Ben": "agent"})).problems
    assert "no turn is spoken by Ben" in problem.what
