"""Parses requests in processes, so that no body can keep the server's own process from answering others.

Python's readers of JSON and CSV hold the interpreter lock while they run, and a thread cannot be ended from outside. A
process can: the system ends it when its time is over, and its memory is free. Each request has a process of its own,
forked in a few milliseconds by `rolesum.server.parser_process`.
"""

import asyncio
import logging
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from anyio import CapacityLimiter

from rolesum.server.limits import Limits
from rolesum.server.problems import HTTPProblem

log = logging.getLogger("rolesum.server")

Result = TypeVar("Result")

MAX_PARSERS = 2  # parsing is bound by the processor
_RETRY_AFTER = {"Retry-After": "5"}  # seconds
_MARGIN = 5.0  # seconds for a process to start and to end
_STREAM_BYTES = 2**20  # that are read at once
_FIX = "send less in one request, or use rolesum summarize or rolesum batch"


class ParserPool:
    """Parses at most MAX_PARSERS requests and one file of many dialogues at a time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._limiters: dict[str, CapacityLimiter] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> None:
        """Start the process that forks the others: it needs half a second, which the first request need not wait."""
        if not hasattr(os, "fork"):
            return
        self.close()
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        # the server's own search path, without the working directory that python -m would put before it
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONSAFEPATH": "1"}
        command = [sys.executable, "-m", "rolesum.server.parser_process", str(theirs.fileno())]
        with theirs:  # in a session of its own, so that Ctrl-C is left to the server
            self._process = subprocess.Popen(
                command, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
            )

    def close(self) -> None:
        """End all processes."""
        if self._control:
            self._control.close()
        if self._process:
            try:
                self._process.wait(_MARGIN)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._control = self._process = None

    async def parse(self, work: Callable[..., Result], *args: Any) -> Result:
        """Run `work`, a function of a module, in a process. Raises what it raises, and HTTPProblem 413 and 503."""
        async with self._place("requests", MAX_PARSERS):
            return await self._run(work, args)

    async def parse_batch(self, work: Callable[..., Result], *args: Any) -> Result:
        """As `parse`, for a file of many dialogues: one file at a time."""
        async with self._place("batches", 1):
            return await self._run(work, args)

    @asynccontextmanager
    async def _place(self, name: str, places: int) -> AsyncIterator[None]:
        if name not in self._limiters:  # made on first use, since it belongs to the running event loop
            self._limiters[name] = CapacityLimiter(places)
        limiter, borrower = self._limiters[name], object()
        try:
            with anyio.fail_after(self._limits.timeout):
                await limiter.acquire_on_behalf_of(borrower)
        except TimeoutError:
            what = "other requests are being parsed"
            raise HTTPProblem(503, what, fix="send the request again", headers=_RETRY_AFTER) from None
        try:
            yield
        finally:
            limiter.release_on_behalf_of(borrower)

    async def _run(self, work: Callable[..., Result], args: tuple[Any, ...]) -> Result:
        seconds, max_bytes = min(self._limits.parse_timeout, self._limits.timeout), self._limits.max_parser_bytes
        if not hasattr(os, "fork"):  # Windows: the sizes are limited, and the time that a client waits
            return await self._run_in_thread(work, args, seconds)
        started = time.monotonic()
        answer = b""
        with anyio.move_on_after(seconds + _MARGIN):
            answer = await self._ask(pickle.dumps((work, args, seconds, max_bytes)))
        if not answer:
            is_late = time.monotonic() - started >= seconds
            raise _over(f"{seconds:g} s" if is_late else f"{max_bytes:,} bytes of memory", args)
        kind, found = pickle.loads(answer)
        if kind == "error":
            raise found
        if kind == "failed":
            log.error("a parser failed: %s", found)
            raise HTTPProblem(500, "the server failed", fix="send the request again; the server's log says more")
        return found  # type: ignore[no-any-return]  # what work returned

    async def _ask(self, request: bytes) -> bytes:
        """Send a request to a new process and return its answer, which is empty if the process was ended."""
        reader, writer = await asyncio.open_unix_connection(sock=self._connect(), limit=_STREAM_BYTES)
        try:
            with suppress(ConnectionError):  # the process has ended
                writer.write(request)
                await writer.drain()
                return await reader.read()
            return b""
        finally:
            writer.close()

    def _connect(self) -> socket.socket:
        """Return a connection to a new process. Raises HTTPProblem 503."""
        for _ in range(2):
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    if self._control is None:
                        self.start()
                    assert self._control
                    socket.send_fds(self._control, [b"+"], [theirs.fileno()])
                    return ours
                except OSError as error:  # the process that forks the others was killed: start it again
                    ours.close()
                    log.error("the parsers' process has ended: %s", error)
                    self._control = None
        what = "no process for parsing can be started"
        raise HTTPProblem(503, what, fix="the server's log says more", headers=_RETRY_AFTER)

    async def _run_in_thread(self, work: Callable[..., Result], args: tuple[Any, ...], seconds: float) -> Result:
        try:
            with anyio.fail_after(seconds):
                return await anyio.to_thread.run_sync(work, *args, abandon_on_cancel=True)
        except TimeoutError:
            raise _over(f"{seconds:g} s", args) from None


def _over(limit: str, args: tuple[Any, ...]) -> HTTPProblem:
    uploads = (getattr(one, "upload", None) for one in args)
    where = next((upload.name for upload in uploads if upload), "body")
    return HTTPProblem(413, f"parsing the request took more than {limit}", where=where, fix=_FIX)
