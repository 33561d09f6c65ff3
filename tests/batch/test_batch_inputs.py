"""Inputs as one stream: the same dialogues as anywhere else, from any place on, in memory that does not grow."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from itertools import islice

import pytest

from helpers.echo_engine import dialogue, lines
from rolesum.batch import Failure
from rolesum.batch.index import ShardReader, build_index
from rolesum.batch.input_files import InputFiles
from rolesum.batch.inputs import Cursor, expand_inputs, read_file
from rolesum.errors import DataError, UsageError
from rolesum.formats import ReadOptions, read_dialogues

OPTIONS = ReadOptions()
SAMSUM = [{"id": f"s{n}", "dialogue": f"Ann: Hi {n}\nTom: Bye", "summary": "They talk."} for n in range(3)]


def items(path, options=OPTIONS, mark=None):
    return [item for _, item in read_file(path, options, mark or Cursor())]


def reader(files, options, index):
    return ShardReader(files, options, index, InputFiles.read(files))


def sample(tmp_path, name):
    from importlib import resources

    path = tmp_path / f"{name}.jsonl"
    path.write_bytes((resources.files("rolesum.samples") / f"{name}.jsonl").read_bytes())
    return path


@pytest.mark.parametrize("name", ["en-test", "zh-test"])
def test_a_file_read_line_by_line_gives_what_reading_it_whole_gives(tmp_path, name):
    path = sample(tmp_path, name)
    assert items(path) == read_dialogues(path)


def test_a_file_can_be_taken_up_at_any_mark(tmp_path):
    path = sample(tmp_path, "zh-test")
    path.write_text("\n" + path.read_text(encoding="utf-8").replace("\n", "\r\n\r\n", 3), encoding="utf-8", newline="")
    marked = list(read_file(path, OPTIONS, Cursor()))
    assert len(marked) == len(read_dialogues(path))
    for number, (mark, _) in enumerate(marked):
        assert items(path, mark=mark) == [item for _, item in marked[number + 1 :]]


@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_samsums_json_lines_are_streamed_whatever_the_file_is_called(tmp_path, suffix):
    path = tmp_path / f"val.{suffix}"
    path.write_text("".join(json.dumps(one) + "\n" for one in SAMSUM), encoding="utf-8")
    assert items(path) == read_dialogues(path)
    assert next(read_file(path, OPTIONS, Cursor()))[0].line == 2


def test_a_json_array_is_read_whole_and_taken_up_by_its_items(tmp_path):
    path = tmp_path / "val.json"
    path.write_text(json.dumps(SAMSUM, indent=1), encoding="utf-8")
    assert items(path) == read_dialogues(path)
    assert items(path, mark=Cursor(2)) == read_dialogues(path)[2:]


def test_each_bad_line_is_one_failure_with_its_place_and_the_rest_is_read(tmp_path):
    path = tmp_path / "in.jsonl"
    bad = ['{"id": "cut', "no JSON at all", "[1, 2]", '{"id": "x", "turns": "none", "roles": 3}']
    good = lines(dialogue("a")).encode(), lines(dialogue("b")).encode()
    path.write_bytes(b"\xff\xfe broken\n" + good[0] + "\n".join(bad).encode() + b"\n\n" + good[1])
    found = items(path)
    assert [one.id for one in found if not isinstance(one, Failure)] == ["a", "b"]
    assert found[-1].source == f"{path}:8"
    failures = [one for one in found if isinstance(one, Failure)]
    assert [one.where for one in failures] == [f"{path}:{line}" for line in (1, 3, 4, 5, 6)]
    assert [one.id for one in failures] == [None, None, None, None, "x"]
    assert "not UTF-8" in failures[0].reason and "broken JSON" in failures[1].reason
    assert failures[4].reason.startswith("turns must be") and "roles must map" in failures[4].reason
    assert all(one.fix for one in failures)


def test_what_is_no_file_of_dialogues_is_one_failure(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("nothing here\n", encoding="utf-8")
    (failure,) = items(path)
    assert failure.where == f"{path}:1" and "no known format" in failure.reason and "'nothing here'" in failure.reason


def test_speakers_and_formats_hold_as_for_any_file(tmp_path):
    path = tmp_path / "val.jsonl"
    path.write_text(json.dumps(SAMSUM[0]) + "\n", encoding="utf-8")
    (one,) = items(path, ReadOptions(format="samsum", speakers={"Ann": "customer"}))
    assert one.roles == {"Ann": "user"}
    with pytest.raises(UsageError, match="unknown role"):
        items(path, ReadOptions(speakers={"Ann": "nobody-knows"}))


def test_directories_and_patterns_give_their_files_in_order_without_hidden_ones_and_the_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.txt", "a/2.txt", "a/1.txt", ".hidden", "a/.git/config", "out/summaries-00000.jsonl", "c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    out = tmp_path / "out"
    assert [str(one) for one in expand_inputs(["."], out)] == ["a/1.txt", "a/2.txt", "b.txt", "c.txt"]
    assert [str(one) for one in expand_inputs(["c.txt", "a", "*.txt"], out)] == ["c.txt", "a/1.txt", "a/2.txt", "b.txt"]
    assert [str(one) for one in expand_inputs(["**/?.txt"], out)] == ["a/1.txt", "a/2.txt", "b.txt", "c.txt"]


def test_an_input_that_is_not_there_is_refused_before_any_work(tmp_path):
    for name in ("absent.jsonl", "*.jsonl", str(tmp_path)):
        with pytest.raises(DataError, match="no such file"):
            expand_inputs([name], tmp_path / "out")
    with pytest.raises(UsageError, match="standard input"):
        expand_inputs(["-"], tmp_path / "out")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are Unix's")
def test_a_pipe_is_refused_instead_of_read_empty_the_second_time(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(UsageError, match="from a pipe or a device"):
        expand_inputs([str(tmp_path / "pipe.jsonl")], tmp_path / "out")


def test_an_output_directory_within_an_export_is_refused(tmp_path):
    with pytest.raises(UsageError, match="OUT lies in this input"):
        expand_inputs([str(tmp_path)], tmp_path / "out", "slack")


def test_ids_that_repeat_are_found_across_files_and_the_first_is_kept(tmp_path):
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    first.write_text(lines(*(dialogue(name) for name in "abcb")), encoding="utf-8")
    second.write_text(lines(*(dialogue(name) for name in "dae")), encoding="utf-8")
    index = build_index([first, second], OPTIONS, 2, tmp_path)
    assert index.counts() == {"shard_size": 2, "items": 7, "unreadable": 0, "duplicates": 2}
    shards = reader([first, second], OPTIONS, index)
    read = [shards.read(number) for number in range(index.shards)]
    assert [[one.id for one in good] for good, _ in read] == [["a", "b"], ["c"], ["d"], ["e"]]
    assert [(one.id, one.where) for _, bad in read for one in bad] == [("b", f"{first}:4"), ("a", f"{second}:2")]
    assert not list(tmp_path.glob(".ids-*"))


def test_shards_are_the_same_in_any_order(tmp_path):
    files = [sample(tmp_path, name) for name in ("en-test", "zh-test")]
    (tmp_path / "x.txt").write_text("Anna: Hello\nTom: Bye\n", encoding="utf-8")
    files.insert(1, tmp_path / "x.txt")
    index = build_index(files, OPTIONS, 7, tmp_path)
    in_order, at_random = reader(files, OPTIONS, index), reader(files, OPTIONS, index)
    read = [in_order.read(number) for number in range(index.shards)]
    assert sum(len(good) for good, _ in read) == index.items
    for number in (3, 0, 1, index.shards - 1, 2):
        assert at_random.read(number) == read[number]


def test_ids_to_skip_are_failures_that_say_so(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text(lines(dialogue("a"), dialogue("b")), encoding="utf-8")
    index = build_index([path], OPTIONS, 9, tmp_path)
    good, bad = reader([path], ReadOptions(skip=("a",)), index).read(0)
    assert [one.id for one in good] == ["b"] and [(one.id, one.reason) for one in bad] == [("a", "left out by --skip")]


MEASURE = r"""
import re, sys
from pathlib import Path
from rolesum.formats import ReadOptions
from rolesum.batch.index import ShardReader, build_index
from rolesum.batch.input_files import InputFiles
path = Path(sys.argv[1])
index = build_index([path], ReadOptions(), 16, path.parent)
shards = ShardReader([path], ReadOptions(), index, InputFiles.read([path]))
assert sum(len(shards.read(number)[0]) for number in range(index.shards)) == index.items
print(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the peak memory")
def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for name, count in (("small", 10), ("large", 1000)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(lines(*(dialogue(f"d{n}", "a " * 2000, "b " * 5000) for n in range(count))), encoding="utf-8")
        done = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) * 1024)
    assert path.stat().st_size > 13e6
    assert peaks[1] - peaks[0] < 5e6


