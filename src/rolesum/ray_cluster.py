"""Ray: connecting to a cluster, or starting one on this machine, and the first steps of a worker (extra: ray)."""

import importlib
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from rolesum.errors import UsageError
from rolesum.interrupts import keep_handlers
from rolesum.os_errors import errno_of, os_error

LOCAL = "local"  # the address of a cluster that is started for the run


def import_ray(option: str, *modules: str) -> ModuleType:
    """The ray package, with the `modules` that `option` needs imported too. Raises UsageError naming the extra."""
    try:
        for module in modules:
            importlib.import_module(module)
        return importlib.import_module("ray")
    except ImportError as error:
        if errno_of(error) is not None:  # it is installed: a limit does not let it be loaded
            raise os_error(error, "Ray cannot be loaded") from None
        raise UsageError(f"{option} needs Ray", fix="pip install 'rolesum[ray]'") from None


@contextmanager
def ray_cluster(ray: ModuleType, address: str | None = None, **options: Any) -> Iterator[None]:
    """Inside, this process is connected to a Ray cluster; one that is already connected stays connected afterwards.

    `address` is HOST:PORT or LOCAL; without it, RAY_ADDRESS or the cluster of this machine, or else a new one. Further
    options are ray.init's. Raises ResourceError where there is no cluster.
    """
    connects = not ray.is_initialized()
    try:
        if connects:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
            if address and address != LOCAL:
                _check_port(address)
            with keep_handlers():  # its own exits the process without a word
                ray.init(address=address, logging_level="ERROR", **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = address or os.environ.get("RAY_ADDRESS", "")
        raise os_error(error, "no Ray cluster", where, "ray status shows the state of a cluster") from None
    try:
        yield
    finally:
        if connects:
            ray.shutdown()


def set_up_worker(directory: str) -> None:
    """Enter the launcher's working directory, to which paths are relative, and silence Ray's log of every library.

    Raises UsageError where the directory is not on storage that the worker shares.
    """
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.WARNING)
    try:
        os.chdir(directory)
    except OSError:
        fix = "start it in a directory on storage that all workers share"
        raise UsageError("the working directory is not there on a worker's machine", directory, fix) from None


def _check_port(address: str) -> None:
    """Raise OSError where nothing listens at HOST:PORT: Ray would try for minutes and then end the process."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()
