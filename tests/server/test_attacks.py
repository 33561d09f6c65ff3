"""What a client can do to the others: bodies that cost, connections that idle, queues that one fills alone."""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from contextlib import ExitStack

import httpx
import psutil
import pytest

from helpers.served import TEXT, TURNS, serving
from helpers.tiny import model_dir
from helpers.waiting import wait_until
from rolesum.server.auth import new_key
from rolesum.server.jobs.store import BatchStore
from rolesum.server.sse import EventStream

MODEL = ("--model", model_dir("llama"), "--dtype", "float32")
LONG = {"max_new_tokens": 1000, "min_new_tokens": 1000}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def service():
    with serving(*MODEL) as running:
        yield running


def asking(work):
    found = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    return thread, found


def inside(service):
    return service.client.get("/ready").json()["active_requests"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"dialogue": {"turns": [' + b"1," * 1_500_000 + b"1]}}",
        b'{"roles": [' + b"[]," * 1_000_000 + b"1]}",
        b"{" + b",".join(b'"k%d": 1' % n for n in range(300_000)) + b"}",
        b'{"speakers": {' + b",".join(b'"k%d": 1' % n for n in range(300_000)) + b"}}",
        b'{"text": "' + b"1\\n" * 900_000 + b'", "format": "rolesum"}',
        b'{"seed": ' + b"9" * 10_000 + b"}",
    ],
    ids=["turns", "roles", "keys", "speakers", "lines", "digits"],
)
def test_a_body_that_is_wrong_in_a_million_places_costs_little(service, body):
    process = psutil.Process(service.process.pid)

    def seconds():
        """Of the server's processor time, which another load of the machine does not lengthen."""
        times = process.cpu_times()
        return times.user + times.system

    begun = seconds()
    thread, found = asking(lambda: service.client.post("/v1/dialogues", content=body, headers=JSON))
    while thread.is_alive():
        sent = seconds()
        assert httpx.get(f"{service.url}/health", trust_env=False, timeout=60).status_code == 200
        assert seconds() - sent < 3  # other requests are answered while the body is parsed
        time.sleep(0.05)
    assert found[0].status_code in (400, 413, 422) and len(found[0].content) < 50_000
    assert seconds() - begun < 20


def test_forms_are_utf_8_and_their_fields_may_be_as_large_as_a_body(service):
    for charset, status in (("idna", 415), ("undefined", 415), ("unicode_escape", 415), ("utf-8", 200)):
        body = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\nA: hello\r\n--x--\r\n'
        headers = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
        assert service.client.post("/v1/dialogues", content=body, headers=headers).status_code == status
    text = "A: hello\n" * 1000 + "B: " + "word " * 400_000
    answer = service.client.post("/v1/dialogues", data={"text": text}, files={"x": b""})
    assert answer.status_code in (413, 422) and "Part exceeded" not in answer.text


def test_a_client_that_breaks_off_its_body_is_no_failure_of_the_service(service):
    host, port = service.url.removeprefix("http://").split(":")
    head = f"POST /v1/summaries HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode() + b"{")
        time.sleep(0.1)
    time.sleep(0.3)
    assert 'status="500"' not in service.client.get("/metrics").text and "Traceback" not in service.printed


def test_one_key_does_not_take_all_places_and_a_refusal_can_be_read_by_an_allowed_site(tmp_path):
    keys = {name: new_key(name) for name in ("anna", "tom")}
    (tmp_path / "keys").write_text("\n".join(line for _, line in keys.values()))
    arguments = ("--keys", tmp_path / "keys", "--max-concurrent-requests", 4, "--cors-origin", "https://crm.example")
    with serving(*MODEL, *arguments) as service:
        anna, tom = ({"Authorization": f"Bearer {key}"} for key, _ in keys.values())
        body = {"text": TEXT, "roles": ["user"], "options": LONG}
        heavy = [asking(lambda: service.client.post("/v1/summaries", json=body, headers=anna)) for _ in range(3)]
        wait_until(lambda: inside(service) == 3)
        origin = {"Origin": "https://crm.example"}
        refused = service.client.post("/v1/summaries", json=body, headers={**anna, **origin})
        assert refused.status_code == 429 and "of this key" in refused.json()["detail"]
        assert "Retry-After" in refused.headers["access-control-expose-headers"]
        short = {**body, "options": {"max_new_tokens": 3}}
        assert service.client.post("/v1/summaries", json=short, headers=tom).status_code == 200
        unknown = service.client.post("/v1/summaries", json=short, headers=origin)
        assert unknown.status_code == 401
        assert unknown.headers["access-control-allow-origin"] == "https://crm.example"
        for thread, _ in heavy:
            thread.join(120)


def test_a_batch_that_would_fill_the_engine_leaves_room_for_a_request(tmp_path):
    with serving(*MODEL, "--batch-workers", 8, folder=tmp_path) as service:
        many = [{"id": f"d{n}", "turns": TURNS} for n in range(200)]
        heavy = {"samples": 16, "temperature": 1, "choose": "likeliest", **LONG}
        identity = service.post("/v1/batches", dialogues=many, options=heavy).json()["id"]
        wait_until(lambda: "rolesum_active_sequences 0.0" not in service.client.get("/metrics").text)
        begun = time.monotonic()
        answer = service.post("/v1/summaries", text=TEXT, roles=["user"], options={"max_new_tokens": 5})
        assert answer.status_code == 200 and time.monotonic() - begun < 60
        service.client.delete(f"/v1/batches/{identity}")


def test_owners_take_turns(tmp_path):
    store = BatchStore(tmp_path / "batches.sqlite")
    lines = [(f"d{n}", "{}") for n in range(3)]
    first, second = (store.add(owner, "m", "{}", lines) for owner in ("anna", "tom"))
    taken = {}
    order = []
    for _ in range(6):
        at_work = {owner: list(taken.values()).count(owner) for owner in ("anna", "tom")}
        item = store.next_item(["m"], taken, at_work)
        taken[item.batch, item.number] = item.owner
        order.append(item.owner)
    assert order == ["anna", "tom"] * 3 and store.next_item(["m"], taken, {}) is None
    assert {batch for batch, _ in taken} == {first, second}
    store.close()


def test_removed_texts_are_in_no_file(tmp_path):
    store = BatchStore(tmp_path / "batches.sqlite")
    lines = [(f"d{n}", f"swordfish {n} " * 200) for n in range(40)]
    canceled, deleted = (store.add("", "m", "{}", lines) for _ in range(2))
    held = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"swordfish" in held
    store.cancel(canceled)
    store.delete(deleted)
    assert {one.status for one in store.results(canceled, 0, 100)} == {"canceled"}
    assert b"swordfish" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    store.close()


def test_a_reader_that_stops_reading_gives_its_place_back():
    given_back = []

    async def stuck(_message):
        await asyncio.Event().wait()

    async def events():
        yield b"data: x\n\n"

    async def run():
        held = ExitStack()
        held.callback(lambda: given_back.append(True))
        receive = asyncio.Event().wait  # the client stays
        await asyncio.wait_for(EventStream(events(), held, 0.2)({"type": "http", "asgi": {}}, receive, stuck), 60)

    asyncio.run(run())
    assert given_back == [True]


def test_what_has_not_ended_within_the_grace_is_told_so():
    with serving(*MODEL, "--shutdown-timeout", 1) as service:
        body = {"text": TEXT, "roles": ["user"], "options": {**LONG, "samples": 16, "temperature": 1, "choose": "mbr"}}
        plain = asking(lambda: service.post("/v1/summaries", **body))
        stream = asking(lambda: service.post("/v1/summaries", **body, stream=True))
        wait_until(lambda: inside(service) == 2)
        os.kill(service.process.pid, signal.SIGTERM)
        for thread, _ in (plain, stream):
            thread.join(120)
        assert plain[1][0].status_code == 503 and plain[1][0].json()["fix"] == "send the request again"
        assert "event: error" in stream[1][0].text
        assert json.loads(stream[1][0].text.split("data: ")[-1])["status"] == 503
        assert service.process.wait(120) == 0
        assert "Traceback" not in service.printed