def parquet_file(path, rows, schema=None, **options):
    pyarrow = pytest.importorskip("pyarrow", reason="pip install 'rolesum[parquet]'")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), path, **options)
    return path


def test_parquet_of_turns_gives_the_dialogues_of_the_same_json_lines(tmp_path):
    source = sample(tmp_path, "en-test")
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    path = parquet_file(tmp_path / "in.parquet", [{**row, "score": 3.5} for row in rows], row_group_size=7)
    theirs = read_dialogues(source)
    marked = list(read_file(path, OPTIONS, Cursor()))
    for (_, one), their in zip(marked, theirs, strict=True):
        assert (one.id, one.turns, one.roles, one.summaries) == (their.id, their.turns, their.roles, their.summaries)
    assert marked[8][1].source == f"{path}, row:9"
    for start in (1, 7, 20, len(theirs) - 1):
        assert items(path, mark=marked[start - 1][0]) == [item for _, item in marked[start:]]


def test_parquet_of_dialogue_texts_is_read_as_samsums_records(tmp_path):
    path = parquet_file(tmp_path / "in.parquet", [*SAMSUM, {"id": "s9", "dialogue": " ", "summary": None}])
    found = items(path)
    assert [one.id for one in found] == ["s0", "s1", "s2", "s9"]
    assert found[0].turns[0].text == "Hi 0" and found[3].reason == "the dialogue has no turns"


