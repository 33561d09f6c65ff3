"""The number of threads and how they wait: by the user, by the container's share, and before torch is imported."""

import subprocess
import sys

import pytest

from rolesum.errors import UsageError
from rolesum.threads import prepare_threads

WAIT = {"GOMP_SPINCOUNT": "10000"}


def prepared(tmp_path, cpu_max=None, cpus=8, monkeypatch=None, **environment):
    if cpu_max is not None:
        (tmp_path / "cpu.max").write_text(cpu_max)
    monkeypatch.setattr("os.cpu_count", lambda: cpus)
    prepare_threads(environment, tmp_path)
    return environment


@pytest.mark.parametrize(
    ("cpu_max", "expected"),
    [("max 100000\n", None), (None, None), ("150000 100000\n", "2"), ("50000 100000\n", "1"), ("900000 100000", None)],
)
def test_a_container_with_fewer_processors_gets_as_many_threads(tmp_path, monkeypatch, cpu_max, expected):
    assert prepared(tmp_path, cpu_max, monkeypatch=monkeypatch).get("OMP_NUM_THREADS") == expected


def test_the_first_kind_of_cgroups_is_read_too(tmp_path, monkeypatch):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("300000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert prepared(tmp_path, monkeypatch=monkeypatch)["OMP_NUM_THREADS"] == "3"


def test_what_the_user_set_stays(tmp_path, monkeypatch):
    own = {"OMP_NUM_THREADS": "4", "GOMP_SPINCOUNT": "0"}
    assert prepared(tmp_path, "100000 100000", monkeypatch=monkeypatch, **own) == own
    assert "GOMP_SPINCOUNT" not in prepared(tmp_path, monkeypatch=monkeypatch, OMP_WAIT_POLICY="active")


def test_rolesum_threads_comes_first(tmp_path, monkeypatch):
    own = {"ROLESUM_THREADS": "3", "OMP_NUM_THREADS": "8"}
    made = prepared(tmp_path, "100000 100000", monkeypatch=monkeypatch, **own)
    assert made == {"ROLESUM_THREADS": "3", "OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", **WAIT}


@pytest.mark.parametrize("text", ["two", "0", "-1", "1.5"])
def test_what_is_no_count_is_refused(tmp_path, monkeypatch, text):
    with pytest.raises(UsageError, match="ROLESUM_THREADS is"):
        prepared(tmp_path, monkeypatch=monkeypatch, ROLESUM_THREADS=text)


@pytest.mark.parametrize("first", ["", "import torch; "])
def test_torch_computes_with_so_many(first):
    code = f"{first}from rolesum.threads import prepare_threads; prepare_threads(); import torch; "
    if first:  # the number is set although torch has read the environment
        code = f"{first}from rolesum.threads import set_threads; set_threads(1); "
    command = [sys.executable, "-c", f"{code}print(torch.get_num_threads())"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"ROLESUM_THREADS": "1"})
    assert done.stdout == "1\n"


def test_the_option_comes_before_the_variable():
    code = "from rolesum.cli.options import _use_threads; "
    code += "from rolesum.threads import prepare_threads; prepare_threads(); _use_threads(1); import torch; "
    command = [sys.executable, "-c", f"{code}print(torch.get_num_threads())"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"ROLESUM_THREADS": "2"})
    assert done.stdout == "1\n"
