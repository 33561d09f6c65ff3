"""Texts that took time by the square of their length, or an exception, to read."""

import io
import json
import zipfile
from contextlib import suppress

import pytest

from helpers.linear_time import assert_linear
from rolesum.errors import DataError, RolesumError
from rolesum.formats import ReadOptions, Source, read_dialogues
from rolesum.formats.options import SourceLimits
from rolesum.formats.source import decode_source
from rolesum.roles import roles_of_speakers

CUE = "00:00:01,000 --> 00:00:02,000"
WHATSAPP = "12/31/23, 10:00 - A: "


def read(source):
    with suppress(RolesumError):  # a text that no reader takes must not take long either
        read_dialogues(source)


# what it is, the file's name, the text for a size, a size at which the square tells
TEXTS = [
    ("clock without a label", "x.txt", lambda n: "10:30 " + "a" * n, 10_000),
    ("label, then spaces", "x.txt", lambda n: "a" + " " * n + "x", 100_000),
    ("lines that go on with a turn", "x.txt", lambda n: "A: x\n" + "b\n" * n, 150_000),
    ("clocks in a row", "x.txt", lambda n: "A: x\n" + "10:30 " * n, 20_000),
    ("brackets that open", "x.txt", lambda n: "A: x\n" + "[10:30 (" * n, 20_000),
    ("colons in a row", "x.txt", lambda n: "A: x\n" + ":" * n, 50_000),
    (
        "labels that stand once",
        "x.txt",
        lambda n: "".join(f"{i}:30 Name{i}: x\nOther{i}: y\n" for i in range(n)),
        2_000,
    ),
    ("times alone", "x.txt", lambda n: "Anna\n0:03\nhi\n\n" * n, 5_000),
    ("heads", "x.txt", lambda n: "Anna Brook  0:03\nhi\n\n" * n, 5_000),
    ("lines before a speaker", "x.txt", lambda n: "a\n" * n + "A: x\n", 50_000),
    ("rules below", "x.txt", lambda n: "A: x\n" + "-----\n" * n, 50_000),
    ("spaces before a bracket", "x.txt", lambda n: "A: x\n" + "a" + " " * n + "(10:30)", 20_000),
    ("dots behind a message", "x.txt", lambda n: WHATSAPP + "x" + ". " * n + "<x", 10_000),
    ("options of a poll", "x.txt", lambda n: WHATSAPP + "POLL:\n" + "OPTION: (1 " * n, 5_000),
    ("Zoom's chat", "x.txt", lambda n: "10:02:11 From " + "a to " * n + ": x", 10_000),
    ("spaces behind a date", "x.txt", lambda n: "12/31/23" + " " * n + "x", 5_000),
    ("spaces within a message", "x.txt", lambda n: WHATSAPP + "x" + " " * n + "x", 10_000),
    ("voice without an end", "x.vtt", lambda n: f"WEBVTT\n\n{CUE}\n<v" + " " * n, 10_000),
    ("lines of one cue", "x.vtt", lambda n: f"WEBVTT\n\n{CUE}\nA: b\n" + "b\n" * n, 150_000),
    (
        "lines of two cues that touch",
        "x.srt",
        lambda n: f"1\n{CUE}\n" + "b\n" * n + f"\n2\n{CUE}\n" + "b\n" * n,
        50_000,
    ),
    ("names in brackets", "x.srt", lambda n: "".join(f"{i}\n{CUE}\n[Ann {i}] b\n\n" for i in range(n)), 3_000),
    ("spaces in an id", "x.vtt", lambda n: f"WEBVTT\n\na{' ' * n}b\n{CUE}\nA b\n", 10_000),
    ("spaces in a LINE head", "x.txt", lambda n: f"[LINE] x\n10:01\tA\thi\n10:02\t{' ' * n}x", 50_000),
    (
        "names of a LINE group",
        "x.txt",
        lambda n: "2023.03.12 Sun\n" + "".join(f"10:01 a{i} b\n" for i in range(n)) + "10:01 c d\n" * n,
        3_000,
    ),
    ("a name of many words", "x.txt", lambda n: "2023.03.12 Sun\n" + f"10:01 {'a ' * n}b\n" * 3, 20_000),
    ("days without messages", "x.txt", lambda n: "消息对象:a\n2023-03-12 22:01:05 a\n" + "=====\n" * n + "x", 50_000),
    (
        "tags without an end",
        "x.json",
        lambda n: json.dumps({"comments": [{"author_id": 1, "body": "<br" * n}]}),
        20_000,
    ),
    ("blocks of one cue", "x.srt", lambda n: f"1\n{CUE}\nA: b\n\n" + "x\n\n" * n, 100_000),
    ("hours of many digits", "x.srt", lambda n: f"1\n{'9' * n}{CUE}\nA: b\n", 100_000),
    ("wide header, short rows", "x.csv", lambda n: "text,speaker" + ",a" * n + "\n" + "a,b\n" * n, 3_000),
    ("an id a row", "x.csv", lambda n: "id,text,speaker\n" + "".join(f"{i},b,c\n" for i in range(n)), 5_000),
    (
        "a speaker with a role a row",
        "x.csv",
        lambda n: "id,text,speaker,role\n" + "".join(f"1,b,c{i},user\n" for i in range(n)),
        20_000,
    ),
    ("unknown fields", "x.jsonl", lambda n: json.dumps({"turns": [], **{f"turn{i}": 0 for i in range(n)}}), 5_000),
    ("spaces in an array", "x.json", lambda n: "[" + " " * n, 500_000),
    (
        "words of one turn",
        "x.json",
        lambda n: json.dumps({"results": {"items": [{"alternatives": [{"content": "a" * 40}]}] * n}}),
        10_000,
    ),
]


