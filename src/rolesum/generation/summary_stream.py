"""The stream of one dialogue's summaries: their text as it is generated, for `for` and `async for`."""

import asyncio
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue

from rolesum.dialogue import RoleSummary
from rolesum.generation.async_engine import RequestCanceled
from rolesum.generation.engine import OnText

_Item = tuple[int, str] | list[RoleSummary] | BaseException  # place of the role and its text; the end; an error
_Queue = SimpleQueue[_Item]


class SummaryStream(Iterator[tuple[str, str]]):
    """Iterates over (role, text): what is added to the text of a role. The roles' texts grow side by side.

    All that is added to a role's text is its summary. `close` ends the generation early, and so does the end of the
    stream's own life.

    Attributes:
        roles: The roles, in the order of the summaries.
        summaries: The summaries, one for each role; empty before the end of the stream.
    """

    def __init__(
        self,
        roles: Sequence[str],
        summarize: Callable[[OnText], list[RoleSummary]],
        cancel: Callable[[], None],
    ) -> None:
        """Starts to `summarize` in a thread of its own; `cancel` ends that from another thread."""
        self.roles = tuple(roles)
        self.summaries: list[RoleSummary] = []
        self._queue: _Queue = SimpleQueue()
        self._texts = [""] * len(self.roles)
        self._rest: list[tuple[str, str]] | None = None  # after the last piece: what was not told before
        self._cancel = weakref.finalize(self, cancel)
        threading.Thread(target=_fill, args=(self._queue, summarize), name="rolesum-stream", daemon=True).start()

    def close(self) -> None:
        """End the generation; nothing more is told."""
        self._cancel()
        self._rest = []

    def __next__(self) -> tuple[str, str]:
        found = self._next()
        if found is None:
            raise StopIteration
        return found

    def __aiter__(self) -> "SummaryStream":
        return self

    async def __anext__(self) -> tuple[str, str]:
        try:
            found = await asyncio.to_thread(self._next)
        except asyncio.CancelledError:
            self.close()
            raise
        if found is None:
            raise StopAsyncIteration
        return found

    def _next(self) -> tuple[str, str] | None:
        """The next piece; None at the end. Raises what the engine raises."""
        if self._rest is None:
            item = self._queue.get()
            if isinstance(item, tuple):
                place, added = item
                self._texts[place] += added
                return self.roles[place], added
            self._cancel.detach()
            self._rest = []
            if isinstance(item, RequestCanceled):
                return None
            if isinstance(item, BaseException):
                raise item
            self.summaries = item
            self._rest = [
                (one.role, rest) for one, told in zip(item, self._texts, strict=True) if (rest := _rest(one.text, told))
            ]
        return self._rest.pop(0) if self._rest else None


def _fill(queue: _Queue, summarize: Callable[[OnText], list[RoleSummary]]) -> None:
    try:
        queue.put(summarize(lambda _, place, added: queue.put((place, added))))
    except BaseException as error:
        queue.put(error)


def _rest(text: str, told: str) -> str:
    """What the final text has beyond what was told of it; all of it on a new line where it is another text."""
    return text[len(told) :] if text.startswith(told) else f"\n{text}"
