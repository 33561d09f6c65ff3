"""Connections whose clients send or read byte by byte, or not at all, on a real socket."""

import contextlib
import socket
import threading
import time

import httpx
import pytest
from starlette.middleware.exceptions import ExceptionMiddleware

from helpers.waiting import wait_until
from rolesum.server import connection, middleware
from rolesum.server.admission import AdmissionController
from rolesum.server.auth import APIKeys
from rolesum.server.limits import Limits
from rolesum.server.metrics import Metrics
from rolesum.server.middleware import SecurityMiddleware
from rolesum.server.run import GracefulServer
from rolesum.sockets import bind_socket

LARGE = 30 * 2**20  # bytes of an answer that fits no buffer of the system
SMALL = 60_000  # bytes that the server's own buffer takes whole
HEAD = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


async def app(scope, receive, send):
    """Answers /large and /small with many bytes, /stream with many chunks, POST /echo with what it received."""
    if scope["type"] != "http":
        return
    body = b""
    if scope["path"] == "/echo":
        more = True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/stream":
        for _ in range(LARGE // 2**16):
            await send({"type": "http.response.body", "body": bytes(2**16), "more_body": True})
    body = bytes({"/large": LARGE, "/small": SMALL}.get(scope["path"], 0)) or body
    await send({"type": "http.response.body", "body": body or b"ok"})


@contextlib.contextmanager
def server_of(monkeypatch, seconds):
    """A server that waits for its clients so long: (its address, the number of its connections)."""
    monkeypatch.setattr(connection, "HEAD_TIMEOUT", seconds)
    monkeypatch.setattr(connection, "REST_TIMEOUT", seconds)
    monkeypatch.setattr(connection, "SEND_TIMEOUT", seconds)
    monkeypatch.setattr(connection, "MIN_BYTES_PER_SECOND", 2**30)
    monkeypatch.setattr(middleware, "BODY_CHUNK_TIMEOUT", seconds)
    limits = Limits(timeout=3 * seconds)
    bound = bind_socket("127.0.0.1", 0)
    bound.listen()
    secured = SecurityMiddleware(
        ExceptionMiddleware(app), keys=APIKeys({}), limits=limits, metrics=Metrics(), is_local=True
    )
    server = GracefulServer(secured, AdmissionController([], limits, Metrics()))
    server.config.timeout_keep_alive = 2 * seconds
    thread = threading.Thread(target=lambda: server.run(sockets=[bound]), daemon=True)
    thread.start()
    yield bound.getsockname(), lambda: len(server.server_state.connections)
    server.should_exit = True
    thread.join(60)


@pytest.fixture
def running(monkeypatch):
    """A server that waits for a short time only."""
    with server_of(monkeypatch, 0.6) as found:
        yield found


@pytest.fixture
def patient(monkeypatch):
    """A server that waits as long as a loaded machine may need for what is sent and read at once."""
    with server_of(monkeypatch, 20) as found:
        yield found


def drip(client, piece, seconds=60):
    """Send a byte now and then until the server closes the connection; what the server sent."""
    started, found = time.monotonic(), b""
    client.settimeout(0.1)
    while time.monotonic() - started < seconds:
        try:
            client.sendall(piece)
            received = client.recv(2**16)
            found += received
            if not received:
                return found
        except TimeoutError:
            continue
        except OSError:
            return found
    raise AssertionError(f"the connection is open after {seconds} s")


def read_answer(client):
    client.settimeout(60)
    found = b""
    while not found.endswith(b"ok\r\n0\r\n\r\n"):
        received = client.recv(2**16)
        assert received, found
        found += received


@pytest.mark.parametrize("begin", [b"", b"G", b"GET /health HTTP/1.1\r\nHost: x"])
@pytest.mark.parametrize("earlier", [0, 1, 3])
def test_the_head_of_every_request_of_a_connection_is_timed(running, begin, earlier):
    address, _ = running
    with socket.create_connection(address) as client:
        for _ in range(earlier):
            client.sendall(HEAD)
            read_answer(client)
        client.sendall(begin)
        if begin:
            drip(client, b"x")
        else:  # an idle one is kept for the time of keep-alive, a new one for that of its head
            client.settimeout(60)
            assert client.recv(1) == b""


def test_a_head_that_was_begun_behind_another_request_is_timed(running):
    address, _ = running
    with socket.create_connection(address) as client:
        client.sendall(HEAD + HEAD[:-2])
        assert drip(client, b"x").count(b"200 OK") == 1


@pytest.mark.parametrize(
    ("path", "framing"),
    [
        ("/health", b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"),  # answered before its body has ended
        ("/health", b"Content-Length: 1000000\r\n\r\nx"),
        ("/echo", b"Content-Length: 1000000\r\n\r\nx"),
        ("/echo", b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"),
    ],
)
def test_a_body_that_comes_byte_by_byte_is_not_waited_for(running, path, framing):
    address, count = running
    with socket.create_connection(address) as client:
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode() + framing)
        found = drip(client, b"1\r\nx\r\n" if b"chunked" in framing else b"x")
        assert found.startswith(b"HTTP/1.1 408" if path == "/echo" else b"HTTP/1.1 200")
        wait_until(lambda: not count())


@pytest.mark.parametrize("path", ["/large", "/stream"])
@pytest.mark.parametrize("then", ["waits", "half-closes", "pipelines"])
def test_a_client_that_never_reads_is_not_waited_for(running, path, then):
    address, count = running
    with socket.create_connection(address) as client:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        client.settimeout(60)
        with contextlib.suppress(OSError):
            client.sendall(request * (200 if then == "pipelines" else 1))
            client.recv(1, socket.MSG_PEEK)  # the answer has begun, and stays unread
            if then == "half-closes":
                time.sleep(0.1)
                client.shutdown(socket.SHUT_WR)
        wait_until(lambda: not count())


def test_small_answers_that_nobody_reads_are_not_kept(running):
    address, count = running
    with socket.create_connection(address) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.settimeout(0.5)
        wait_until(lambda: count() == 1)
        with contextlib.suppress(OSError):
            for _ in range(1000):
                client.sendall(HEAD.replace(b"/health", b"/small"))
        wait_until(lambda: not count())


def test_clients_that_send_and_read_in_time_are_answered(patient):
    address, _ = patient
    url = f"http://127.0.0.1:{address[1]}"
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        for _ in range(3):
            assert client.get("/health").text == "ok"
            assert client.post("/echo", content=b"x" * 300_000).content == b"x" * 300_000
            assert len(client.get("/large").content) == LARGE
            assert len(client.get("/stream").content) > LARGE
            time.sleep(0.3)
    with socket.create_connection(address) as slow:  # a pause is no end
        for piece in (HEAD[:10], HEAD[10:30], HEAD[30:]):
            time.sleep(0.1)
            slow.sendall(piece)
        read_answer(slow)
