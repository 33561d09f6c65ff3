"""/v1/batches on a real server: accepted once, done once, kept over kill -9 and restart, and removed when told."""

import json
import signal
import sqlite3
import time

import pytest

from helpers.served import TEXT, TURNS, serving
from helpers.tiny import model_dir
from rolesum.formats import read_dialogues
from rolesum.formats.jsonl import to_json

SHORT = {"max_new_tokens": 8}


@pytest.fixture(scope="module")
def service():
    with serving("--model", model_dir("llama"), "--dtype", "float32") as running:
        yield running


def ended(service, identity, seconds=120):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        batch = service.client.get(f"/v1/batches/{identity}").json()
        if batch["ended"] is not None:
            return batch
        time.sleep(0.1)
    raise AssertionError(batch)


def dialogues(count):
    return [
        {"id": f"d{n}", "turns": [*TURNS, {"speaker": "Customer", "text": f"My number is {n}."}]} for n in range(count)
    ]


def test_a_batch_of_dialogues_is_done_and_its_texts_are_gone(service):
    added = service.post("/v1/batches", dialogues=dialogues(5), roles=["user", "agent"], options=SHORT)
    assert added.status_code == 202, added.text
    identity = added.json()["id"]
    assert added.headers["location"] == f"/v1/batches/{identity}"
    batch = ended(service, identity)
    assert (batch["status"], batch["total"], batch["done"], batch["failed"]) == ("done", 5, 5, 0)
    found = service.client.get(f"/v1/batches/{identity}/results").json()
    assert [one["id"] for one in found["results"]] == [f"d{n}" for n in range(5)] and found["next"] is None
    alone = service.post("/v1/summaries", dialogue=dialogues(5)[3], roles=["user", "agent"], options=SHORT).json()
    assert found["results"][3]["result"]["summaries"] == alone["summaries"]
    page = service.client.get(f"/v1/batches/{identity}/results", params={"offset": 2, "limit": 2}).json()
    assert [one["number"] for one in page["results"]] == [2, 3] and page["next"] == 4
    lines = service.client.get(f"/v1/batches/{identity}/results.jsonl").text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [f"d{n}" for n in range(5)]
    kept = sqlite3.connect(service.folder / "batches.sqlite").execute("SELECT dialogue FROM items").fetchall()
    assert {row[0] for row in kept} == {None}


def test_a_file_is_taken_and_what_fails_fails_alone(service):
    long = {"id": "long", "turns": [{"speaker": "Customer", "text": "word " * 3000}]}
    nobody = {"id": "nobody", "turns": [{"speaker": "Anna", "text": "hello there"}]}
    good = [to_json(one) for one in read_dialogues("sample:en-test")[:3]]
    raw = "\n".join([json.dumps(long), json.dumps(nobody), *good]).encode()
    data = {"roles": "user", "options": json.dumps({**SHORT, "long_dialogues": "refuse"})}
    added = service.client.post("/v1/batches", data=data, files={"file": ("chats.jsonl", raw)})
    assert added.status_code == 202, added.text
    batch = ended(service, added.json()["id"])
    assert (batch["done"], batch["failed"]) == (3, 2)
    found = service.client.get(f"/v1/batches/{batch['id']}/results").json()["results"]
    assert [one["status"] for one in found] == ["failed", "failed", "done", "done", "done"]
    assert "tokens" in found[0]["problem"]["detail"] and "no speaker plays user" in found[1]["problem"]["detail"]
    assert found[0]["problem"]["fix"] and found[2]["result"]["summaries"]


def test_a_bad_file_is_refused_whole_with_all_its_problems(service):
    raw = b'{"id": "a", "turns": []}\n{"id": "b", "turns": [{"speaker": "x", "text": "y"}]}\n{"id": broken}\n'
    answer = service.client.post("/v1/batches", files={"file": ("chats.jsonl", raw)})
    assert answer.status_code == 422
    assert [one["where"] for one in answer.json()["problems"]] == ["chats.jsonl:1, id a", "chats.jsonl:3"]


