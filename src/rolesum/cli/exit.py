"""How every command ends: errors as messages with their exit codes, signals as one line that says how to go on."""

import logging
import os
import select
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from rolesum.cli.help import HelpGroup
from rolesum.errors import ResourceError, RolesumError
from rolesum.interrupts import Stopped, kept
from rolesum.os_errors import errno_of, is_broken_pipe, os_error

# 128 + SIGPIPE, as of any program whose reader ends first.
BROKEN_PIPE_EXIT_CODE = 141

# What a command has kept that a signal ends, where it does not say so itself as batch and train do.
_KEPT = {
    "annotate": "the judgments that were saved are kept",
    "demo": "an adapter that was trained is kept, and the demo starts from the beginning",
    "evaluate": "complete files are kept, and so are a judge's answers in --judge-cache",
    "serve": "batches that were accepted are kept and go on at the next start",
}
_COMPLETE_FILES_ONLY = "no file is half-written"


class Commands(HelpGroup):
    """The commands. A signal becomes a Stopped error; an output that its reader has closed ends the command quietly."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parse the command line, and print help and version."""
        with kept("nothing was begun"), _ending_with_the_reader():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the context names."""
        with kept(lambda: _KEPT.get(ctx.invoked_subcommand, _COMPLETE_FILES_ONLY)), _ending_with_the_reader():
            return super().invoke(ctx)


@contextmanager
def _ending_with_the_reader() -> Iterator[None]:
    """End the command silently where the reader of its output has closed it: click and rich would exit with 1."""
    try:
        yield
    except SystemExit as error:  # of rich, which has replaced standard output by the null device
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        raise typer.Exit(BROKEN_PIPE_EXIT_CODE) from None
    except OSError as error:
        if is_broken_pipe(error) and _reader_is_gone():
            _discard_output()
            raise typer.Exit(BROKEN_PIPE_EXIT_CODE) from None
        if is_broken_pipe(error):  # of a connection: typer would exit silently
            raise os_error(error, "a connection broke") from None
        raise


def run_app(app: Callable[[], None]) -> None:
    """Run the commands, print their error if there is one, and exit with its code."""
    try:
        app()
    except Stopped as stop:
        _print(stop_line(stop, sys.argv[1:]), heading="")
        _exit_without_waiting(stop.exit_code)
    except RolesumError as error:
        _print(str(error))
        sys.exit(error.exit_code)
    except MemoryError:
        fix = "process fewer dialogues at a time (--limit), a smaller model or smaller batches"
        _print(str(ResourceError("out of memory", fix=fix)))
        sys.exit(ResourceError.exit_code)
    except Exception as error:
        if errno_of(error) is None:
            raise
        translated = os_error(error, "the system refuses", fix="check the path and the permissions")
        _discard_output()
        _print(str(translated))
        sys.exit(translated.exit_code)


def stop_line(stop: Stopped, arguments: list[str]) -> str:
    """What was kept and the command to go on with, in one line; `arguments` are those of this command."""
    problem = stop.problems[0]
    command = ["rolesum", *arguments, *(one for one in stop.adds if one not in arguments)]
    said = f"{problem.where}: {problem.what}" if problem.where else problem.what
    return f"{said}; {problem.fix}: {shlex.join(command)}"


def _print(text: str, heading: str = "error: ") -> None:
    """Print a message to standard error, in the first of several processes of one run."""
    console = Console(stderr=True, quiet=os.environ.get("RANK", "0") != "0")
    with suppress(OSError):  # nothing reads it, or its disk is full
        console.print(Text(heading, style="bold red"), Text(text), sep="", soft_wrap=True)


def _exit_without_waiting(code: int) -> None:
    """Exit, also while threads still wait for a server's answers: Python would wait for them."""
    main = threading.main_thread()
    if any(one is not main and not one.daemon for one in threading.enumerate()):
        logging.shutdown()
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _reader_is_gone() -> bool:
    """Whether standard output or standard error is a pipe that nothing reads."""
    if not hasattr(select, "poll"):  # Windows
        return True
    found = select.poll()
    for number in (1, 2):
        found.register(number, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in found.poll(0))


def _discard_output() -> None:
    """Drop what standard output holds and cannot write: Python would fail again, with a traceback, as it exits."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
