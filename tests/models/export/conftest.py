"""An export is read again by a process of its own: here a fork of one that has imported stock transformers."""

import pytest

from helpers.stock_process import StockProcesses
from rolesum.models.export import exporter


@pytest.fixture(scope="session")
def stock_processes(tmp_path_factory):
    processes = StockProcesses(tmp_path_factory.mktemp("stock"))
    yield processes
    processes.end()


@pytest.fixture(autouse=True)
def forked_reading(request, monkeypatch):
    """All tests but those that are marked `fresh_process`, for which Python starts anew as it does for users."""
    if "fresh_process" not in request.keywords:
        monkeypatch.setattr(exporter, "subprocess", request.getfixturevalue("stock_processes"))
