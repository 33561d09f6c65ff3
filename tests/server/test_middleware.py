"""Who comes in and with how much: keys, hosts, sizes, the queue, time limits, and clients that go away."""

import json
import os
import signal
import socket
import threading

import httpx
import pytest

from helpers.served import TEXT, TURNS, serving
from helpers.tiny import model_dir
from helpers.waiting import wait_until
from rolesum.errors import UsageError
from rolesum.server.auth import new_key, read_api_keys

MODEL = ("--model", model_dir("llama"), "--dtype", "float32")
# Long enough for a test to look at what happens meanwhile.
LONG = {"max_new_tokens": 1000, "min_new_tokens": 1000}


@pytest.fixture(scope="module")
def service():
    with serving(*MODEL, "--max-turns", 200) as running:
        yield running


@pytest.fixture(scope="module")
def small():
    """Room for two requests, and few seconds for each."""
    with serving(*MODEL, "--max-concurrent-requests", 2, "--timeout", 4) as running:
        yield running


def in_thread(work):
    found = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    return thread, found


def busy(service):
    lines = service.client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("rolesum_active_requests ")).split()[-1])


def is_answered(service):
    """Whether a short request is answered within the service's time, which a loaded machine may need more than once."""
    answer = service.post("/v1/summaries", text=TEXT, roles=["user"], options={"max_new_tokens": 4})
    assert answer.status_code in (200, 504)
    return answer.status_code == 200


def test_keys_are_read_from_a_file_and_the_environment_and_only_digests_are_kept(tmp_path, monkeypatch):
    key, line = new_key("crm")
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{line}\n\n")
    monkeypatch.setenv("ROLESUM_API_KEYS", "x" * 24)
    keys = read_api_keys(file)
    assert keys.owner(key) == "crm" and keys.owner("x" * 24) == "env-1" and keys.owner(key + "x") is None
    assert key not in file.read_text() and key not in repr(vars(keys))
    file.write_text("crm\nweb:abc\n")
    monkeypatch.setenv("ROLESUM_API_KEYS", "short")
    with pytest.raises(UsageError) as error:
        read_api_keys(file)
    assert len(error.value.problems) == 3


def test_with_keys_nothing_is_told_without_one(tmp_path):
    key, line = new_key("crm")
    other, second = new_key("web")
    (tmp_path / "keys").write_text(f"{line}\n{second}\n")
    with serving(*MODEL, "--keys", tmp_path / "keys", "--host", "0.0.0.0") as service:
        client = httpx.Client(base_url=f"http://127.0.0.1:{service.url.rsplit(':', 1)[1]}", timeout=60, trust_env=False)
        for path in ("/v1/models", "/v1/info", "/metrics", "/v1/batches", "/openapi.json"):
            answer = client.get(path)
            assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer")
        assert [client.get(path).status_code for path in ("/", "/health", "/ready", "/page/app.js")] == [200] * 4
        assert client.post("/v1/summaries", json={"text": TEXT}).status_code == 401
        wrong = {"Authorization": f"Bearer {key}x"}
        assert client.get("/v1/models", headers=wrong).json()["detail"] == "the API key is wrong"
        body = {"dialogues": [{"turns": TURNS}], "options": {"max_new_tokens": 4}}
        mine = client.post("/v1/batches", json=body, headers={"Authorization": f"Bearer {key}"}).json()["id"]
        theirs = {"X-Api-Key": other}
        assert client.get(f"/v1/batches/{mine}", headers=theirs).status_code == 404
        assert client.get("/v1/batches", headers=theirs).json() == {"batches": []}


def test_without_a_key_no_other_machine_is_served():
    with pytest.raises(AssertionError, match="has no API key"):
        serving(*MODEL, "--host", "0.0.0.0").__enter__()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "[::1"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_foreign_pages_are_turned_away(service, headers):
    answer = service.client.post("/v1/summaries", json={"text": TEXT}, headers=headers)
    assert answer.status_code == 403 and answer.headers["content-type"] == "application/problem+json"
    assert "access-control-allow-origin" not in answer.headers


