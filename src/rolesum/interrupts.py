"""Signals that end a program (SIGINT, SIGTERM, SIGHUP): one exception for all, and what a stopped command has kept.

The first signal raises KeyboardInterrupt where the program is, so that every `finally` runs: temporary files are
removed, child processes and Ray clusters ended. `kept` turns it into Stopped, which says how to go on.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rolesum.errors import Problem, RolesumError

# Missing ones are not of this system.
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
# A second signal sooner than this is the same one, sent twice: torchrun passes on a Ctrl-C that the terminal sent too.
TWICE_SECONDS = 2.0


class Terminated(KeyboardInterrupt):
    """Raised by a signal, whose number it holds; a KeyboardInterrupt, so that all that handles Ctrl-C handles it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")


class Stopped(RolesumError):
    """The user or the system stopped a command before its end: what is kept, and how to go on.

    `number` is the signal's, None where no signal stopped it. The exit code is the shell's for a signal, 128 + number,
    and 1 without one. `adds` are options that the command needs in addition to go on.
    """

    def __init__(
        self,
        what: str | Sequence[Problem],
        where: str = "",
        fix: str = "",
        *,
        number: int | None = None,
        adds: Sequence[str] = (),
    ) -> None:
        super().__init__(what, where, fix)
        self.number, self.adds = number, tuple(adds)
        self.exit_code = 128 + number if number is not None else 1

    def __reduce__(self) -> tuple[Any, ...]:
        return _stopped, (type(self), self.problems, self.number, self.adds)


def _stopped(kind: type[Stopped], problems: Sequence[Problem], number: int | None, adds: Sequence[str]) -> Stopped:
    return kind(problems, number=number, adds=adds)


def signal_number(interrupt: BaseException) -> int:
    """The number of the signal that raised a KeyboardInterrupt."""
    return interrupt.number if isinstance(interrupt, Terminated) else int(signal.SIGINT)


def signal_name(number: int) -> str:
    """What a signal is called: "SIGTERM"; "Ctrl-C (SIGINT)" for the one that the terminal sends."""
    name = signal.Signals(number).name
    return f"Ctrl-C ({name})" if number == signal.SIGINT else name


@contextmanager
def kept(
    what: str | Callable[[], str], where: str | Path = "", fix: str = "run the same command again", adds: str = ""
) -> Iterator[None]:
    """Raise Stopped in place of a KeyboardInterrupt.

    Args:
        what: What is kept of the work; a function is asked when the signal has come.
        where: The directory or file that holds it.
        fix: How to go on.
        adds: An option that the same command needs to go on.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        number = signal_number(interrupt)
        text = f"stopped by {signal_name(number)}: {what() if callable(what) else what}"
        raise Stopped(text, str(where), fix, number=number, adds=adds.split()) from None


@contextmanager
def ending_signals() -> Iterator[None]:
    """Inside, SIGINT, SIGTERM and SIGHUP raise Terminated in the main thread.

    A signal that is ignored, as `nohup` ignores SIGHUP, stays ignored. A forked child ends by the signal as if there
    were no handler. In any other thread this does nothing: only the main thread may set handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raise_once = _RaiseOnce(os.getpid())
    before = {number: signal.getsignal(number) for number in ENDING}
    taken = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    try:
        for number in taken:
            signal.signal(number, raise_once)
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


@contextmanager
def keep_handlers() -> Iterator[None]:
    """Restore the handlers of the ending signals after a block in which a library sets its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


class _RaiseOnce:
    """A handler that raises Terminated, but not while the first one of them is still cleaning up."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._at = -TWICE_SECONDS

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # forked
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        now = time.monotonic()
        if now - self._at >= TWICE_SECONDS:
            self._at = now
            raise Terminated(number)
