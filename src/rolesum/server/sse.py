"""Summaries while they are written, as server-sent events: `text`, then `summary` per role, `done` or `error`."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress
from typing import Any

import anyio
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from rolesum.errors import RolesumError
from rolesum.generation.async_engine import EngineClient, RequestCanceled
from rolesum.generation.engine import OnText
from rolesum.server.admission import AdmissionController
from rolesum.server.problems import Refusal, of_error, of_refusal
from rolesum.server.served_model import Served

log = logging.getLogger("rolesum.server")

# Without a word for so long, a comment goes out, lest a proxy thinks that all is over.
QUIET = 10.0
# Seconds beyond the time limit for a client to take what is written.
TAKING = 10.0
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

Event = tuple[str | None, Any]  # its name, and its data: JSON, or text as it stands


class Stream(StreamingResponse):
    """A response that holds its place in the house until the last byte is out or the client is gone."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], held: ExitStack, seconds: float) -> None:
        super().__init__(events, headers=_HEADERS, media_type=self.media_type)
        self._held, self._seconds = held, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held, anyio.move_on_after(self._seconds):
            await super().__call__(scope, receive, send)


def stream(
    house: AdmissionController,
    served: Served,
    work: Callable[[EngineClient, OnText], Any],
    held: ExitStack,
    *,
    growing: Callable[[int, str], Event],
    ended: Callable[[Any], list[Event]],
    failed: Callable[[dict[str, Any]], list[Event]],
) -> Stream:
    """Run `work` and tell it as events: what each addition to a text is, what the end is, and what a failure is.

    `held` is the request's place, which it has until the last byte is out, or the client had time enough to take it.
    """
    return Stream(_events(house, served, work, growing, ended, failed), held, house.limits.seconds + TAKING)


async def _events(
    house: AdmissionController,
    served: Served,
    work: Callable[[EngineClient, OnText], Any],
    growing: Callable[[int, str], Event],
    ended: Callable[[Any], list[Event]],
    failed: Callable[[dict[str, Any]], list[Event]],
) -> AsyncIterator[bytes]:
    begun, first = time.monotonic(), True
    seat = served.shared.client()
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[list[Event] | None] = asyncio.Queue()

    def told(_: int, role: int, added: str) -> None:
        """Called by the engine's thread, which does not wait."""
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(queue.put_nowait, [growing(role, added)])

    async def run() -> None:
        try:
            events = ended(await house.in_time(seat, lambda seat: work(seat, told)))
        except Refusal as refusal:
            events = failed(of_refusal(refusal))
        except RolesumError as error:
            events = failed(of_error(error))
        except RequestCanceled:
            events = failed(of_refusal(Refusal(503, "the service is ending", fix="ask again")))
        except Exception:
            log.exception("a stream failed")
            events = failed(of_refusal(Refusal(500, "the service failed", fix="ask again; its log says more")))
        queue.put_nowait(events)
        queue.put_nowait(None)

    task = asyncio.create_task(run())
    try:
        while True:
            try:
                events = await asyncio.wait_for(queue.get(), QUIET)
            except TimeoutError:
                yield format_sse_event(comment="still at it")
                continue
            if events is None:
                return
            if first:
                first = False
                house.metrics.first_seconds.observe(time.monotonic() - begun)
            for name, data in events:
                yield _event(name, data)
    finally:
        if not task.done():
            house.metrics.withdrawn.inc()
        seat.cancel()
        task.cancel()


def _event(name: str | None, data: Any) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return format_sse_event(data_str=text, event=name)
