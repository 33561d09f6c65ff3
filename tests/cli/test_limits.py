"""Commands under real limits of the system: the error names the limit, and nothing is half-written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.children import run_child
from helpers.echo_engine import dialogue, lines
from helpers.tiny import model_dir

resource = pytest.importorskip("resource", reason="limits of a process are Unix's")


def few_open_files(more=3):
    """Leave room for some files, but not for an index's."""
    lowest = os.dup(2)  # the limit is one on the numbers of files
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + more, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def no_open_files():
    few_open_files(0)


def small_files():
    """Smaller than any result, and large enough for the message, which goes to a file too."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.fixture
def given(tmp_path):
    # 40 ids, so that the index opens more files than few_open_files lets it.
    (tmp_path / "in.jsonl").write_text(lines(*(dialogue(f"d{n}") for n in range(40))), encoding="utf-8")
    return "in.jsonl"


def test_batch_with_few_open_files_is_told_to_raise_that_limit(given, tmp_path):
    arguments = ["batch", given, "out", "--model", model_dir("llama"), "--device", "cpu"]
    done = run_child(*arguments, cwd=tmp_path, before=few_open_files)
    assert (done.returncode, "Traceback" in done.stderr) == (5, False), done.stderr
    assert "Too many open files" in done.stderr and "ulimit -n" in done.stderr
    assert "disk space" not in done.stderr and "permissions" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "summarize in.jsonl --model MODEL",
        "evaluate --data sample:en-test --model MODEL",
        "export MODEL --to merged --out o",
    ],
)
def test_loading_a_model_with_few_open_files_is_told_to_raise_that_limit(given, tmp_path, command):
    arguments = command.replace("MODEL", str(model_dir("llama"))).split()
    done = run_child(*arguments, "--device", "cpu", cwd=tmp_path, before=no_open_files)
    assert (done.returncode, "Traceback" in done.stderr) == (5, False), done.stderr
    assert "Too many open files" in done.stderr and "ulimit -n" in done.stderr, done.stderr


WRITING = [
    ("data convert in.jsonl out.jsonl", "out.jsonl"),
    ("evaluate --data sample:en-test --engine lead-3 --out out", "predictions.jsonl"),
    ("export MODEL --to merged --out out --device cpu", "out"),
]


@pytest.mark.parametrize(("command", "named"), WRITING)
def test_a_limit_on_file_sizes_is_named_and_nothing_half_written_is_left(given, tmp_path, command, named):
    arguments = command.replace("MODEL", str(model_dir("llama"))).split()
    done = run_child(*arguments, cwd=tmp_path, before=small_files)
    assert (done.returncode, "Traceback" in done.stderr) == (5, False), done.stderr
    assert named in done.stderr and "ulimit -f" in done.stderr, done.stderr
    assert [one.name for one in tmp_path.rglob("*") if one.is_file()] == [given]


def call(*arguments, **how):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "rolesum", *arguments], env=environment, text=True, **how)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a full disk")
def test_a_full_disk_behind_standard_output_is_told():
    with Path("/dev/full").open("w") as full:
        process = call("data", "show", "sample:en-test", "--model", "smollm2-135m", stdout=full, stderr=subprocess.PIPE)
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 5
    assert "No space left on device" in said and "free some disk space" in said
    assert "Traceback" not in said and "Exception ignored" not in said


@pytest.mark.parametrize("command", ["models --json", "models", "train --help", "--version"])
def test_a_reader_that_ends_first_ends_the_command_without_a_word(command):
    reading, writing = os.pipe()
    process = call(*command.split(), stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    os.close(reading)
    said = process.communicate(timeout=120)[1]
    assert (process.returncode, said) == (141, "")
