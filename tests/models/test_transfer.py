"""Downloads of single files: interrupted ones go on, every byte is hashed once, wrong ones are refused."""

import hashlib
import random
import signal
import subprocess
import sys

import pytest

from helpers.file_server import file_server
from helpers.waiting import wait_until
from rolesum.console import byte_progress
from rolesum.models.transfer import NetworkError, download_file, part_file

DATA = random.Random(3).randbytes(300_000)
CHILD = """
import sys
from pathlib import Path
from rolesum.console import byte_progress
from rolesum.models.transfer import download_file
with byte_progress("file", int(sys.argv[3])) as progress:
    download_file(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), progress)
"""


@pytest.fixture
def server():
    with file_server() as files:
        files.files["/file"] = DATA
        yield files


def download(server, target, size=None, **options):
    size = size or len(DATA)
    digest = hashlib.sha256()
    with byte_progress("file", size) as progress:
        download_file(f"{server.url}/file", target, size, progress, digest=digest, **options)
        assert progress.done == size
    return digest.hexdigest()


def test_a_download_hashes_every_byte_once(server, tmp_path):
    assert download(server, tmp_path / "file") == hashlib.sha256(DATA).hexdigest()
    assert (tmp_path / "file").read_bytes() == DATA and server.asked == [("/file", 0)]
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_connection_that_ends_early_is_opened_again_where_it_ended(server, tmp_path):
    server.cut_after = 120_000
    assert download(server, tmp_path / "file") == hashlib.sha256(DATA).hexdigest()
    assert server.asked == [("/file", 0), ("/file", 120_000), ("/file", 240_000)]
    assert (tmp_path / "file").read_bytes() == DATA


def test_a_killed_download_goes_on_where_it_was(server, tmp_path):
    server.stalls["/file"] = 60_000
    command = [sys.executable, "-c", CHILD, f"{server.url}/file", str(tmp_path / "file"), str(len(DATA))]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        part = part_file(tmp_path / "file")
        wait_until(lambda: part.exists() and part.stat().st_size > 50_000)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    kept = part.stat().st_size
    assert 50_000 < kept < len(DATA)
    server.stalls, server.asked = {}, []
    assert download(server, tmp_path / "file") == hashlib.sha256(DATA).hexdigest()
    assert server.asked == [("/file", kept)]
    assert (tmp_path / "file").read_bytes() == DATA


def test_a_server_without_ranges_sends_the_file_again(server, tmp_path):
    server.ranges = False
    part_file(tmp_path / "file").write_bytes(DATA[:100_000])
    assert download(server, tmp_path / "file") == hashlib.sha256(DATA).hexdigest()
    assert (tmp_path / "file").read_bytes() == DATA


def test_a_file_of_another_size_is_refused_at_once(server, tmp_path):
    with pytest.raises(NetworkError, match="it has 300,000 bytes, expected 299,999"):
        download(server, tmp_path / "file", size=len(DATA) - 1)
    assert len(server.asked) == 1 and not (tmp_path / "file").exists()


def test_a_file_that_is_not_there_is_asked_for_once(server, tmp_path):
    server.status["/file"] = 404
    with pytest.raises(NetworkError, match="HTTP status 404"):
        download(server, tmp_path / "file")
    assert len(server.asked) == 1


def test_a_server_that_fails_is_asked_as_often_as_wanted(server, tmp_path):
    server.status["/file"] = 503
    with pytest.raises(NetworkError, match="HTTP status 503"):
        download(server, tmp_path / "file", attempts=2)
    assert len(server.asked) == 2


def test_a_host_that_cannot_be_reached_says_why(tmp_path):
    with byte_progress("file", 10) as progress, pytest.raises(NetworkError, match="refused"):
        download_file("http://127.0.0.1:9/file", tmp_path / "file", 10, progress, attempts=1)


def test_a_file_address_is_copied(tmp_path):
    (tmp_path / "source").write_bytes(DATA)
    with byte_progress("file", len(DATA)) as progress:
        download_file((tmp_path / "source").as_uri(), tmp_path / "file", len(DATA), progress)
    assert (tmp_path / "file").read_bytes() == DATA
