"""Ray Data's actors write what one process writes, also where one of them is killed in mid-run."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from test_batch_run import BAD, files

from helpers.batch_runs import held, run, slow, unreachable
from helpers.echo_engine import dialogue, lines
from rolesum.batch import run_batch
from rolesum.batch.input_files import InputsChanged
from rolesum.batch.ray import ray_runner
from rolesum.errors import ResourceError, UsageError
from rolesum.ray_cluster import LOCAL, ray_cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("ray", "pyarrow", "pandas")),
        reason="Ray Data is not installed: pip install 'rolesum[ray]'",
    ),
]


@pytest.fixture(scope="module")
def python_path():
    """What Ray's workers need to find the helpers; set before a cluster is started."""
    tests = str(Path(__file__).parents[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")]))
        yield


@pytest.fixture(scope="module")
def cluster(python_path):
    """A cluster of two cores that several tests use, as starting one takes long."""
    import ray

    with ray_cluster(ray, LOCAL, num_cpus=2, include_dashboard=False, log_to_driver=False):
        yield


@pytest.fixture
def given(tmp_path, monkeypatch, python_path):
    """A file by a relative path, as Ray starts its workers in directories of its own."""
    monkeypatch.chdir(tmp_path)
    told = (lines(dialogue(f"d{n}")) if n % 7 else BAD + lines(dialogue(f"x{n}", "LONG")) for n in range(40))
    (tmp_path / "in.jsonl").write_text("".join(told), encoding="utf-8")
    return "in.jsonl"


RUN = """
import sys
from functools import partial
from pathlib import Path
from helpers.batch_runs import run, slow
from rolesum.batch.ray import ray_runner
from rolesum.cli.exit import run_app
from rolesum.interrupts import ending_signals
with ending_signals():
    run_app(lambda: run("in.jsonl", Path("out"), shard_size=2, run_shards=ray_runner("local", 2),
                        open_summarizer=partial(slow, "pids", 0.5)))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_sigterm_ends_the_cluster_and_says_how_to_go_on(given, tmp_path):
    (tmp_path / "pids").mkdir()
    process = subprocess.Popen([sys.executable, "-c", RUN], stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "out").glob("summaries-*.jsonl")):
        assert process.poll() is None
        time.sleep(0.05)
    started = [psutil.Process(int(one.name)) for one in (tmp_path / "pids").iterdir()]
    of_the_cluster = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=180)[1]
    assert process.returncode == 143, said
    assert "finished shard" in said.splitlines()[-1] and "Traceback" not in said
    _, alive = psutil.wait_procs([*started, *of_the_cluster], timeout=60)
    assert [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []  # none to reap it


def test_without_a_cluster_at_the_address_the_error_says_so(given, tmp_path):
    with pytest.raises(ResourceError, match="no Ray cluster"):
        run_batch([given], tmp_path / "out", run_shards=ray_runner("127.0.0.1:1"))


def kill_held(notes, shards, killed):
    """Kill the worker that waits, once another has written a shard: both were at work."""
    while not ((notes / "held").exists() and (notes / "held").read_text() and list(shards.glob("summaries-*.jsonl"))):
        time.sleep(0.02)
    killed.append(int((notes / "held").read_text()))
    os.kill(killed[0], signal.SIGKILL)


def test_actors_write_what_one_process_writes_though_one_of_them_is_killed(cluster, given, tmp_path):
    """The killed worker never ends its first shard, so another one does: a second one, or one that replaces it."""
    notes, killed = tmp_path / "notes", []
    notes.mkdir()
    killer = threading.Thread(target=kill_held, args=(notes, tmp_path / "out", killed), daemon=True)
    killer.start()
    ray = ray_runner("local", 2)
    outcome = run(given, tmp_path / "out", shard_size=2, run_shards=ray, open_summarizer=partial(held, notes))
    killer.join(60)
    alone = run(given, tmp_path / "alone", shard_size=2)
    assert (outcome.summarized, outcome.failed) == (alone.summarized, alone.failed) == (34, 12)
    assert files(tmp_path / "out") == files(tmp_path / "alone")
    (victim,) = killed
    asked = {int(one.name): one.read_text().split() for one in notes.iterdir() if one.name != "held"}
    assert os.getpid() not in asked
    begun = set(asked.pop(victim))
    assert begun and begun <= {name for names in asked.values() for name in names}


def append_later(path, shards):
    """Add a dialogue to the input, once a shard is written."""
    while not list(shards.glob("summaries-*.jsonl")):
        time.sleep(0.02)
    with path.open("a", encoding="utf-8") as file:
        file.write(lines(dialogue("more")))


def test_an_actor_that_finds_the_input_changed_ends_the_run(cluster, given, tmp_path):
    pids = tmp_path / "pids"
    pids.mkdir()
    changing = threading.Thread(target=append_later, args=(tmp_path / given, tmp_path / "out"), daemon=True)
    changing.start()
    with pytest.raises(InputsChanged, match=r"in\.jsonl: changed since it was indexed: it had .* bytes and now has"):
        run(
            given,
            tmp_path / "out",
            shard_size=2,
            run_shards=ray_runner("local", 2),
            open_summarizer=partial(slow, pids, 0.5),
        )
    alone = tmp_path / "alone"
    os.truncate(given, Path(given).read_bytes().rindex(b'{"id"'))
    run(given, alone, shard_size=2)
    written = sorted((tmp_path / "out").glob("summaries-*.jsonl"))
    assert 0 < len(written) < 20
    for shard in written:
        assert [*ids(shard)] == [*ids(alone / shard.name)]
    assert run(given, tmp_path / "out", shard_size=2).summarized == 34


def ids(shard):
    return (json.loads(line)["id"] for line in shard.read_text(encoding="utf-8").splitlines())


def test_a_run_of_one_process_goes_on_in_a_cluster_and_an_error_of_an_actor_is_told_as_it_is(cluster, given, tmp_path):
    with pytest.raises(ResourceError, match="does not answer\n  → start it; finished shards are kept"):
        run(given, tmp_path / "out", shard_size=8, run_shards=ray_runner("local", 2), open_summarizer=unreachable)
    assert not list((tmp_path / "out").glob("summaries-*.jsonl"))
    assert run(given, tmp_path / "out", shard_size=8).summarized == 34


def test_without_ray_data_the_error_names_the_extra(given, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"rolesum\[ray\]"):
        run_batch([given], tmp_path / "out", run_shards=ray_runner())
