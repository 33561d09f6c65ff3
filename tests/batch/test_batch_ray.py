"""Ray Data's actors write what one process writes, also where one of them is killed in mid-run."""

import importlib.util
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from test_batch_run import BAD, files, run

from helpers.echo_engine import SlowEchoEngine, UnreachableEngine, dialogue, lines
from rolesum.batch import run_batch
from rolesum.batch.ray import ray_runner
from rolesum.errors import ResourceError, UsageError
from rolesum.generation.summarizer import Summarizer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("ray", "pyarrow", "pandas")),
        reason="Ray Data is not installed: pip install 'rolesum[ray]'",
    ),
]


@pytest.fixture
def given(tmp_path, monkeypatch):
    """A file by a relative path, as Ray starts its workers in directories of its own; they find this test's engines."""
    monkeypatch.chdir(tmp_path)
    here = Path(__file__).parent
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([*map(str, (here, here.parent)), os.environ.get("PYTHONPATH", "")])
    )
    told = (lines(dialogue(f"d{n}")) if n % 7 else BAD + lines(dialogue(f"x{n}", "LONG")) for n in range(40))
    (tmp_path / "in.jsonl").write_text("".join(told), encoding="utf-8")
    return "in.jsonl"


def slow(pids, seconds, config):
    return Summarizer(config, SlowEchoEngine(pids, seconds))


def unreachable(config):
    return Summarizer(config, UnreachableEngine())


def kill_first(pids, killed, shards):
    """Kill the first worker that has begun, once it has written something."""
    while not list(shards.glob("summaries-*.jsonl")):
        time.sleep(0.02)
    victim = min(pids.iterdir(), key=lambda one: one.stat().st_mtime_ns)
    os.kill(int(victim.name), signal.SIGKILL)
    killed.append(int(victim.name))


def test_actors_write_what_one_process_writes_though_one_of_them_is_killed(given, tmp_path):
    pids, killed = tmp_path / "pids", []
    pids.mkdir()
    killer = threading.Thread(target=kill_first, args=(pids, killed, tmp_path / "out"))
    killer.start()
    outcome = run(
        given,
        tmp_path / "out",
        shard_size=2,
        run_shards=ray_runner("local", 2),
        open_summarizer=partial(slow, pids, 0.1),
    )
    killer.join()
    alone = run(given, tmp_path / "alone", shard_size=2)
    assert (outcome.summarized, outcome.failed) == (alone.summarized, alone.failed) == (34, 12)
    assert files(tmp_path / "out") == files(tmp_path / "alone")
    started = {int(one.name) for one in pids.iterdir()}
    assert len(killed) == 1 and len(started) == 3  # two workers, and the one in the place of the killed
    assert os.getpid() not in started


def test_a_run_of_one_process_goes_on_in_a_cluster_and_an_error_of_an_actor_is_told_as_it_is(given, tmp_path):
    with pytest.raises(ResourceError, match="does not answer\n  → start it; finished shards are kept"):
        run(given, tmp_path / "out", shard_size=8, run_shards=ray_runner("local", 2), open_summarizer=unreachable)
    assert not list((tmp_path / "out").glob("summaries-*.jsonl"))
    assert run(given, tmp_path / "out", shard_size=8).summarized == 34


def test_without_a_cluster_at_the_address_the_error_says_so(given, tmp_path):
    with pytest.raises(ResourceError, match="no Ray cluster"):
        run_batch([given], tmp_path / "out", run_shards=ray_runner("127.0.0.1:1"))


def test_without_ray_data_the_error_names_the_extra(given, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"rolesum\[ray\]"):
        run_batch([given], tmp_path / "out", run_shards=ray_runner())