@pytest.mark.parametrize(("name", "make", "size"), [one[1:] for one in TEXTS], ids=[one[0] for one in TEXTS])
def test_a_text_is_read_in_time_linear_in_its_length(name, make, size):
    assert_linear(read, lambda count: Source(name, make(count)), size)


def test_what_takes_time_by_the_square_would_be_seen():
    with pytest.raises(AssertionError, match="2500: "):
        assert_linear(lambda count: sum(1 for _ in range(count * count)), int, 2_500)


def test_slacks_mentions_without_an_end_are_looked_for_in_linear_time():
    def export(count):
        message = {"ts": "1.0", "user": "U1", "text": "<@a|" * count}
        return Source("slack", "", {"users.json": "[]", "general/2024-01-01.json": json.dumps([message])})

    assert_linear(read, export, 5_000)


def test_a_mention_before_one_without_an_end_is_read():
    message = {"ts": "1.0", "user": "U1", "text": "hi <@U2>, <@U3|Tom> and <@U4|"}
    users = json.dumps([{"id": "U1", "name": "Anna"}, {"id": "U2", "name": "Ben"}])
    (dialogue,) = read_dialogues(
        Source("slack", "", {"users.json": users, "general/2024-01-01.json": json.dumps([message])})
    )
    assert dialogue.turns[0].text == "hi @Ben, @Tom and <@U4|"


def test_labels_are_looked_up_once_each():
    assert_linear(roles_of_speakers, lambda count: [f"Customer {place}" for place in range(count)], 20_000)
    assert roles_of_speakers(["Customer", "x", "Customer"]) == {"Customer": "user"}
    assert roles_of_speakers(["Kunde", "Agent"], {"client": ["kunde", "agent"]}) == {
        "Kunde": "client",
        "Agent": "client",
    }


def test_a_cue_whose_hours_are_no_number_is_a_problem_with_its_line():
    with pytest.raises(DataError) as raised:
        read_dialogues(Source("x.srt", f"1\n{CUE}\nA: b\n\n2\n{'9' * 5000}{CUE}\nA: b\n"), ReadOptions(format="srt"))
    (problem,) = raised.value.problems
    assert problem.where == "x.srt:6" and problem.what.startswith("broken cue timing")


def test_a_whisper_start_that_is_no_float_is_a_problem():
    text = '{"segments": [{"start": 1' + "0" * 400 + ', "text": "hello"}]}'
    with pytest.raises(DataError, match="too large for a time"):
        read_dialogues(Source("x.json", text), ReadOptions(format="whisper"))


def test_a_zip_that_unpacks_to_more_than_the_caller_allows_is_refused():
    raw = io.BytesIO()
    message = {"ts": "1.0", "user": "U1", "text": "hello"}
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("users.json", json.dumps([{"id": "U1", "name": "Anna"}]))
        archive.writestr("general/2024-01-01.json", json.dumps([message]) + " " * 10_000)
    assert len(read_dialogues(decode_source(raw.getvalue(), "x.zip", SourceLimits(max_bytes=20_000)))) == 1
    with pytest.raises(DataError, match="at most 10,000 are read"):
        decode_source(raw.getvalue(), "x.zip", SourceLimits(max_bytes=10_000))


@pytest.mark.parametrize("form", [None, "rolesum"])
def test_reading_stops_after_so_many_problems(form):
    source = Source("x.jsonl", "{\n" * 100)
    for most, found in ((3, 3), (None, 100)):
        with pytest.raises(DataError) as raised:
            read_dialogues(source, ReadOptions(format=form, max_problems=most))
        assert len(raised.value.problems) == found
