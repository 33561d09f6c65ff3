"""Locks between processes."""

import os
import subprocess
import sys

import pytest
from filelock import FileLock

from rolesum.errors import UsageError
from rolesum.locks import process_lock


def hold(tmp_path):
    return process_lock(tmp_path / ".lock", where=tmp_path, fix="wait until it ends")


@pytest.fixture
def other_process(tmp_path):
    """Another process that holds the lock."""
    script = (
        "import sys, time; from pathlib import Path; from rolesum.locks import process_lock\n"
        "with process_lock(Path(sys.argv[1]) / '.lock', where=Path(sys.argv[1]), fix=''):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_process_lock_names_the_process_that_holds_it(tmp_path, other_process):
    for _ in range(2):  # a failed attempt keeps the holder's id
        with pytest.raises(UsageError) as caught, hold(tmp_path):
            pass
        assert str(caught.value) == f"{tmp_path}: in use by process {other_process.pid}\n  → wait until it ends"


def test_process_lock_of_a_killed_process_is_free(tmp_path, other_process):
    other_process.kill()
    other_process.wait()
    assert (tmp_path / ".lock").exists()
    with hold(tmp_path):
        assert (tmp_path / ".lock").read_text().splitlines()[0] == str(os.getpid())
    assert not (tmp_path / ".lock").exists()


def test_process_lock_refuses_a_second_holder_in_the_same_process(tmp_path):
    with hold(tmp_path), pytest.raises(UsageError, match=f"in use by process {os.getpid()}"), hold(tmp_path):
        pass


def test_process_lock_names_another_process_where_the_file_tells_none(tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(UsageError, match="in use by another process"), hold(tmp_path):
        pass


def test_process_lock_names_the_host_of_a_process_elsewhere(tmp_path):
    with FileLock(tmp_path / ".lock"):
        (tmp_path / ".lock").write_text("7\nnode-b\n")
        with pytest.raises(UsageError, match="in use by process 7 on node-b"), hold(tmp_path):
            pass


def test_process_lock_is_released_when_the_block_fails(tmp_path):
    with pytest.raises(KeyError), hold(tmp_path):
        raise KeyError
    with hold(tmp_path):
        pass


def test_process_lock_leaves_os_errors_to_the_caller(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), process_lock(tmp_path / "file" / "x", where=tmp_path, fix=""):
        pass
