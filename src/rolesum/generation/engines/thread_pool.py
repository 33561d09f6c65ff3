"""Several questions on their way at once, and their answers in the caller's own thread as they come."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

from rolesum.generation.engine import OnText

Result = TypeVar("Result")


def run_concurrently(
    jobs: Sequence[Callable[[OnText], Result]], workers: int, on_text: OnText | None = None
) -> Iterator[Result]:
    """The results in the order in which they come. A job tells what it adds to texts to the function that it is given.

    The first failure is raised, and jobs that have not begun are dropped.
    """
    events: SimpleQueue[tuple[int, int, str] | tuple[Result] | BaseException] = SimpleQueue()

    def tell(index: int, branch: int, added: str) -> None:
        events.put((index, branch, added))

    def work(job: Callable[[OnText], Result]) -> None:
        try:
            events.put((job(tell),))
        except BaseException as error:
            events.put(error)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="rolesum")
    try:
        for job in jobs:
            pool.submit(work, job)
        left = len(jobs)
        while left:
            event = events.get()
            if isinstance(event, BaseException):
                raise event
            if len(event) == 1:
                left -= 1
                yield event[0]
            elif on_text:
                on_text(*event)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
