"""A store of batches that fails under a running service: 503 with what happened, and not ready, until it works."""

import json
import os
import resource
import sqlite3

import pytest

from helpers.served import TEXT, TURNS, serving
from helpers.tiny import model_dir
from helpers.waiting import wait_until
from rolesum.errors import ResourceError
from rolesum.server.jobs.store import TIMEOUT, BatchStore

MODEL = ("--model", model_dir("llama"), "--dtype", "float32")
BATCH = {"dialogues": [{"id": "d", "turns": TURNS}], "options": {"max_new_tokens": 3}}
SHORT = {"max_new_tokens": 3}


def send_to_the_store(service):
    """The answers of every route that reads or saves batches."""
    yield service.post("/v1/batches", **BATCH)
    yield service.client.get("/v1/batches")
    for path in ("", "/results", "/results.jsonl"):
        yield service.client.get(f"/v1/batches/batch-1{path}")
    yield service.client.post("/v1/batches/batch-1/cancel")
    yield service.client.delete("/v1/batches/batch-1")


def check_unusable(service, reason):
    for answer in send_to_the_store(service):
        problem = answer.json()
        assert answer.status_code == 503, (answer.request.url, answer.text)
        assert int(answer.headers["retry-after"]) > 0
        assert reason in problem["detail"] and problem["where"].endswith("batches.sqlite") and problem["fix"]
    ready = service.client.get("/ready")
    assert ready.status_code == 503 and reason in ready.json()["detail"] and ready.json()["fix"]
    assert service.client.get("/health").status_code == 200
    assert "rolesum_waiting_batch_dialogues NaN" in service.client.get("/metrics").text
    assert service.post("/v1/summaries", text=TEXT, roles=["user"], options=SHORT).status_code == 200
    assert "Traceback" not in service.printed and "exception" not in service.printed.lower()


def delete(path):
    path.unlink()
    return "was deleted while it was open"


def replace(path):
    path.rename(path.with_name("old"))
    path.write_text("this is a text")
    return "was replaced by another file"


def delete_log(path):
    path.with_name(f"{path.name}-wal").unlink()
    return "was deleted while it was open"


def truncate(path):
    os.truncate(path, 5000)
    return "was truncated"


def overwrite(path):
    """Write text over the file, as a wrong redirection does, in the same place and of the same size."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write((b"no database\n" * size)[:size])
    return "cannot"


@pytest.mark.parametrize("damage", [delete, replace, delete_log, truncate, overwrite], ids=lambda one: one.__name__)
def test_a_store_that_was_damaged_answers_503_and_the_server_is_not_ready(tmp_path, damage):
    with serving(*MODEL, folder=tmp_path) as service:
        identity = service.post("/v1/batches", **BATCH).json()["id"]
        wait_until(lambda: service.client.get(f"/v1/batches/{identity}").json()["done"])
        path = tmp_path / "batches.sqlite"
        with sqlite3.connect(path) as other:  # the log's pages come into the file, so that the file is read
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert service.client.get("/ready").status_code == 200
        check_unusable(service, damage(path))


def test_a_locked_store_is_busy_and_ready_again_when_it_is_free(tmp_path):
    with serving(*MODEL, folder=tmp_path) as service:
        other = sqlite3.connect(tmp_path / "batches.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        ready = service.client.get("/ready")
        assert ready.status_code == 503 and "locked" in ready.json()["detail"]
        answer = service.post("/v1/batches", **BATCH)
        assert answer.status_code == 503 and "locked" in answer.json()["detail"] and answer.json()["fix"]
        assert service.client.get("/health").elapsed.total_seconds() < TIMEOUT  # it does not wait for the file
        other.execute("ROLLBACK")
        assert service.client.get("/ready").status_code == 200
        assert service.post("/v1/batches", **BATCH).status_code == 202


def test_a_full_disk_is_not_ready_and_ready_again_with_space(tmp_path):
    with serving(*MODEL, folder=tmp_path) as service:
        assert service.post("/v1/batches", **BATCH).status_code == 202
        limits = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)
        # A page does not fit anywhere, not even at the start of the log, which begins anew after a checkpoint.
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (4096, limits[1]))
        many = {**BATCH, "dialogues": [{"id": f"d{n}", "turns": TURNS * 20} for n in range(200)]}
        answer = service.post("/v1/batches", **many)
        assert answer.status_code == 503 and "cannot save" in answer.json()["detail"] and answer.json()["fix"]
        assert service.client.get("/ready").status_code == 503
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, limits)
        assert service.client.get("/ready").status_code == 200
        answer = service.post("/v1/batches", **many)
        assert answer.status_code == 202
        assert service.client.get(f"/v1/batches/{answer.json()['id']}").json()["total"] == 200


def test_damage_that_a_request_finds_stays_until_the_start(tmp_path):
    path = tmp_path / "batches.sqlite"
    store = BatchStore(path)
    identity = store.add("", "m", "{}", [(f"d{n}", json.dumps("x" * 5000)) for n in range(200)])
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:  # of the pages with dialogues, but not of the first ones
        file.seek(20 * 4096)
        file.write(b"\xff" * (path.stat().st_size - 20 * 4096))
    store.check()
    with pytest.raises(ResourceError, match="malformed"):
        store.results(identity, 0, 1000)
    with pytest.raises(ResourceError, match="malformed") as error:
        store.check()
    assert "restore a backup" in error.value.problems[0].fix
    store.close()
