"""Admission control: at most N concurrent requests, each in a thread of its own and with a timeout.

The engine batches what these threads ask for; see `rolesum.generation.async_engine`.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TypeVar

import anyio
import anyio.to_thread
from fastapi import Request

from rolesum.counts import counted
from rolesum.generation.async_engine import EngineClient, RequestCanceled
from rolesum.server.limits import Limits
from rolesum.server.metrics import Metrics
from rolesum.server.parsed_requests import ParsingContext, find_model
from rolesum.server.parser_pool import ParserPool
from rolesum.server.problems import HTTPProblem
from rolesum.server.served_model import ServedModel
from rolesum.server.sessions import SessionStore

Result = TypeVar("Result")

RETRY_AFTER = "5"  # seconds, the Retry-After header of 503: at shutdown, and while batches cannot be saved
DURATION_SMOOTHING = 0.1  # weight of the newest request in the mean duration, from which Retry-After is estimated
MAX_SHARE_PER_KEY = 0.75  # of the concurrent requests, so that one API key leaves room for others
PROBE_TIMEOUT = 2.5  # seconds for a check of readiness
MAX_PREPARING_THREADS = 4  # that check or save parsed requests


class AdmissionController:
    """The served models, and which requests may use them now."""

    def __init__(
        self,
        models: Sequence[ServedModel],
        limits: Limits,
        metrics: Metrics,
        parsers: ParserPool | None = None,
    ) -> None:
        """`parsers` are those that have been started, if any."""
        self.models = {model.name: model for model in models}
        self.limits, self.metrics = limits, metrics
        self.parsers = parsers or ParserPool(limits)
        self.sessions = SessionStore(limits)
        self.is_shutting_down = self._is_over = False
        self.active_requests = 0
        self._mean_seconds = 1.0  # of a request
        self._active_by_owner: Counter[str] = Counter()
        self._running: dict[EngineClient, anyio.CancelScope] = {}  # what waits for the work of each client
        self._thread_limiters: dict[str, anyio.CapacityLimiter] = {}

    def model(self, name: str | None) -> ServedModel:
        """Return the model with this name, or the first one for None. Raises HTTPProblem 404."""
        return self.models[find_model(self.models, name)]

    @cached_property
    def parsing_context(self) -> ParsingContext:
        """What the parser processes need to know of the models."""
        models = self.models.items()
        aliases = {name: model.aliases(None) for name, model in models}
        return ParsingContext(self.limits, aliases, {name: model.trained_roles for name, model in models})

    @property
    def is_ready(self) -> bool:
        """Whether requests are accepted and the engines' threads run."""
        return not self.is_shutting_down and all(model.engine.alive for model in self.models.values())

    @contextmanager
    def acquire(self, owner: str) -> Iterator[None]:
        """Count a request of an API key's `owner` as active inside the block.

        Raises HTTPProblem 429 when too many requests are active, of all clients or of this key, and 503 at shutdown.
        """
        if self.is_shutting_down:
            headers = {"Retry-After": RETRY_AFTER}
            raise HTTPProblem(503, "the server is shutting down", fix="send the request again", headers=headers)
        limit = self.limits.max_concurrent_requests
        is_full = self.active_requests >= limit
        if is_full or (owner and self._active_by_owner[owner] >= math.ceil(limit * MAX_SHARE_PER_KEY)):
            seconds = max(1, math.ceil(self._mean_seconds))
            active = self.active_requests if is_full else self._active_by_owner[owner]
            what = f"running or queued: {counted(active, 'request')}{'' if is_full else ' of this key'}"
            fix = f"send the request again in {seconds} s"
            raise HTTPProblem(429, what, fix=fix, headers={"Retry-After": str(seconds)})
        self.active_requests += 1
        self._active_by_owner[owner] += 1
        started = time.monotonic()
        try:
            yield
        finally:
            self.active_requests -= 1
            self._active_by_owner[owner] -= 1
            if not self._active_by_owner[owner]:
                del self._active_by_owner[owner]
            self._mean_seconds += DURATION_SMOOTHING * (time.monotonic() - started - self._mean_seconds)

    async def prepare(self, work: Callable[[], Result]) -> Result:
        """Run what checks or saves a parsed request in a thread. Raises HTTPProblem 504 after the timeout."""
        try:
            with anyio.fail_after(self.limits.timeout):
                limiter = self._thread_limiter("preparing", MAX_PREPARING_THREADS)
                return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)
        except TimeoutError:
            what = f"the request was not checked within {self.limits.timeout:g} s"
            raise HTTPProblem(504, what, fix="send less in one request, or send it again later") from None

    async def probe(self, check: Callable[[], None]) -> None:
        """Run a check of readiness in a thread of its own. Raises what it raises, and HTTPProblem 503 if it is slow."""
        try:
            with anyio.fail_after(PROBE_TIMEOUT):
                await anyio.to_thread.run_sync(check, abandon_on_cancel=True, limiter=self._thread_limiter("probes", 1))
        except TimeoutError:
            what = f"the batches could not be checked within {PROBE_TIMEOUT:g} s"
            headers = {"Retry-After": RETRY_AFTER}
            raise HTTPProblem(503, what, fix="check the disk of --store", headers=headers) from None

    async def run_until_disconnect(
        self, request: Request, model: ServedModel, work: Callable[[EngineClient], Result]
    ) -> Result:
        """As `run`; raises RequestCanceled when the HTTP client disconnects."""
        client = model.engine.client()
        watching = asyncio.create_task(_cancel_on_disconnect(request, client))
        try:
            return await self.run(client, work)
        finally:
            watching.cancel()

    async def run(self, client: EngineClient, work: Callable[[EngineClient], Result]) -> Result:
        """Run `work` in a thread, then cancel what `client` still asks of the engine.

        Raises HTTPProblem 504 after the timeout, RequestCanceled after `cancel_all`: at once, whatever the thread does.
        """
        if self._is_over:
            raise RequestCanceled
        limiter = self._thread_limiter("workers", self.limits.max_concurrent_requests)
        try:
            with anyio.fail_after(self.limits.timeout) as waiting:
                self._running[client] = waiting
                return await anyio.to_thread.run_sync(work, client, abandon_on_cancel=True, limiter=limiter)
        except TimeoutError:
            what = f"the summaries were not done within {self.limits.timeout:g} s"
            fix = "ask for shorter summaries or fewer roles, or send the dialogue to /v1/batches"
            raise HTTPProblem(504, what, fix=fix) from None
        finally:
            self._running.pop(client, None)
            client.cancel()
        raise RequestCanceled  # the waiting was canceled

    def _thread_limiter(self, pool: str, num_threads: int) -> anyio.CapacityLimiter:
        if pool not in self._thread_limiters:  # made on first use, since it belongs to the running event loop
            self._thread_limiters[pool] = anyio.CapacityLimiter(num_threads)
        return self._thread_limiters[pool]

    def cancel_all(self) -> None:
        """Cancel the running requests, and those that are still parsed: their time to finish at shutdown is over."""
        self._is_over = True
        for client, waiting in list(self._running.items()):
            client.cancel()
            waiting.cancel()


async def _cancel_on_disconnect(request: Request, client: EngineClient) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    client.cancel()
