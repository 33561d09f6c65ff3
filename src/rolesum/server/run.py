"""Starts the server: configuration, models, socket; then runs uvicorn with a graceful shutdown."""

import asyncio
import logging
import math
import os
import signal
import socket
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from platformdirs import user_data_path

from rolesum.console import log
from rolesum.counts import counted
from rolesum.errors import ResourceError, UsageError
from rolesum.generation.factory import EngineSpec
from rolesum.generation.role_config import RoleConfig, load_role_config
from rolesum.http_security import ASGIApp
from rolesum.interrupts import keep_handlers
from rolesum.models.adapter_metadata import adapter_directory
from rolesum.models.bundled_adapters import bundled_adapters
from rolesum.server.admission import AdmissionController
from rolesum.server.app import create_app
from rolesum.server.auth import API_KEYS_VARIABLE, APIKeys, read_api_keys
from rolesum.server.connection import KEEP_ALIVE_TIMEOUT, MAX_HEAD_BYTES, TimedProtocol
from rolesum.server.jobs.store import BatchStore
from rolesum.server.jobs.upkeep import BatchUpkeep
from rolesum.server.jobs.webhooks import SECRET_VARIABLE, Webhooks
from rolesum.server.jobs.worker import BatchWorker
from rolesum.server.limits import Limits
from rolesum.server.metrics import Metrics
from rolesum.server.parser_pool import ParserPool
from rolesum.server.served_model import ServedModel
from rolesum.sockets import bind_socket, is_loopback, socket_url

SOCKET_BACKLOG = 512  # connections that wait to be accepted
SHUTDOWN_MARGIN = 3  # seconds after --shutdown-timeout, to send the canceled requests their errors


@dataclass(frozen=True)
class ServerConfig:
    """The configuration of a server. `models` are (name, engine, roles); the first answers requests without a name."""

    models: Sequence[tuple[str, EngineSpec, RoleConfig]]
    host: str = "127.0.0.1"
    port: int = 8000
    keys_file: Path | None = None
    allowed_origins: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    store: Path | None = None
    log_file: Path | None = None
    keep_days: float | None = None
    """Days after its end at which a batch is deleted; None keeps it."""
    allow_private_webhooks: bool = False


def default_store() -> Path:
    """Return the file in which batches are kept by default."""
    return Path(user_data_path("rolesum")) / "batches.sqlite"


def served_name(spec: EngineSpec) -> str:
    """Return a model's name in the API: that of the bundled adapter, of the training run, or of the base model."""
    if spec.adapter is not None:
        for name, path in bundled_adapters().items():
            if path == spec.adapter:
                return name
        path = spec.adapter.resolve()
        return path.parent.name if path.name == "adapter" else path.name
    return Path(spec.model or spec.served_model or spec.engine).name


def extra_models(first: EngineSpec, names: Iterable[str]) -> list[tuple[str, EngineSpec, RoleConfig]]:
    """Return further models for the same engine: adapters by directory or name, base models by alias or directory.

    Raises UsageError for an engine that serves one model only.
    """
    return [_extra_model(first, name) for name in names]


def _extra_model(first: EngineSpec, name: str) -> tuple[str, EngineSpec, RoleConfig]:
    if first.engine != "transformers":
        what = f"--extra-model needs the engine transformers, and the engine is {first.engine}"
        raise UsageError(what, fix="start one server for each model")
    path = adapter_directory(name)
    if (path / "adapter_config.json").is_file():
        spec, roles = replace(first, model=None, adapter=path), load_role_config(path, None)
    else:
        spec, roles = replace(first, model=name, adapter=None), RoleConfig({}, {})
    spec = replace(spec, definitions=roles.definitions, sections=roles.sections)
    return served_name(spec), spec, roles


