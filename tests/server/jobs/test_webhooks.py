"""Webhooks and the time for which batches are kept: signed, tried again, never to private addresses; old batches go."""

import hashlib
import hmac
import json
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler

import pytest

from helpers.http_server import http_server
from helpers.served import TURNS, serving
from helpers.waiting import wait_until
from rolesum.errors import UsageError
from rolesum.server.jobs.store import BatchItem, BatchStore
from rolesum.server.jobs.upkeep import BatchUpkeep
from rolesum.server.jobs.webhooks import RETRY_DELAYS, WebhookFailed, Webhooks, is_public
from rolesum.server.problems import HTTPProblem

SECRET = b"0123456789abcdef"
OPEN = Webhooks(SECRET, allow_private=True)


@pytest.fixture
def receiver():
    """The address of a receiver, what it received, and the statuses that it answers with, 200 after these."""
    received, statuses = [], []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, dict(self.headers), body))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http_server(Receiver) as address:
        yield address, received, statuses


@pytest.fixture
def store(tmp_path):
    with closing(BatchStore(tmp_path / "batches.sqlite")) as opened:
        yield opened


def ended_batch(store, webhook):
    identity = store.add("anna", "tiny", "{}", [("d", "{}")], webhook=webhook)
    assert identity not in {due.batch.id for due in store.due_webhooks(time.time())}
    store.finish(BatchItem(identity, 0, "tiny", "{}", "{}", "anna"), "failed", {"detail": "no"})
    return identity


def check_signature(headers, body):
    parts = dict(part.split("=") for part in headers["X-Rolesum-Signature"].split(","))
    assert abs(int(parts["t"]) - time.time()) < 60
    assert parts["v1"] == hmac.new(SECRET, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()


def test_the_end_of_a_batch_is_sent_once_with_a_signature(store, receiver):
    address, received, _ = receiver
    identity = ended_batch(store, f"{address}/hook?a=1")
    ended_batch(store, None)
    upkeep = BatchUpkeep(store, webhooks=OPEN)
    upkeep.run_once()
    upkeep.run_once()
    ((path, headers, body),) = received
    assert path == "/hook?a=1" and headers["Content-Type"] == "application/json"
    check_signature(headers, body)
    sent = json.loads(body)
    assert sent["event"] == "batch.ended" and sent["batch"]["id"] == identity
    assert (sent["batch"]["status"], sent["batch"]["failed"], sent["batch"]["total"]) == ("done", 1, 1)


def test_a_canceled_batch_has_ended_too(store, receiver):
    address, received, _ = receiver
    store.cancel(store.add("anna", "tiny", "{}", [("d", "{}")], webhook=address))
    BatchUpkeep(store, webhooks=OPEN).run_once()
    assert json.loads(received[0][2])["batch"]["status"] == "canceled"


def test_what_is_not_received_is_tried_again_later_and_later_and_redirects_are_not_followed(store, receiver):
    address, received, statuses = receiver
    statuses += [500, 302]
    identity = ended_batch(store, f"{address}/hook")
    upkeep = BatchUpkeep(store, webhooks=OPEN)
    for tries, delay in enumerate(RETRY_DELAYS[:2], 1):
        upkeep.run_once()
        upkeep.run_once()  # it is not due
        assert len(received) == tries
        assert store.due_webhooks(time.time() + delay - 2) == []
        ((due),) = store.due_webhooks(time.time() + delay + 2)
        assert (due.batch.id, due.tries) == (identity, tries)
        store.set_webhook(identity, tries, time.time())
    upkeep.run_once()
    assert [path for path, _, _ in received] == ["/hook"] * 3 and store.due_webhooks(time.time() + 1e9) == []


def test_after_the_last_try_it_is_given_up(store):
    identity = ended_batch(store, "http://127.0.0.1:9/hook")  # where no one listens
    store.set_webhook(identity, len(RETRY_DELAYS), time.time())
    BatchUpkeep(store, webhooks=OPEN).run_once()
    assert store.due_webhooks(time.time() + 1e9) == []


def test_batches_are_deleted_so_many_days_after_their_end(store):
    old, new = ended_batch(store, None), ended_batch(store, None)
    running = store.add("anna", "tiny", "{}", [("d", "{}")])
    with store._db.transaction() as db:
        db.execute("UPDATE batches SET ended = ended - 3 * 86400 WHERE id = ?", (old,))
    BatchUpkeep(store).run_once()
    assert len(store.batches("anna", 9)) == 3  # by default they stay
    BatchUpkeep(store, keep_days=2).run_once()
    assert [one.id for one in store.batches("anna", 9)] == [running, new]
    assert store.results(old, 0, 9) == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("172.16.3.4", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),  # the metadata of clouds
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::1", False),
    ],
)
def test_which_addresses_are_public(address, public):
    assert is_public(address) == public


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8/hook",
        "https://localhost/hook",
        "https://127.1/hook",
        "https://[::1]/hook",
        "https://2130706433/hook",
        "https://169.254.169.254/latest",
        "https://user:secret@8.8.8.8/",
        "ftp://8.8.8.8/",
        "https:///hook",
        "https://8.8.8.8:99999/",
        "https://8.8.8.8/a b",
        "https://8.8.8.8/\r\nX: y",
        "hook",
    ],
)
def test_addresses_to_which_nothing_is_sent(url):
    strict = Webhooks(SECRET)
    with pytest.raises(HTTPProblem) as refused:
        strict.check(url)
    assert refused.value.status == 422
    with pytest.raises(WebhookFailed):
        strict.send(url, None)
    strict.check("https://8.8.8.8/hook?a=1")


def test_a_short_secret_is_refused():
    with pytest.raises(UsageError, match="5 bytes"):
        Webhooks(b"short")


def test_a_served_batch_tells_its_end_and_without_a_secret_webhooks_are_refused(receiver):
    from helpers.tiny import model_dir  # the other tests need no model

    address, received, _ = receiver
    body = {"dialogues": [{"id": "d", "turns": TURNS}], "roles": ["user"], "options": {"max_new_tokens": 3}}
    model = ("--model", model_dir("llama"), "--dtype", "float32")
    env = {"ROLESUM_WEBHOOK_SECRET": SECRET.decode()}
    with serving(*model, "--allow-private-webhooks", "--keep-days", "7", env=env) as service:
        added = service.post("/v1/batches", **body, webhook_url=address)
        assert added.status_code == 202, added.text
        wait_until(lambda: received)
        check_signature(*received[0][1:])
        assert json.loads(received[0][2])["batch"]["id"] == added.json()["id"]
        refused = service.post("/v1/batches", **body, webhook_url="ftp://example.com")
        assert refused.status_code == 422 and refused.json()["where"] == "webhook_url"
