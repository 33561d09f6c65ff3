"""Serving as a user asks for it: keys, socket, models, batches, and then the server."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from platformdirs import user_data_path

from rolesum.console import log
from rolesum.errors import UsageError
from rolesum.generation.factory import EngineSpec
from rolesum.generation.summarizer import RoleConfig, load_role_config
from rolesum.models.bundled_adapters import bundled_adapters
from rolesum.server.admission import AdmissionController
from rolesum.server.app import application
from rolesum.server.auth import VARIABLE, read_keys
from rolesum.server.jobs.store import Store
from rolesum.server.jobs.worker import Bulk
from rolesum.server.limits import Limits
from rolesum.server.metrics import Metrics
from rolesum.server.served_model import Served
from rolesum.server.server import serve, write_log
from rolesum.sockets import bind_socket, is_loopback, socket_url


@dataclass(frozen=True)
class Serving:
    """All that decides a service. `models` are served by their names, the first where a request names none."""

    models: Sequence[tuple[str, EngineSpec, RoleConfig]]
    host: str = "127.0.0.1"
    port: int = 8000
    keys: Path | None = None
    origins: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    store: Path | None = None
    log: str | None = None


def default_store() -> Path:
    """Where batches are kept if nothing else is said."""
    return Path(user_data_path("rolesum")) / "batches.sqlite"


def name_of(spec: EngineSpec) -> str:
    """What a model is called in requests: the released adapter's name, the run's, or the base's."""
    if spec.adapter is not None:
        for name, path in bundled_adapters().items():
            if path == spec.adapter:
                return name
        path = spec.adapter.resolve()
        return path.parent.name if path.name == "adapter" else path.name
    return Path(spec.model or spec.served_model or spec.engine).name


def beside(first: EngineSpec, given: str) -> tuple[str, EngineSpec, RoleConfig]:
    """Another model on the same engine: an adapter by its directory or name, else a base by its alias or directory."""
    if first.engine != "transformers":
        raise UsageError(f"--also is not for the engine {first.engine}", fix="start one service for each model")
    adapters = bundled_adapters()
    path = adapters.get(given, Path(given))
    if (path / "adapter_config.json").is_file():
        spec = replace(first, model=None, adapter=path)
        declared = load_role_config(path, None)
    else:
        spec, declared = replace(first, model=given, adapter=None), RoleConfig({}, {})
    spec = replace(spec, definitions=declared.definitions, sections=declared.sections)
    return name_of(spec), spec, declared


def run_service(asked: Serving) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises UsageError, ModelError, ResourceError before anything is served."""
    keys = read_keys(asked.keys)
    is_local = is_loopback(asked.host)
    if not keys and not is_local:
        fix = f"rolesum serve --new-key NAME makes one; then --keys FILE, or the environment variable {VARIABLE}"
        raise UsageError(f"{asked.host} can be reached by others, and there is no key", fix=fix)
    if asked.origins and not keys:
        raise UsageError("--cors-origin lets other sites ask, and there is no key", fix="add --keys FILE")
    names = [name for name, _, _ in asked.models]
    if len(set(names)) < len(names):
        raise UsageError(f"two models are called {max(names, key=names.count)}", fix="rename a run's directory")
    write_log(asked.log)
    bound = bind_socket(asked.host, asked.port)
    metrics = Metrics()
    store = Store(asked.store or default_store())
    try:
        log(f"loading {', '.join(names)}")
        house = AdmissionController([Served(*one) for one in asked.models], asked.limits, metrics)
        bulk = Bulk(house, store)
        _gauges(metrics, house, bulk)
        log(f"serving {', '.join(names)}: {socket_url(bound, asked.host)}  (Ctrl-C ends)")
        app = application(house, bulk, keys, is_local=is_local, origins=asked.origins)
        serve(app, house, bound)
    finally:
        bound.close()
        store.close()


def _gauges(metrics: Metrics, house: AdmissionController, bulk: Bulk) -> None:
    metrics.gauge("inside", "Requests that are being answered or wait", lambda: house.inside)
    metrics.gauge("rows", "Texts that grow now", lambda: sum(one.shared.num_rows for one in house.served.values()))
    metrics.gauge("batch_dialogues_waiting", "Dialogues of batches that wait", bulk.store.waiting)