def run_server(config: ServerConfig) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises UsageError, ModelError or ResourceError before it serves anything."""
    keys = read_api_keys(config.keys_file)
    _check_config(config, keys)
    names = [name for name, _, _ in config.models]
    webhooks = _webhooks(config)
    configure_logging(config.log_file)
    bound = bind_socket(config.host, config.port)
    metrics = Metrics()
    store = BatchStore(config.store or default_store())
    parsers = ParserPool(config.limits)
    try:
        log(f"loading {', '.join(names)}")
        parsers.start()
        models = [ServedModel(*model) for model in config.models]
        admission = AdmissionController(models, config.limits, metrics, parsers)
        worker = BatchWorker(admission, store, BatchUpkeep(store, keep_days=config.keep_days, webhooks=webhooks))
        _add_gauges(metrics, admission, store)
        log(f"serving {', '.join(names)}: {socket_url(bound, config.host)}  (Ctrl-C to stop)")
        is_local = is_loopback(config.host)
        app = create_app(admission, worker, keys, is_local=is_local, allowed_origins=config.allowed_origins)
        serve(app, admission, bound)
        log(f"stopped: batches that have not ended are kept in {store.path} and go on at the next start")
    finally:
        bound.close()
        store.close()
        parsers.close()


def _check_config(config: ServerConfig, keys: APIKeys) -> None:
    if not keys and not is_loopback(config.host):
        what = f"the server has no API key, and other machines can reach {config.host}"
        fix = f"rolesum serve --new-key NAME prints a key; then use --keys FILE or the variable {API_KEYS_VARIABLE}"
        raise UsageError(what, fix=fix)
    if config.allowed_origins and not keys:
        raise UsageError("--cors-origin needs API keys", fix="add --keys FILE")
    names = [name for name, _, _ in config.models]
    if len(set(names)) < len(names):
        raise UsageError(f'two models have the name "{max(names, key=names.count)}"', fix="rename a run's directory")


def _webhooks(config: ServerConfig) -> Webhooks | None:
    """What sends webhooks, if there is a secret. Raises UsageError."""
    if secret := os.environ.get(SECRET_VARIABLE):
        return Webhooks(secret.encode(), allow_private=config.allow_private_webhooks)
    if config.allow_private_webhooks:
        raise UsageError("--allow-private-webhooks needs a secret", fix=f"set the variable {SECRET_VARIABLE}")
    return None


def _add_gauges(metrics: Metrics, admission: AdmissionController, store: BatchStore) -> None:
    def active_sequences() -> int:
        return sum(model.engine.num_rows for model in admission.models.values())

    def waiting_dialogues() -> float:
        try:
            return store.count_waiting()
        except ResourceError:  # /ready says why
            return math.nan

    metrics.add_gauge("sessions", "Sessions", lambda: len(admission.sessions))
    metrics.add_gauge("session_bytes", "Bytes of the keys of sessions", lambda: admission.sessions.cached_bytes)
    metrics.add_gauge("active_requests", "Requests that are running or queued", lambda: admission.active_requests)
    metrics.add_gauge("active_sequences", "Texts that are being generated", active_sequences)
    metrics.add_gauge("waiting_batch_dialogues", "Dialogues of batches that wait", waiting_dialogues)


def serve(app: ASGIApp, admission: AdmissionController, bound: socket.socket) -> None:
    """Serve an application on a bound socket until SIGTERM or Ctrl-C, then close the engines."""
    bound.listen(SOCKET_BACKLOG)
    _raise_open_files_limit()
    with keep_handlers():
        for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises the signal again after its shutdown: ignore it
            signal.signal(number, lambda *_: None)
        try:
            GracefulServer(app, admission).run(sockets=[bound])
        finally:
            bound.close()
            for model in admission.models.values():
                model.engine.close()


class GracefulServer(uvicorn.Server):
    """uvicorn with a graceful shutdown: running requests have a time to finish, new ones are rejected."""

    def __init__(self, app: ASGIApp, admission: AdmissionController) -> None:
        self._admission = admission
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_TIMEOUT,
                timeout_graceful_shutdown=int(admission.limits.shutdown_timeout) + SHUTDOWN_MARGIN,
                http=TimedProtocol,
                ws="none",
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        admission, loop = self._admission, self._loop
        if not admission.is_shutting_down:
            admission.is_shutting_down = True
            seconds = admission.limits.shutdown_timeout
            loop.call_soon_threadsafe(lambda: loop.call_later(seconds, admission.cancel_all))
            requests = counted(admission.active_requests, "request")
            log(f"shutting down: {seconds:g} s for {requests}; Ctrl-C to stop at once")
        super().handle_exit(sig, frame)


def _raise_open_files_limit() -> None:
    """Allow as many connections as the system permits this process."""
    try:
        import resource  # not on Windows
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _PrivateFormatter(logging.Formatter):
    """Logs the type and the place of an exception without its message, which may hold what a client sent."""

    def formatException(self, ei: Any) -> str:
        kind, _, trace = ei
        frames = traceback.extract_tb(trace)
        where = "\n".join(f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
        return f"{getattr(kind, '__name__', kind)} at\n{where}"


def configure_logging(file: Path | None) -> None:
    """Write the server's log to a file, or to standard error. It holds no text of a dialogue."""
    handler = logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler()
    handler.setFormatter(_PrivateFormatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("rolesum.server", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO if name.startswith("rolesum") else logging.WARNING)
