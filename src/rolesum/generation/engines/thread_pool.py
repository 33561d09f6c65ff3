"""Runs requests to a server concurrently, and hands their results to the caller's own thread as they come."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

Result = TypeVar("Result")
# Called with the number of a prompt, the number of a branch, and all of the branch's text so far.
OnUpdate = Callable[[int, int, str], None]


def run_concurrently(
    jobs: Sequence[Callable[[OnUpdate], Result]], workers: int, on_update: OnUpdate | None = None
) -> Iterator[Result]:
    """Yield the results of the jobs in the order in which they end.

    Each job is given a function to call with texts that grow; `on_update` is then called in the caller's thread. The
    first failure is raised, and jobs that have not begun are dropped.
    """
    events: SimpleQueue[tuple[int, int, str] | tuple[Result] | BaseException] = SimpleQueue()

    def update(index: int, branch: int, text: str) -> None:
        events.put((index, branch, text))

    def work(job: Callable[[OnUpdate], Result]) -> None:
        try:
            events.put((job(update),))
        except BaseException as error:
            events.put(error)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="rolesum")
    try:
        for job in jobs:
            pool.submit(work, job)
        running = len(jobs)
        while running:
            event = events.get()
            if isinstance(event, BaseException):
                raise event
            if len(event) == 1:
                running -= 1
                yield event[0]
            elif on_update:
                on_update(*event)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