def test_what_is_no_parquet_of_dialogues_is_one_failure(tmp_path):
    path = parquet_file(tmp_path / "in.parquet", [{"a": 1}])
    (failure,) = items(path)
    assert (failure.where, failure.reason) == (f"{path}, row:1", "the columns are of no known format: a")
    assert "id and turns" in failure.fix and "id and dialogue" in failure.fix
    parquet_file(path, [{f"column_{number}": 1 for number in range(50)}])
    assert len(items(path)[0].reason) < 260 and items(path)[0].reason.endswith("…")
    shutil.copy(sample(tmp_path, "en-test"), path)
    assert "cannot read it as Parquet" in items(path)[0].reason


def test_without_pyarrow_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"rolesum\[parquet\]"):
        list(islice(read_file(tmp_path / "in.parquet", OPTIONS, Cursor()), 1))


def test_parquet_of_other_programs_gives_the_same_dialogues(tmp_path):
    turns = [
        {"speaker": "Customer", "text": "late", "start": 0.0, "end": 1.5, "time": "0:01"},
        {"speaker": "Agent", "text": None, "start": None, "end": None, "time": None},
        {"speaker": "Agent", "text": "ok", "start": 2.0, "end": 3.0, "time": None},
    ]
    rows = [
        {"id": 1.0, "turns": turns, "summaries": {"user": "Late.", "agent": None}},
        {"id": float("nan"), "turns": turns, "summaries": None},
    ]
    path = parquet_file(tmp_path / "in.parquet", rows)
    one, failure = items(path)
    assert one.id == "1" and [(turn.text, turn.time) for turn in one.turns] == [("late", "0:01"), ("ok", "")]
    assert one.summaries == {"user": ("Late.",)}
    assert failure.reason == "no id"


def test_every_command_reads_parquet_by_name(tmp_path):
    path = parquet_file(tmp_path / "in.parquet", SAMSUM)
    assert [one.id for one in read_dialogues(path)] == ["s0", "s1", "s2"]


def test_parquet_of_other_columns_is_read_by_their_mapping(tmp_path):
    rows = [{"call": n, "talk": "Customer: hi", "about": "They greet."} for n in (1, 2)]
    path = parquet_file(tmp_path / "in.parquet", rows)
    options = ReadOptions(columns={"id": "call", "dialogue": "talk", "summary.user": "about"})
    found = [item for _, item in read_file(path, options, Cursor())]
    assert [(one.id, one.summaries) for one in found] == [("1", {"user": ("They greet.",)}), ("2", found[0].summaries)]
    assert [one.turns for one in read_dialogues(path, options)] == [one.turns for one in found]


CHINESE_LINE = '{"id": "1", "turns": [{"speaker": "客户", "text": "你好，我的包裹没有收到"}]}\n'


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("in.jsonl.gz", gzip.compress(CHINESE_LINE.encode())),
        ("in.jsonl", CHINESE_LINE.encode("utf-16")),
        ("in.jsonl", CHINESE_LINE.encode("gb18030")),
    ],
)
def test_packed_and_other_encodings_are_read_whole(tmp_path, name, raw):
    path = tmp_path / name
    path.write_bytes(raw)
    (one,) = items(path)
    assert one.id == "1" and one.turns[0].speaker == "客户"


def test_a_named_encoding_holds_for_the_lines_of_a_batch(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes('{"id": "1", "turns": [{"speaker": "Анна", "text": "привет"}]}\n'.encode("cp1251"))
    (one,) = items(path, ReadOptions(encoding="cp1251"))
    assert one.turns[0].text == "привет"