def test_a_batch_that_is_sent_again_is_the_one_that_was_sent_before(service):
    headers = {"Idempotency-Key": "once"}
    body = {"dialogues": dialogues(2), "options": SHORT}
    first, again = (service.client.post("/v1/batches", json=body, headers=headers) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    other = service.client.post("/v1/batches", json={**body, "roles": ["user"]}, headers=headers)
    assert other.status_code == 409 and other.json()["fix"]
    new = service.client.post("/v1/batches", json=body)
    assert new.json()["id"] != first.json()["id"]
    ended(service, new.json()["id"])


def test_a_batch_is_canceled_and_deleted(service):
    identity = service.post("/v1/batches", dialogues=dialogues(60), options={"max_new_tokens": 400}).json()["id"]
    canceled = service.client.post(f"/v1/batches/{identity}/cancel").json()
    assert canceled["status"] == "canceled" and canceled["done"] < 60
    time.sleep(1)
    assert service.client.get(f"/v1/batches/{identity}").json()["done"] == canceled["done"]
    assert service.post("/v1/summaries", text=TEXT, options=SHORT).status_code == 200
    assert identity in [one["id"] for one in service.client.get("/v1/batches").json()["batches"]]
    assert service.client.delete(f"/v1/batches/{identity}").status_code == 204
    assert service.client.get(f"/v1/batches/{identity}").status_code == 404
    assert service.client.get("/v1/batches/batch-none/results").status_code == 404


def test_a_service_that_is_killed_loses_no_dialogue_and_does_none_twice(tmp_path):
    arguments = ("--model", model_dir("llama"), "--dtype", "float32", "--batch-workers", 3)
    with serving(*arguments, folder=tmp_path) as first:
        body = {"dialogues": dialogues(40), "options": {"max_new_tokens": 60}}
        headers = {"Idempotency-Key": "night"}
        identity = first.client.post("/v1/batches", json=body, headers=headers).json()["id"]
        while not (before := first.client.get(f"/v1/batches/{identity}").json())["done"]:
            time.sleep(0.02)
        done = first.client.get(f"/v1/batches/{identity}/results", params={"limit": 100}).json()["results"]
        first.end(signal.SIGKILL)
    assert 0 < before["done"] < 40
    with serving(*arguments, folder=tmp_path) as second:
        again = second.client.post("/v1/batches", json=body, headers=headers).json()["id"]
        assert again == identity
        batch = ended(second, identity)
        assert (batch["done"], batch["failed"], batch["total"]) == (40, 0, 40)
        found = second.client.get(f"/v1/batches/{identity}/results", params={"limit": 100}).json()["results"]
        kept = {one["number"]: one for one in done if one["status"] == "done"}
        assert all(found[number] == one for number, one in kept.items())  # not done anew: its seconds are the same
        counted = second.client.get("/metrics").text
        written = next(line for line in counted.splitlines() if line.startswith("rolesum_summaries_total"))
        assert float(written.split()[-1]) <= (40 - len(kept)) * 3


def test_two_services_do_not_share_a_file_of_batches(tmp_path):
    arguments = ("--model", model_dir("llama"), "--dtype", "float32")
    with serving(*arguments, folder=tmp_path), pytest.raises(AssertionError, match="in use by process"):
        serving(*arguments, folder=tmp_path).__enter__()


def test_what_runs_when_the_service_is_told_to_end_goes_on_at_the_next_start(tmp_path):
    arguments = ("--model", model_dir("llama"), "--dtype", "float32", "--batch-workers", 2, "--shutdown-timeout", 2)
    with serving(*arguments, folder=tmp_path) as first:
        identity = first.post("/v1/batches", dialogues=dialogues(30), options={"max_new_tokens": 80}).json()["id"]
        while not first.client.get(f"/v1/batches/{identity}").json()["done"]:
            time.sleep(0.02)
        assert first.end(signal.SIGTERM) == 0
    with serving(*arguments, folder=tmp_path) as second:
        assert ended(second, identity)["done"] == 30
