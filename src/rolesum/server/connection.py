"""HTTP/1.1 connections that wait for their clients for a limited time only."""

import asyncio
from typing import Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT = (
    15.0  # seconds for the head of a request; on a new connection from its beginning, else from its first byte
)
REST_TIMEOUT = 15.0  # seconds for the rest of a body whose request was answered before
SEND_TIMEOUT = 30.0  # seconds in which a client must read what waits for it, plus that of MIN_BYTES_PER_SECOND
MIN_BYTES_PER_SECOND = 16 * 1024
KEEP_ALIVE_TIMEOUT = 30  # seconds that an idle connection stays open
MAX_HEAD_BYTES = 64 * 1024

# What a connection waits for: the head of a request, the rest of an answered body, a client that reads. The time of
# other waits is limited elsewhere: idle connections by uvicorn, bodies by the middleware, work by the admission.
Awaited = Literal["", "head", "rest", "reader"]


class TimedProtocol(H11Protocol):
    """Closes a connection whose client does not send or read in time, byte by byte or not at all."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        self._awaited: Awaited = ""
        self._timer: asyncio.TimerHandle | None = None
        self._has_unread = False  # as much as the transport buffers
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def eof_received(self) -> None:
        super().eof_received()
        self.loop.call_soon(self._watch)  # the transport is closed after this method

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._has_unread = True
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._has_unread = False
        self._watch()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_timer()

    def _watch(self) -> None:
        """Start a timer when the connection begins to wait; no byte that comes meanwhile starts it again."""
        awaited = self._now_awaited()
        if awaited == self._awaited:
            return
        self._stop_timer()
        self._awaited = awaited
        if awaited:
            self._timer = self.loop.call_later(self._seconds(awaited), self._end)

    def _now_awaited(self) -> Awaited:
        if self._has_unread or self.transport.is_closing():
            return "reader"
        if self.cycle is not None and not self.cycle.response_complete:
            return ""
        if self.conn.their_state is h11.SEND_BODY:
            return "rest"
        has_begun = self.cycle is None or bool(self.conn.trailing_data[0])
        return "head" if self.conn.their_state is h11.IDLE and has_begun else ""

    def _seconds(self, awaited: Awaited) -> float:
        if awaited == "reader":
            return SEND_TIMEOUT + self.transport.get_write_buffer_size() / MIN_BYTES_PER_SECOND
        return HEAD_TIMEOUT if awaited == "head" else REST_TIMEOUT

    def _end(self) -> None:
        if self._awaited == "reader":
            self.transport.abort()  # what it has not read is dropped
        else:
            self.transport.close()
            self._watch()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer, self._awaited = None, ""
