"""Whole bulk runs: what lies in OUT, and that no end of a run, however sudden, loses or repeats a dialogue."""

import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

import pytest
from filelock import FileLock

from helpers.batch_runs import echo, run
from helpers.echo_engine import EchoEngine, UnreachableEngine, dialogue, lines
from helpers.tiny import model_dir, short_dialogues
from rolesum.errors import DataError, ResourceError, UsageError
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation import Decoding
from rolesum.generation.factory import EngineSpec
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.interrupts import Stopped

BAD = '{"id": "cut\n'


@pytest.fixture
def given(tmp_path):
    """Ten dialogues, of which one does not fit and one repeats an id, and a line that cannot be read."""
    good = [dialogue(f"d{n}") for n in range(8)]
    path = tmp_path / "in.jsonl"
    path.write_text(lines(*good[:3]) + BAD + lines(dialogue("long", "LONG"), *good[3:], good[1]), encoding="utf-8")
    return path


def records(out, kind="summaries"):
    """The lines of all shards, without the time that they took."""
    found = []
    for path in sorted(out.glob(f"{kind}-*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            value = json.loads(line)
            for figures in value.get("stats", {}).values():
                assert figures.pop("seconds") >= 0
            found.append(value)
    return found


def files(out):
    """Everything that a run leaves, but the time that its texts took."""
    kinds = {path.name: records(out, path.stem.split("-")[0]) for path in out.glob("*-*.jsonl")}
    return {**kinds, "names": sorted(path.name for path in out.iterdir())}


def test_a_run_leaves_each_shard_and_the_failures_beside_it(given, tmp_path, capsys):
    outcome = run(given, tmp_path / "out")
    assert (outcome.summarized, outcome.failed, outcome.exit_code) == (8, 3, 0)
    assert str(outcome).startswith("8 dialogues summarized, 3 failed")
    names = sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith("."))
    shards = [f"summaries-0000{n}.jsonl" for n in range(3)]
    assert names == ["failed-00000.jsonl", "failed-00001.jsonl", "failed-00002.jsonl", "state.json", *shards]
    assert [one["id"] for one in records(tmp_path / "out")] == [f"d{n}" for n in range(8)]
    assert records(tmp_path / "out")[0]["summaries"]["user"] == "user of d0: This is d0."
    failed = records(tmp_path / "out", "failed")
    assert [(one["id"], one["where"]) for one in failed] == [
        (None, f"{given}:4"),
        ("long", f"{given}:5"),
        ("d1", f"{given}:11"),
    ]
    assert [one["reason"].split(":")[0] for one in failed] == [
        "broken JSON",
        "too many tokens",
        "an earlier dialogue has this id",
    ]
    said = capsys.readouterr().err
    assert "11 dialogues in 1 file, 3 shards; 1 unreadable, 1 with a duplicate id" in said
    assert "dialogues/s" in said


def test_a_finished_run_loads_no_engine_and_says_the_same_again(given, tmp_path):
    first = run(given, tmp_path / "out")
    assert run(given, tmp_path / "out", open_summarizer=None) == first


def test_where_nothing_can_be_summarized_the_exit_code_says_so(tmp_path):
    (tmp_path / "in.jsonl").write_text(lines(dialogue("a", "LONG")) + BAD, encoding="utf-8")
    assert run(tmp_path / "in.jsonl", tmp_path / "out").exit_code == 3


def test_inputs_without_a_dialogue_are_refused(tmp_path):
    (tmp_path / "in.jsonl").write_text("\n", encoding="utf-8")
    assert run(tmp_path / "in.jsonl", tmp_path / "out").exit_code == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no file in it"):
        run(tmp_path / "empty", tmp_path / "out2")


@contextmanager
def killed_after(seconds, work):
    """Run `work` in a process of its own, and kill it without warning."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    time.sleep(seconds)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    yield process.exitcode == -signal.SIGKILL


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are killed that were forked")


def kill_often(work, kills, longest, seed=0):
    """Kill a run at random moments, but not more than so many times; how often it was killed."""
    moments, killed = random.Random(seed), 0
    for _ in range(kills):
        with killed_after(moments.uniform(0, longest), work) as was_killed:
            killed += was_killed
    return killed


@needs_fork
def test_a_run_that_is_killed_again_and_again_leaves_what_a_quiet_run_leaves(tmp_path):
    """Shards of one dialogue, so that the moments fall into the writing of files; also into the index build."""
    path = tmp_path / "in.jsonl"
    told = (lines(dialogue(f"d{n}")) if n % 5 else BAD + lines(dialogue(f"x{n}", "LONG")) for n in range(60))
    path.write_text("".join(told), encoding="utf-8")
    run(path, tmp_path / "first", shard_size=1)  # which imports what the others find
    begin = time.monotonic()
    run(path, tmp_path / "quiet", shard_size=1)
    whole = time.monotonic() - begin
    killed = kill_often(lambda: run(path, tmp_path / "out", shard_size=1), kills=12, longest=whole / 4)
    outcome = run(path, tmp_path / "out", shard_size=1)
    assert killed >= 2 and (outcome.summarized, outcome.failed) == (48, 24)
    left = [name for name in files(tmp_path / "out")["names"] if name.endswith(".tmp") or name.startswith(".ids")]
    assert left == []
    assert files(tmp_path / "out") == files(tmp_path / "quiet")


@needs_fork
def test_a_model_that_is_killed_again_and_again_writes_what_it_would_have_written(tmp_path):
    config = SummarizerConfig(
        EngineSpec(model=str(model_dir("llama")), dtype="float32", device="cpu"), decoding=Decoding(max_new_tokens=16)
    )
    given = short_dialogues("en-train", 12, 3)
    writer = Summarizer(config)  # loaded once: forks have it
    options = {"shard_size": 2, "open_summarizer": lambda _: writer}
    run(given, tmp_path / "first", config, **options)
    begin = time.monotonic()
    run(given, tmp_path / "quiet", config, **options)
    whole = time.monotonic() - begin
    killed = kill_often(lambda: run(given, tmp_path / "out", config, **options), kills=8, longest=whole / 4)
    outcome = run(given, tmp_path / "out", config, **options)
    assert killed >= 2 and (outcome.summarized, outcome.failed) == (12, 0)
    assert [one["id"] for one in records(tmp_path / "out")] == [one.id for one in read_dialogues(given)]
    assert len({text for one in records(tmp_path / "out") for text in one["summaries"].values()}) > 12
    assert files(tmp_path / "out") == files(tmp_path / "quiet")


def test_ctrl_c_says_how_to_resume_and_resuming_does_each_shard_once(given, tmp_path):
    calls, engines = count(), []

    class Stopping(EchoEngine):
        def generate(self, prompts, *rest):
            if next(calls) == 3:
                raise KeyboardInterrupt
            return super().generate(prompts, *rest)

    def open_summarizer(config):
        engines.append(Stopping())
        return Summarizer(config, engines[-1])

    with pytest.raises(Stopped, match="run the same command again to resume") as stopped:
        run(given, tmp_path / "out", open_summarizer=open_summarizer)
    assert stopped.value.exit_code == 130
    assert "stopped by Ctrl-C (SIGINT): 2 finished shards are kept" in str(stopped.value)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*-*.jsonl")}
    assert len(before) == 4
    assert run(given, tmp_path / "out", open_summarizer=open_summarizer).summarized == 8
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert engines[-1].calls == [["d6", "d7"]]


def test_an_error_of_the_engine_stops_the_run_and_nothing_is_lost(given, tmp_path):
    with pytest.raises(ResourceError, match="start it; finished shards are kept; run the same command again to resume"):
        run(given, tmp_path / "out", open_summarizer=lambda config: Summarizer(config, UnreachableEngine()))
    assert run(given, tmp_path / "out").summarized == 8


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are Unix's")
def test_where_the_disk_takes_no_more_the_run_stops_and_can_go_on(given, tmp_path):
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)

    def open_summarizer(config):
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, unlimited[1]))  # bytes: less than a shard has
        return echo(config)

    try:
        with pytest.raises(ResourceError, match="cannot write") as error:
            run(given, tmp_path / "out", open_summarizer=open_summarizer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert "File too large\n  → raise the limit on a file's size (ulimit -f), or " in str(error.value)
    assert "; finished shards are kept; run the same command again" in str(error.value)
    assert records(tmp_path / "out") == []
    assert run(given, tmp_path / "out").summarized == 8
    run(given, tmp_path / "quiet")
    assert files(tmp_path / "out") == files(tmp_path / "quiet")


def test_a_run_is_resumed_with_its_own_settings_only(given, tmp_path):
    config = SummarizerConfig(roles=("overall",), verify="off")
    run(given, tmp_path / "out", config)
    others = [
        (replace(config, roles=("user",)), r'roles was \["overall"\], now \["user"\]'),
        (replace(config, decoding=Decoding(max_new_tokens=99)), "max_new_tokens was 128, now 99"),
        (replace(config, spec=EngineSpec(language="zh")), 'language was null, now "zh"'),
        (replace(config, redact=True), "redact was false, now true"),
    ]
    for changed, message in others:
        with pytest.raises(UsageError, match=message):
            run(given, tmp_path / "out", changed)
    with pytest.raises(UsageError, match="shard_size was 4, now 5"):
        run(given, tmp_path / "out", config, shard_size=5)
    with pytest.raises(UsageError, match='choose was null, now "mbr"'):
        run(given, tmp_path / "out", config, settings={"choose": "mbr"})
    with pytest.raises(UsageError, match="format was null"):
        run(given, tmp_path / "out", config, read_options=ReadOptions(format="rolesum"))
    assert run(given, tmp_path / "out", config, read_options=ReadOptions(skip=("d1",))).summarized == 8


def test_a_run_is_resumed_with_the_same_inputs_only(given, tmp_path):
    run(given, tmp_path / "out")
    other = tmp_path / "other.jsonl"
    other.write_text(lines(dialogue("z")), encoding="utf-8")
    with pytest.raises(UsageError, match=r"other inputs: .*other\.jsonl"):
        run([given, other], tmp_path / "out")
    with given.open("a", encoding="utf-8") as file:
        file.write(lines(dialogue("more")))
    with pytest.raises(UsageError, match=r"changed since the run in OUT was started: .*in\.jsonl"):
        run(given, tmp_path / "out")


def test_a_retrained_adapter_is_another(given, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"some weights")
    config = SummarizerConfig(EngineSpec(adapter=adapter))
    run(given, tmp_path / "out", config)
    (adapter / "adapter_model.safetensors").write_bytes(b"more weights")
    with pytest.raises(
        UsageError,
        match=r"changed since the run .*adapter_model\.safetensors: its content is another",
    ):
        run(given, tmp_path / "out", config)


def test_how_fast_an_endpoint_is_asked_decides_no_summary(given, tmp_path):
    config = SummarizerConfig(EngineSpec("openai", url="http://localhost:1/v1", concurrency=4))
    first = run(given, tmp_path / "out", config)
    faster = replace(config, spec=replace(config.spec, concurrency=8, api_key_env="KEY"))
    assert run(given, tmp_path / "out", faster) == first


def test_a_directory_that_is_no_runs_is_left_alone(given, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").touch()
    with pytest.raises(UsageError, match="not of a batch run"):
        run(given, tmp_path / "out")
    (tmp_path / "out" / "state.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match="another version"):
        run(given, tmp_path / "out")
    with pytest.raises(ResourceError, match="is a file"):
        run(given, given)


def test_two_processes_do_not_work_in_one_directory(given, tmp_path):
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(UsageError, match="in use by another process"):
        run(given, tmp_path / "out")
    assert run(given, tmp_path / "out").summarized == 8
