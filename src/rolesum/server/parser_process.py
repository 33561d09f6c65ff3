"""The fork server of the parsers: a small process that has imported what parsing needs, and forks for each request.

`python -m rolesum.server.parser_process NUMBER` reads connections from the socket with that file descriptor. It is a
process of its own since the server has threads, whose locks a fork would copy, and gigabytes of model. It has neither.
"""

import gc
import os
import pickle
import resource
import signal
import socket
import sys
import traceback
from types import TracebackType
from typing import Any

from rolesum.errors import RolesumError
from rolesum.server import parsed_requests  # noqa: F401  # imported once, before the forks
from rolesum.server.problems import HTTPProblem


def main() -> None:
    """Fork a process for each connection that comes, until the server has closed the socket or has died."""
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # processes that have ended leave nothing behind
    gc.collect()
    gc.freeze()
    while True:
        message, connections, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            break
        for connection in connections:
            if os.fork() == 0:
                control.close()
                status = 1
                try:
                    _answer(socket.socket(fileno=connection))
                    status = 0
                finally:
                    os._exit(status)
            os.close(connection)
    os.killpg(0, signal.SIGKILL)  # the requests that are being parsed are nobody's now


def _answer(connection: socket.socket) -> None:
    """Do the work that a connection asks for, and send its result or its error."""
    with connection, connection.makefile("rb") as stream:
        work, args, seconds, max_bytes = pickle.load(stream)
        # the system ends this process when its time is over, whatever it is doing
        signal.setitimer(signal.ITIMER_REAL, seconds)
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (max_bytes if hard < 0 else min(max_bytes, hard), hard))
        connection.sendall(_pickled_result(work, args))


def _pickled_result(work: Any, args: tuple[Any, ...]) -> bytes:
    """The result, the error that tells the client what is wrong, or the place of a bug; nothing without memory."""
    try:
        return pickle.dumps(("result", work(*args)))
    except MemoryError:
        return b""
    except (RolesumError, HTTPProblem) as error:
        return pickle.dumps(("error", error))
    except Exception as error:  # its message may hold what the client sent, and is not logged
        return pickle.dumps(("failed", f"{type(error).__name__} at\n{_frames(error.__traceback__)}"))


def _frames(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)
    return "\n".join(f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)


if __name__ == "__main__":
    main()
