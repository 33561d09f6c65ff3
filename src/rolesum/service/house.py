"""Who is in the house: so many requests at once and no more, each in a thread of its own, each ended when its time is.

The engine batches what the threads ask of it together; see generation.shared.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import anyio
import anyio.to_thread
from fastapi import Request

from rolesum.errors import did_you_mean
from rolesum.generation.shared import Seat
from rolesum.service.limits import Limits
from rolesum.service.metrics import Metrics
from rolesum.service.problems import Refusal
from rolesum.service.served import Served

Result = TypeVar("Result")

RETRY_CLOSING = "5"
# How much the newest request's seconds weigh in what a refused client is told to wait.
NEWEST = 0.1


class House:
    """The served models and the requests that are being answered."""

    def __init__(self, served: Sequence[Served], limits: Limits, metrics: Metrics) -> None:
        self.served = {one.name: one for one in served}
        self.limits, self.metrics = limits, metrics
        self.closing = False
        self.inside = 0
        self._seconds = 1.0  # that a request takes
        self._threads: anyio.CapacityLimiter | None = None

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
    def place(self) -> Iterator[None]:
        """Inside, a request has its place. Raises Refusal where there is none, or the service is ending."""
        if self.closing:
            raise Refusal(503, "the service is ending", fix="ask again", headers={"Retry-After": RETRY_CLOSING})
        if self.inside >= self.limits.waiting:
            seconds = max(1, math.ceil(self._seconds))
            what = f"{self.inside} requests are being answered or wait"
            raise Refusal(429, what, fix=f"ask again in {seconds} s", headers={"Retry-After": str(seconds)})
        self.inside += 1
        begun = time.monotonic()
        try:
            yield
        finally:
            self.inside -= 1
            self._seconds += NEWEST * (time.monotonic() - begun - self._seconds)

    async def answer(self, request: Request, served: Served, work: Callable[[Seat], Result]) -> Result:
        """What `work` comes to, in a thread. Raises Refusal after the time limit, Withdrawn if the client went away."""
        seat = served.shared.seat()
        watching = asyncio.create_task(_watch(request, seat))
        try:
            return await self.in_time(seat, work)
        finally:
            watching.cancel()

    async def in_time(self, seat: Seat, work: Callable[[Seat], Result]) -> Result:
        """As `answer`, for a caller that watches the client itself."""
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(self.limits.waiting)
        try:
            with anyio.fail_after(self.limits.seconds):
                return await anyio.to_thread.run_sync(work, seat, abandon_on_cancel=True, limiter=self._threads)
        except TimeoutError:
            what = f"not done after {self.limits.seconds:g} s"
            fix = "ask for shorter summaries or fewer roles, or send it to /v1/batches"
            raise Refusal(504, what, fix=fix) from None
        finally:
            seat.leave()


async def _watch(request: Request, seat: Seat) -> None:
    """Leave the seat when the client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    seat.leave()
