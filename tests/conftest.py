"""Fixtures that every folder of tests may use."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real data sets, which lie beside the project where they lie at all."""
    path = ROOT / os.environ.get("ROLESUM_SHARED", "../shared")
    if not path.is_dir():
        pytest.skip("the shared data sets are absent: set ROLESUM_SHARED to their directory")
    return path
