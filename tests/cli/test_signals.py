"""Commands that a signal stops: one line that says what is kept and how to go on, and nothing half-written."""

import os
import signal
import socket
import time
from contextlib import contextmanager

import psutil
import pytest
import yaml

from helpers.children import Child
from helpers.echo_engine import dialogue, lines
from helpers.served import serving
from helpers.small_runs import raw_recipe
from helpers.tiny import model_dir

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of Unix")

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def ends(child, number, seconds=60):
    """Send a signal; the last line of standard error once the command has ended as a shell would say."""
    child.send_signal(number)
    assert child.wait(seconds) == 128 + number, child.stderr
    assert "Traceback" not in child.stderr
    return child.stderr.splitlines()[-1]


@contextmanager
def read_from_pipe(path):
    """A named pipe, and a function that waits until a command sleeps in its reading.

    A signal between the opening and the reading would be seen by Python only when the reading ends.
    """
    os.mkfifo(path)
    opened = []

    def wait(child):
        until = time.monotonic() + 60
        while not opened:
            try:
                opened.append(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:  # nothing reads it yet
                assert child.poll() is None and time.monotonic() < until, child.stderr
                time.sleep(0.02)
        until_true(child, lambda: psutil.Process(child.pid).status() == psutil.STATUS_SLEEPING)

    try:
        yield wait
    finally:
        for one in opened:
            os.close(one)


READING = [
    "data check PIPE",
    "data show PIPE",
    "data convert PIPE out.jsonl",
    "summarize PIPE --out out.txt",
    "evaluate --engine lead-3 --data PIPE --out out",
    "evaluate --predictions PIPE --data sample:en-test --out out",
    "score --scorer samsum --predictions PIPE --references PIPE",
]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_command_that_reads_says_that_nothing_is_half_written(tmp_path, number):
    with read_from_pipe(tmp_path / "pipe") as wait:
        child = Child("data", "convert", "pipe", "out.jsonl", cwd=tmp_path)
        wait(child)
        last = ends(child, number)
    assert last.startswith("stopped by ") and number.name in last
    assert last.endswith("no file is half-written; run the same command again: rolesum data convert pipe out.jsonl")
    assert [one.name for one in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize("command", READING)
def test_every_command_that_reads_ends_so(tmp_path, command):
    with read_from_pipe(tmp_path / "pipe") as wait:
        child = Child(*command.replace("PIPE", "pipe").split(), cwd=tmp_path)
        wait(child)
        last = ends(child, signal.SIGTERM)
    assert last.startswith("stopped by SIGTERM: ")
    assert last.endswith(f"; run the same command again: rolesum {command.replace('PIPE', 'pipe')}")
    assert [one.name for one in tmp_path.iterdir()] == ["pipe"]


def until_true(child, ready):
    """Wait until something holds, while the command runs."""
    end = time.monotonic() + 120
    while not ready():
        assert child.poll() is None and time.monotonic() < end, child.stderr
        time.sleep(0.02)


def test_batch_says_how_many_shards_are_kept_and_the_command_it_names_resumes(tmp_path):
    (tmp_path / "in.jsonl").write_text(lines(*(dialogue(f"d{n}") for n in range(24))), encoding="utf-8")
    arguments = ["batch", "in.jsonl", "out", "--model", model_dir("llama"), "--device", "cpu", "--shard-size", "1"]
    arguments += ["--roles", "user", "--max-new-tokens", "24"]
    child = Child(*arguments, cwd=tmp_path)
    out = tmp_path / "out"
    until_true(child, lambda: len(list(out.glob("summaries-*"))) >= 2)
    last = ends(child, signal.SIGTERM)
    shards = len(list(out.glob("summaries-*")))
    assert 2 <= shards < 24
    assert (
        f"{shards} finished shards are kept; run the same command again to resume: rolesum batch in.jsonl out" in last
    )
    assert not [one for one in out.iterdir() if one.name.endswith(".tmp") or one.name == ".lock"]
    again = Child(*arguments, cwd=tmp_path)
    assert again.wait(120) == 0, again.stderr
    assert f"{shards} of 24 shards already complete" in again.stderr


def test_batch_does_not_wait_for_answers_of_an_endpoint(tmp_path):
    (tmp_path / "in.jsonl").write_text(lines(*(dialogue(f"d{n}") for n in range(8))), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        child = Child(
            *("batch", "in.jsonl", "out", "--engine", "openai", "--url", url, "--served-model", "m"),
            *("--context", "2000", "--concurrency", "2"),
            cwd=tmp_path,
        )
        silent.settimeout(60)
        connections = [silent.accept()]  # it asks, and gets no answer
        last = ends(child, signal.SIGTERM)
        connections[0][0].close()
    assert "0 finished shards are kept; run the same command again to resume" in last


def recipe(tmp_path, **settings):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(raw_recipe(**settings)), encoding="utf-8")
    return file


def test_train_names_the_command_that_goes_on_from_its_checkpoint(tmp_path):
    child = Child("train", recipe(tmp_path, training={"epochs": 64}), "--out", "run", "--device", "cpu", cwd=tmp_path)
    metrics = tmp_path / "run" / "metrics.jsonl"
    until_true(child, lambda: metrics.exists() and metrics.read_text())
    last = ends(child, signal.SIGTERM)
    assert "a checkpoint was written; continue with the same command and --resume: rolesum train " in last
    assert last.endswith("recipe.yaml --out run --device cpu --resume")
    command = last.rpartition(": rolesum ")[2].split()
    again = Child(*command, "--max-minutes", "0", cwd=tmp_path)
    assert again.wait(120) == 1, again.stderr  # the time is up after one step: a second checkpoint
    assert "a checkpoint was written" in again.stderr


def test_train_before_its_first_step_says_that_there_is_no_checkpoint(tmp_path):
    raw = raw_recipe()
    with read_from_pipe(tmp_path / "pipe") as wait:
        raw["data"]["train"] = {"path": str(tmp_path / "pipe")}
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
        child = Child("train", "recipe.yaml", "--out", "run", "--device", "cpu", cwd=tmp_path)
        wait(child)
        last = ends(child, signal.SIGTERM)
    command = "rolesum train recipe.yaml --out run --device cpu"
    assert last == f"run: stopped by SIGTERM: no checkpoint was written yet; run the same command again: {command}"
    assert not (tmp_path / "run").exists()


def test_serve_ends_well_and_says_where_its_batches_are(tmp_path):
    with serving("--model", model_dir("llama"), "--device", "cpu", folder=tmp_path) as service:
        assert service.end(signal.SIGTERM) == 0, service.printed  # the shutdown that was asked for
        said = service.printed.splitlines()[-1]
    assert (
        said
        == f"stopped: batches that have not ended are kept in {tmp_path / 'batches.sqlite'} and go on at the next start"
    )


def test_serve_that_is_stopped_while_it_starts_says_so(tmp_path):
    with read_from_pipe(tmp_path / "pipe") as wait:
        child = Child("serve", "--model", model_dir("llama"), "--keys", "pipe", "--port", "0", cwd=tmp_path)
        wait(child)
        last = ends(child, signal.SIGTERM)
    assert "batches that were accepted are kept and go on at the next start; run the same command again" in last
