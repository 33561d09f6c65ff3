"""Who is in the house: so many requests at once and no more, each in a thread of its own, each ended when its time is.

The engine batches what the threads ask of it together; see generation.shared.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import anyio
import anyio.to_thread
from fastapi import Request

from rolesum.errors import did_you_mean
from rolesum.generation.async_engine import EngineClient
from rolesum.server.limits import Limits
from rolesum.server.metrics import Metrics
from rolesum.server.problems import Refusal
from rolesum.server.served_model import Served

Result = TypeVar("Result")

RETRY_CLOSING = "5"
# How much the newest request's seconds weigh in what a refused client is told to wait.
NEWEST = 0.1
# Of the places: how many one key may have.
OF_A_KEY = 0.75
# Requests that are read at once.
READERS = 2


class AdmissionController:
    """The served models and the requests that are being answered."""

    def __init__(self, served: Sequence[Served], limits: Limits, metrics: Metrics) -> None:
        self.served = {one.name: one for one in served}
        self.limits, self.metrics = limits, metrics
        self.closing = False
        self.inside = 0
        self._seconds = 1.0  # that a request takes
        self._inside_of: Counter[str] = Counter()  # requests of each key
        self._seats: set[EngineClient] = set()
        self._limiters: dict[str, anyio.CapacityLimiter] = {}  # of threads

    def model(self, name: str | None) -> Served:
        """The model of that name, or the first. Raises Refusal for an unknown one."""
        if name is None:
            return next(iter(self.served.values()))
        if name not in self.served:
            raise Refusal(404, f'no model "{name}"', where="model", fix=did_you_mean(name, self.served))
        return self.served[name]

    @property
    def is_ready(self) -> bool:
        return not self.closing and all(one.shared.alive for one in self.served.values())

    @contextmanager
    def acquire(self, owner: str) -> Iterator[None]:
        """Inside, a request of a key's owner has its place. Raises Refusal where there is none, or the end is near.

        One key has three quarters of the places at most, so that others find one too.
        """
        if self.closing:
            raise Refusal(503, "the service is ending", fix="ask again", headers={"Retry-After": RETRY_CLOSING})
        waiting = self.limits.waiting
        is_full = self.inside >= waiting
        if is_full or (owner and self._inside_of[owner] >= math.ceil(waiting * OF_A_KEY)):
            seconds = max(1, math.ceil(self._seconds))
            what = f"{self.inside if is_full else self._inside_of[owner]} requests are being answered or wait"
            what += "" if is_full else ", all of this key"
            raise Refusal(429, what, fix=f"ask again in {seconds} s", headers={"Retry-After": str(seconds)})
        self.inside += 1
        self._inside_of[owner] += 1
        begun = time.monotonic()
        try:
            yield
        finally:
            self.inside -= 1
            self._inside_of[owner] -= 1
            if not self._inside_of[owner]:
                del self._inside_of[owner]
            self._seconds += NEWEST * (time.monotonic() - begun - self._seconds)

    async def read(self, work: Callable[[], Result]) -> Result:
        """What comes of reading a request, in a thread: few at once, for they all take the processor.

        Raises Refusal after the time limit.
        """
        return await self._read(work, "readers", READERS)

    async def read_many(self, work: Callable[[], Result]) -> Result:
        """As `read`, for a file of many dialogues: one at a time, beside the others."""
        return await self._read(work, "bulk readers", 1)

    async def _read(self, work: Callable[[], Result], which: str, at_once: int) -> Result:
        limiter = self._limiter(which, at_once)
        try:
            with anyio.fail_after(self.limits.seconds):
                return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)
        except TimeoutError:
            raise Refusal(504, f"not read after {self.limits.seconds:g} s", fix="send less at once") from None

    async def answer(self, request: Request, served: Served, work: Callable[[EngineClient], Result]) -> Result:
        """What `work` returns, in a thread. Raises Refusal after the time limit, RequestCanceled on disconnect."""
        seat = served.shared.client()
        watching = asyncio.create_task(_watch(request, seat))
        try:
            return await self.in_time(seat, work)
        finally:
            watching.cancel()

    async def in_time(self, seat: EngineClient, work: Callable[[EngineClient], Result]) -> Result:
        """As `answer`, for a caller that watches the client itself."""
        limiter = self._limiter("writers", self.limits.waiting)
        self._seats.add(seat)
        try:
            with anyio.fail_after(self.limits.seconds):
                return await anyio.to_thread.run_sync(work, seat, abandon_on_cancel=True, limiter=limiter)
        except TimeoutError:
            what = f"not done after {self.limits.seconds:g} s"
            fix = "ask for shorter summaries or fewer roles, or send it to /v1/batches"
            raise Refusal(504, what, fix=fix) from None
        finally:
            self._seats.discard(seat)
            seat.cancel()

    def _limiter(self, which: str, at_once: int) -> anyio.CapacityLimiter:
        """Made when first asked for: it belongs to the loop that runs."""
        if which not in self._limiters:
            self._limiters[which] = anyio.CapacityLimiter(at_once)
        return self._limiters[which]

    def send_away(self) -> None:
        """End what runs: the time that it had is over."""
        for seat in list(self._seats):
            seat.cancel()


async def _watch(request: Request, seat: EngineClient) -> None:
    """Leave the seat when the client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    seat.cancel()
