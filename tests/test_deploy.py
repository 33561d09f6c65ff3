"""What is deployed by hand elsewhere: the container's recipe and the systemd unit, as far as they can be checked."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rolesum.cli.main import app

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"


def test_the_container_recipe_is_clean_to_hadolint():
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if not hadolint:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_container_copies_is_there():
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert copied and all((DEPLOY.parent / name).exists() for name in copied)


def test_systemd_takes_the_unit(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")
    text = (DEPLOY / "rolesum.service").read_text()
    unit = tmp_path / "rolesum.service"
    unit.write_text(text.replace("/opt/rolesum/bin/rolesum", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if "rolesum.service" in line and "rolesum" in line]
    assert not [line for line in told if "User" not in line], done.stderr


def test_the_commands_in_both_have_the_options_that_they_use():
    known = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    for file, key in (("Dockerfile", "ENTRYPOINT"), ("rolesum.service", "ExecStart")):
        command = next(line for line in (DEPLOY / file).read_text().splitlines() if line.startswith(key))
        options = re.findall(r"--[a-z-]+", command)
        assert "serve" in command and options
        assert not [one for one in options if not re.search(rf"{one}\b(?!-)", known)]
