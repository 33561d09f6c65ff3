"""The requests that run: at the end of the time to shut down, each is told so at once."""

import asyncio
import threading
import time

import pytest

from rolesum.generation.async_engine import RequestCanceled
from rolesum.server.admission import AdmissionController
from rolesum.server.limits import Limits
from rolesum.server.metrics import Metrics


class Client:
    """Of a request's engine, what the controller uses."""

    canceled = False

    def cancel(self):
        self.canceled = True


def test_a_request_is_canceled_at_once_though_its_thread_is_in_the_middle_of_something():
    controller, client, begun, go_on = (
        AdmissionController([], Limits(), Metrics()),
        Client(),
        threading.Event(),
        threading.Event(),
    )

    def work(_):
        begun.set()
        go_on.wait(60)

    async def run():
        running = asyncio.create_task(controller.run(client, work))
        await asyncio.to_thread(begun.wait, 60)
        started = time.monotonic()
        controller.cancel_all()
        with pytest.raises(RequestCanceled):
            await running
        waited = time.monotonic() - started
        go_on.set()
        return waited

    assert asyncio.run(run()) < 20  # the thread waits for a minute
    assert client.canceled


def test_work_that_ends_in_time_gives_its_result_and_one_that_fails_its_error():
    controller = AdmissionController([], Limits(), Metrics())

    def fail(_):
        raise ValueError("no")

    async def run():
        assert await controller.run(Client(), lambda _: 5) == 5
        with pytest.raises(ValueError, match="no"):
            await controller.run(Client(), fail)

    asyncio.run(run())


def test_a_request_that_is_parsed_only_when_all_are_canceled_is_canceled_too():
    controller = AdmissionController([], Limits(), Metrics())
    controller.cancel_all()
    with pytest.raises(RequestCanceled):
        asyncio.run(controller.run(Client(), lambda _: 5))
