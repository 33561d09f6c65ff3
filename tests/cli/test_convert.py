"""rolesum data convert, as a user calls it."""

import io
import json
import sys
from pathlib import Path
from unittest import mock

import pytest

from helpers.command import rolesum
from rolesum.console import console
from rolesum.formats import ReadOptions, read_dialogues

VTT = "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Anna>Hi</v>\n\n00:03.000 --> 00:04.000\n<v Tom>Hello</v>\n"
BAD = (
    '{"fname": "a", "dialogue": "#Person1#: Hi", "summary": "x"}\n{"fname": "b"}\n{"fname": \n'
    '{"fname": "a", "dialogue": "#Person1#: Yo"}\n'
)


@pytest.fixture
def file(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def test_what_is_converted_reads_as_the_original_did(file, tmp_path):
    path = file("call.vtt", VTT)
    done = rolesum("data", "convert", path, tmp_path / "out.jsonl", "--speaker", "Anna=user", "--speaker", "Tom=agent")
    assert done.returncode == 0, done.stderr
    assert "format vtt, 1 dialogue, 2 turns" in done.stdout
    assert "Anna (user), Tom (agent)" in done.stdout
    assert done.stderr == ""
    (was,) = read_dialogues(path, ReadOptions(speakers={"Anna": "user", "Tom": "agent"}))
    (now,) = read_dialogues(tmp_path / "out.jsonl")
    assert [(d.id, d.turns, d.roles, d.summaries, d.meta, d.language) for d in (was, now)] == [
        (now.id, now.turns, now.roles, now.summaries, now.meta, now.language)
    ] * 2


@pytest.mark.parametrize("name", ["en-test", "zh-test"])
def test_the_samples_come_through_unchanged(tmp_path, name):
    rolesum("data", "convert", f"sample:{name}", tmp_path / "out.jsonl")
    rolesum("data", "convert", tmp_path / "out.jsonl", tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()
    was, now = read_dialogues(f"sample:{name}"), read_dialogues(tmp_path / "out.jsonl")
    assert [(d.id, d.turns, dict(d.roles), dict(d.summaries)) for d in was] == [
        (d.id, d.turns, dict(d.roles), dict(d.summaries)) for d in now
    ]


def test_standard_input_and_output_work_and_the_counts_go_to_standard_error():
    done = rolesum("data", "convert", "-", "-", stdin=VTT)
    assert [turn["speaker"] for turn in json.loads(done.stdout)["turns"]] == ["Anna", "Tom"]
    assert "1 dialogue," in done.stderr
    assert "no speaker has a role; assign roles with --speaker" in done.stderr


def test_bad_records_are_all_told_and_nothing_is_written(file, tmp_path):
    done = rolesum("data", "convert", file("d.jsonl", BAD), tmp_path / "out.jsonl")
    assert done.returncode == 3
    assert all(f"d.jsonl:{line}" in done.stderr for line in (2, 3, 4))
    assert not (tmp_path / "out.jsonl").exists()


def test_bad_records_can_be_left_out_and_are_counted(file, tmp_path):
    done = rolesum("data", "convert", file("d.jsonl", BAD), tmp_path / "out.jsonl", "--skip-bad", "--json")
    assert done.returncode == 0
    counts = json.loads(done.stdout)
    assert (counts["dialogues"], len(counts["problems"])) == (1, 3)
    assert "the id a stands twice" in done.stderr
    assert [dialogue.id for dialogue in read_dialogues(tmp_path / "out.jsonl")] == ["a"]


def test_a_file_with_no_good_dialogue_is_an_error_also_when_bad_ones_are_skipped(file, tmp_path):
    done = rolesum(
        "data", "convert", file("d.jsonl", '{"fname": "b", "dialogue": ""}'), tmp_path / "o.jsonl", "--skip-bad"
    )
    assert done.returncode == 3
    assert not (tmp_path / "o.jsonl").exists()


def test_unknown_speakers_and_columns_are_said_by_options(file, tmp_path):
    table = file("t.csv", "call,who,said\n1,,Hi\n1,,Yo\n")
    options = ("--columns", "id=call,speaker=who,text=said", "--unknown-speaker", "alternate=Customer,Agent")
    assert rolesum("data", "check", table, *options).returncode == 0
    done = rolesum("data", "convert", table, tmp_path / "o.jsonl", *options)
    assert "Customer (user), Agent (agent)" in done.stdout
    refused = rolesum("data", "convert", table, tmp_path / "p.jsonl", *options[:2])
    assert refused.returncode == 3 and "--unknown-speaker name=LABEL" in refused.stderr


def test_other_json_is_read_by_paths(file, tmp_path):
    path = file(
        "chat.json", '{"log": [{"from": {"n": "Customer"}, "body": "Hi"}, {"from": {"n": "Agent"}, "body": "Yo"}]}'
    )
    options = ("--json-path", "turns=log,speaker=from.n,text=body")
    assert rolesum("data", "check", path, *options).returncode == 0
    done = rolesum("data", "convert", path, tmp_path / "o.jsonl", *options)
    assert "format json, 1 dialogue, 2 turns" in done.stdout and "Customer (user), Agent (agent)" in done.stdout


@pytest.mark.parametrize(
    ("out", "options", "code", "told"),
    [
        ("out.csv", (), 2, "give OUT the ending .jsonl"),
        ("call.jsonl", (), 2, "the output file is the input file"),
        ("o.jsonl", ("--speaker", "Ann=user"), 2, 'did you mean "Anna"?'),
        ("o.jsonl", ("--speaker", "Anna=usr"), 2, 'did you mean "user"?'),
        ("o.jsonl", ("--unknown-speaker", "guess"), 2, "is not a rule"),
        ("o.jsonl", ("--columns", "id=a"), 2, "the table has no column a"),
        ("o.jsonl", ("--json-path", "text=body"), 2, "no path for turns"),
        ("o.jsonl", ("--json-path", "turns=a,text=b"), 3, "not JSON"),
        ("o.jsonl", ("--format", "vt"), 2, 'did you mean "vtt"?'),
    ],
)
def test_mistakes_are_told_with_their_code(file, tmp_path, out, options, code, told):
    path = file("call.jsonl", VTT)
    done = rolesum("data", "convert", path, tmp_path / out, *options)
    assert done.returncode == code and told in done.stderr
    assert path.read_text() == VTT


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


def test_on_a_terminal_the_roles_are_asked_for(file, tmp_path):
    path = file("call.vtt", VTT)
    typed = Terminal(io.BytesIO(b"usr\ncustomer\n\n"))
    with mock.patch.object(io, "TextIOWrapper", lambda _: typed):
        done = rolesum("data", "convert", path, tmp_path / "o.jsonl")
    assert done.returncode == 0, done.stderr
    assert "Who plays which role?" in done.stderr and 'unknown role "usr"' in done.stderr
    assert read_dialogues(tmp_path / "o.jsonl")[0].roles == {"Anna": "user"}
    assert sys.stdin is not typed


def test_quiet_leaves_out_notes(monkeypatch):
    monkeypatch.setattr(console, "quiet", False)  # and is again, for the tests behind this one
    chinese = Path(__file__).parent.parent / "assets" / "inputs" / "gb.txt"
    assert "read as gb18030" in rolesum("data", "convert", chinese, "-").stderr
    done = rolesum("--quiet", "data", "convert", chinese, "-")
    assert done.returncode == 0 and "包裹没到" in done.stdout
    assert "read as" not in done.stderr


def test_the_encoding_may_be_named(tmp_path):
    file = tmp_path / "chat.txt"
    file.write_text("Анна: Где моя посылка?\nТом: Сейчас\n", encoding="cp1251")
    refused = rolesum("data", "convert", file, "-")
    assert refused.returncode == 3 and "--encoding" in refused.stderr
    assert "Анна" in rolesum("data", "convert", file, "-", "--encoding", "windows-1251").stdout
    assert "unknown encoding" in rolesum("data", "check", file, "--encoding", "klingon").stderr
