"""The benchmark that needs a GPU is tried out on a processor, at toy size: else nobody would notice that it broke."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
TOY = ("--device", "cpu", "--layers", "1", "--hidden", "64", "--vocab", "256", "--dialogues", "3", "--shapes", "csds")


@pytest.mark.slow
def test_gpu_7b_measures_both_layouts_at_toy_size(tmp_path):
    command = [sys.executable, BENCHMARKS / "gpu_7b.py", *TOY, "--trl", "--results", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "gpu_7b.json").read_text())["rows"]
    assert [row["variant"] for row in rows] == ["shared prefix", "one example a row"]
    assert all(row["examples_per_second"] > 0 for row in rows), rows
