"""Fixtures that every folder of tests may use."""

import gc
import os
import signal
from pathlib import Path

import pytest

from rolesum.console import console

# The files with the longest tests, longest first: a worker that began one of them last would be alone at it.
LONGEST = (
    *(
        "test_fsdp",
        "test_distributed",
        "test_training_ray",
        "test_exporter",
        "test_plan",
        "test_demo",
        "test_baichuan_recipe",
    ),
    "test_batch_ray",
)

# What starts tests in the background may have them ignore these, and what they start would do the same.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real data sets, which lie beside the project where they lie at all."""
    path = ROOT / os.environ.get("ROLESUM_SHARED", "../shared")
    if not path.is_dir():
        pytest.skip("the shared data sets are absent: set ROLESUM_SHARED to their directory")
    return path


@pytest.fixture(autouse=True)
def _loud_console():
    """What a command was told by --quiet ends with its test."""
    yield
    console.quiet = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; the Makefile tells pytest-xdist to keep this order."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)))


def pytest_collection_finish() -> None:
    """What is imported stays: every run that trains collects garbage, and would look through all of it each time."""
    gc.collect()
    gc.freeze()
