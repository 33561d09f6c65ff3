"""The service as a process: its socket, its signals, and how it ends."""

import asyncio
import logging
import signal
import socket
import traceback
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from rolesum.console import log
from rolesum.server.admission import AdmissionController

# Of the sockets that wait to be accepted.
BACKLOG = 512
# Seconds for the head of a connection's first request.
HEAD = 15.0
# Seconds after the grace in which what was sent away is told so.
LAST = 3


class _Protocol(H11Protocol):
    """Closes a connection that has not sent the whole head of its first request in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head = self.loop.call_later(HEAD, self._check_head)

    def _check_head(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.cancel()
        super().connection_lost(exc)


class Server(uvicorn.Server):
    """uvicorn, which tells the house when it is to end: what runs has its time, and what comes is sent away."""

    def __init__(self, app: Any, house: AdmissionController) -> None:
        self._house = house
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=int(house.limits.grace) + LAST,
                http=_Protocol,
                h11_max_incomplete_event_size=64 * 1024,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: Any) -> None:
        house, loop = self._house, self._loop
        if not house.closing:
            house.closing = True
            loop.call_soon_threadsafe(lambda: loop.call_later(house.limits.grace, house.send_away))
            log(f"ending: {self._house.inside} requests have {self._house.limits.grace:g} s; again to end at once")
        super().handle_exit(sig, frame)


def serve(app: Any, house: AdmissionController, bound: socket.socket) -> None:
    """Serve on a bound socket until SIGTERM or Ctrl-C."""
    bound.listen(BACKLOG)
    _open_many_files()
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises them again once it has ended: no more is to be done
        signal.signal(number, lambda *_: None)
    try:
        Server(app, house).run(sockets=[bound])
    finally:
        bound.close()
        for one in house.served.values():
            one.shared.close()


def _open_many_files() -> None:
    """Each connection is one: take as many as this process may have."""
    try:
        import resource  # not on Windows
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _Formatter(logging.Formatter):
    """A failure as where it happened and of what kind: its message may hold what a client sent."""

    def formatException(self, ei: Any) -> str:
        kind, _, trace = ei
        frames = traceback.extract_tb(trace)
        where = "\n".join(f"  {one.filename}:{one.lineno} in {one.name}" for one in frames)
        return f"{getattr(kind, '__name__', kind)} at\n{where}"


def write_log(path: str | None) -> None:
    """Send the service's lines to a file, or to standard error. They hold no text of a dialogue."""
    handler = logging.FileHandler(path, encoding="utf-8") if path else logging.StreamHandler()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("rolesum.server", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO if name.startswith("rolesum") else logging.WARNING)