def test_bodies_that_are_too_large_are_refused_whatever_they_promise(service):
    large = b'{"text": "' + b"x" * (5 * 2**20)
    answer = service.client.post("/v1/summaries", content=large, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413 and answer.json()["fix"]

    def pieces():
        for _ in range(100):
            yield b" " * 2**17

    answer = service.client.post("/v1/summaries", content=pieces(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    turns = [{"speaker": "a", "text": "b"}] * 10_000
    assert service.post("/v1/summaries", dialogue={"turns": turns}).status_code == 413
    assert service.post("/v1/summaries", text="a: b\n" * 10_000).status_code == 413
    assert service.post("/v1/summaries", text=TEXT, options={"max_new_tokens": 10**6}).status_code == 413
    assert service.post("/v1/summaries", text=TEXT, options={"samples": 99, "temperature": 1}).status_code == 413
    many = {"dialogues": [{"turns": TURNS}] * 10_001}
    assert service.post("/v1/batches", **many).status_code == 413


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b'{"text": "\xff"}', "application/json"),
        (b'{"text": "\\ud800"}', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"text": ' + b"1" * 10_000 + b"}", "application/json"),
        (b'{"text": "a: b", "options": {"temperature": NaN}}', "application/json"),
        (b'{"text": "a: b", "options": {"seed": 1e400}}', "application/json"),
        (b'{"text": ["a"]}', "application/json"),
        (b"null", "application/json"),
        (b'{"dialogue": {"turns": [{"speaker": "", "text": "b"}]}}', "application/json"),
        (b'{"dialogue": {"turns": [{"speaker": "a", "text": "\\u0000"}], "roles": {"b": "user"}}}', "application/json"),
        (b"text=a", "application/x-www-form-urlencoded"),
        (b"a", "text/plain"),
        (b"a", ""),
        (b"--x\r\nnonsense", "multipart/form-data; boundary=x"),
        (b"", "multipart/form-data"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/summaries", "/v1/dialogues", "/v1/batches", "/v1/chat/completions"])
def test_what_is_no_request_is_refused_and_the_service_lives(service, path, body, kind):
    answer = service.client.post(path, content=body, headers={"Content-Type": kind})
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json" and answer.json()["detail"]
    assert service.client.get("/health").status_code == 200


def test_past_the_queue_a_client_is_told_when_to_come_again(small):
    threads = [
        in_thread(lambda: small.post("/v1/summaries", text=TEXT, roles=["user"], options=LONG).status_code)
        for _ in range(2)
    ]
    wait_until(lambda: busy(small) == 2)
    refused = small.post("/v1/summaries", text=TEXT)
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
    assert small.client.get("/health").status_code == 200
    for thread, found in threads:
        thread.join(120)
        assert found[0] in (200, 504)
    wait_until(lambda: is_answered(small))


def test_what_takes_too_long_ends_and_its_place_is_free(small):
    body = {"text": TEXT, "options": {**LONG, "beams": 16}, "roles": ["overall", "user", "agent"]}
    answer = small.post("/v1/summaries", **body)
    assert answer.status_code == 504 and answer.json()["fix"]
    wait_until(lambda: busy(small) == 0)
    wait_until(lambda: is_answered(small))


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_its_place(service, stream):
    raw = json.dumps({"text": TEXT, "options": LONG, "stream": stream}).encode()
    host, port = service.url.removeprefix("http://").split(":")
    head = f"POST /v1/summaries HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
        wait_until(lambda: busy(service) == 1)
        if stream:
            assert connection.recv(100)
    wait_until(lambda: busy(service) == 0)
    wait_until(lambda: "rolesum_active_sequences 0.0" in service.client.get("/metrics").text)


def test_no_text_and_no_key_is_logged(tmp_path):
    key, line = new_key("crm")
    (tmp_path / "keys").write_text(line)
    with serving(*MODEL, "--keys", tmp_path / "keys", "--log", tmp_path / "log") as service:
        service.client.headers["Authorization"] = f"Bearer {key}"
        service.post("/v1/summaries", text="Zebedee: my password is swordfish", options={"max_new_tokens": 3})
        service.post("/v1/summaries", text="Zebedee swordfish", roles=["Zebedee"])
        service.client.get("/v1/batches/swordfish", params={"q": "swordfish"})
        log = (tmp_path / "log").read_text()
    assert "/v1/summaries 200" in log and "/v1/batches/{identity} 404" in log and "crm" in log
    for secret in ("Zebedee", "swordfish", key):
        assert secret not in log and secret not in service.printed


def is_ready(service):
    try:
        return httpx.get(f"{service.url}/ready", trust_env=False, timeout=60).status_code == 200
    except httpx.TransportError:  # it takes no more connections
        return False


def test_told_to_end_the_service_finishes_what_runs_and_takes_nothing_new():
    with serving(*MODEL, "--shutdown-timeout", 30) as service:
        body = {"text": TEXT, "options": {"max_new_tokens": 300, "min_new_tokens": 300}, "roles": ["user"]}
        thread, found = in_thread(lambda: service.post("/v1/summaries", **body))
        wait_until(lambda: busy(service) == 1)
        os.kill(service.process.pid, signal.SIGTERM)
        wait_until(lambda: not is_ready(service))
        thread.join(120)
        assert found[0].status_code == 200 and found[0].json()["summaries"][0]["tokens"] == 300
        assert service.process.wait(120) == 0


def test_paths_that_are_none_are_problems_too(service):
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/summaries", 405),
        ("GET", "/page/..%2f..%2fkeys.py", 404),
        ("GET", "/page/../../keys.py", 404),
        ("PUT", "/v1/batches", 405),
        ("GET", "/v1/batches/x/results?offset=-1", 422),
    ):
        answer = service.client.request(method, path)
        assert answer.status_code == status, path
        assert answer.headers["content-type"] == "application/problem+json"
