"""Server-sent events: sends summaries to the client while they are generated."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any, TypeVar

import anyio
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from rolesum import strict_json
from rolesum.errors import RolesumError
from rolesum.generation.async_engine import RequestCanceled
from rolesum.server.admission import AdmissionController
from rolesum.server.problems import HTTPProblem, document_of_error, document_of_http_problem
from rolesum.server.served_model import ServedModel

log = logging.getLogger("rolesum.server")

Result = TypeVar("Result")
Event = tuple[str | None, Any]  # its name, and its data: JSON, or a string that is sent unchanged

KEEP_ALIVE_SECONDS = 10.0  # of silence before a comment, so that proxies keep the connection open
DELIVERY_SECONDS = 10.0  # beyond the timeout, for a client that reads slowly
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class EventStream(StreamingResponse):
    """A streamed response that stays admitted until its last byte is sent, the client is gone or the time is up."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], admission: ExitStack, seconds: float) -> None:
        """`admission` is closed at the end of the response."""
        super().__init__(events, headers=_HEADERS, media_type=self.media_type)
        self._admission, self._seconds = admission, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._admission, anyio.move_on_after(self._seconds):
            await super().__call__(scope, receive, send)


def stream_events(
    controller: AdmissionController,
    model: ServedModel,
    work: Callable[..., Result],
    admission: ExitStack,
    *,
    text_event: Callable[[int, str], Event],
    final_events: Callable[[Result], list[Event]],
    error_events: Callable[[dict[str, Any]], list[Event]],
    path: str,
    part_event: Callable[[int, int], Event] | None = None,
    first_events: Sequence[Event] = (),
) -> EventStream:
    """Run `work` and send events: one per addition to a text, then those of its result or of its problem document.

    `work` is called with the client and an OnText; with a `part_event`, which takes the numbers of parts that were read
    and of all, also with an OnPart as `on_part`. `text_event` takes the index of the role and the added text.
    `admission` holds the request's place in the controller; the response releases it. `path` is that of the request.
    `first_events` are sent before any text.
    """
    events = _events(controller, model, work, text_event, final_events, error_events, path, part_event, first_events)
    return EventStream(events, admission, controller.limits.timeout + DELIVERY_SECONDS)


async def _events(
    controller: AdmissionController,
    model: ServedModel,
    work: Callable[..., Result],
    text_event: Callable[[int, str], Event],
    final_events: Callable[[Result], list[Event]],
    error_events: Callable[[dict[str, Any]], list[Event]],
    path: str,
    part_event: Callable[[int, int], Event] | None,
    first_events: Sequence[Event],
) -> AsyncIterator[bytes]:
    started, is_first = time.monotonic(), True
    client = model.engine.client()
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[list[Event] | None] = asyncio.Queue()

    def send(event: Event) -> None:
        """Called by the engine's thread, which must not wait."""
        with suppress(RuntimeError):  # the event loop has ended
            loop.call_soon_threadsafe(queue.put_nowait, [event])

    def on_text(_: int, role: int, added: str) -> None:
        send(text_event(role, added))

    told = {"on_part": lambda part, parts: send(part_event(part, parts))} if part_event else {}

    async def run() -> None:
        try:
            events = final_events(await controller.run(client, lambda client: work(client, on_text, **told)))
        except HTTPProblem as error:
            events = error_events(document_of_http_problem(error, path))
        except RolesumError as error:
            events = error_events(document_of_error(error, path))
        except RequestCanceled:
            problem = HTTPProblem(503, "the server is shutting down", fix="send the request again")
            events = error_events(document_of_http_problem(problem, path))
        except Exception:
            log.exception("a stream failed")
            problem = HTTPProblem(500, "the server failed", fix="send the request again; the server's log says more")
            events = error_events(document_of_http_problem(problem, path))
        queue.put_nowait(events)
        queue.put_nowait(None)

    task = asyncio.create_task(run())
    try:
        for name, data in first_events:
            yield _format(name, data)
        while True:
            try:
                events = await asyncio.wait_for(queue.get(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield format_sse_event(comment="keep-alive")
                continue
            if events is None:
                return
            if is_first:
                is_first = False
                controller.metrics.first_text_seconds.observe(time.monotonic() - started)
            for name, data in events:
                yield _format(name, data)
    finally:
        if not task.done():
            controller.metrics.canceled_requests.inc()
        client.cancel()
        task.cancel()


def _format(name: str | None, data: Any) -> bytes:
    text = data if isinstance(data, str) else strict_json.dumps(data, ensure_ascii=False)
    return format_sse_event(data_str=text, event=name)
