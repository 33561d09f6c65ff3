"""The service as a process: its socket, its signals, and how it ends."""

import logging
import signal
import socket
import traceback
from typing import Any

import uvicorn

from rolesum.progress import say
from rolesum.service.house import House

# Of the sockets that wait to be accepted.
BACKLOG = 512


class Server(uvicorn.Server):
    """uvicorn, which tells the house when it is to end: what runs has its time, and what comes is sent away."""

    def __init__(self, app: Any, house: House) -> None:
        self._house = house
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=int(house.limits.grace) + 1,
                h11_max_incomplete_event_size=64 * 1024,
            )
        )

    def handle_exit(self, sig: int, frame: Any) -> None:
        if not self._house.closing:
            self._house.closing = True
            say(f"ending: {self._house.inside} requests have {self._house.limits.grace:g} s; again to end at once")
        super().handle_exit(sig, frame)


def serve(app: Any, house: House, bound: socket.socket) -> None:
    """Serve on a bound socket until SIGTERM or Ctrl-C."""
    bound.listen(BACKLOG)
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises them again once it has ended: no more is to be done
        signal.signal(number, lambda *_: None)
    try:
        Server(app, house).run(sockets=[bound])
    finally:
        bound.close()
        for one in house.served.values():
            one.shared.close()


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
    for name in ("rolesum.service", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO if name.startswith("rolesum") else logging.WARNING)
