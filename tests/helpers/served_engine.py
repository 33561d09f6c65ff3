"""A service in a thread of the test, for an engine that no command line can name: `with serving_engine(engine)`."""

import contextlib
import threading
from pathlib import Path

import httpx

from helpers.waiting import wait_until
from rolesum.generation.factory import EngineSpec
from rolesum.generation.role_config import RoleConfig
from rolesum.server.admission import AdmissionController
from rolesum.server.app import create_app
from rolesum.server.auth import APIKeys
from rolesum.server.jobs.store import BatchStore
from rolesum.server.jobs.worker import BatchWorker
from rolesum.server.limits import Limits
from rolesum.server.metrics import Metrics
from rolesum.server.run import GracefulServer
from rolesum.server.served_model import ServedModel
from rolesum.sockets import bind_socket, socket_url


class ServedEngine:
    """A running service of one model: its address, a client of it, and the model."""

    def __init__(self, url, model):
        self.url, self.model = url, model
        self.client = httpx.Client(base_url=url, timeout=120, trust_env=False)

    def post(self, path, **body):
        return self.client.post(path, json=body)


@contextlib.contextmanager
def serving_engine(engine, folder, name="tiny", **limits):
    """Serve an engine, with batches in a folder and `limits` as those of Limits."""

    class Opened(EngineSpec):
        def open(self):
            return engine

    limits = Limits(**limits)
    model = ServedModel(name, Opened(), RoleConfig({}, {}))
    admission = AdmissionController([model], limits, Metrics())
    worker = BatchWorker(admission, BatchStore(Path(folder) / "batches.sqlite"))
    server = GracefulServer(create_app(admission, worker, APIKeys({})), admission)
    bound = bind_socket("127.0.0.1", 0)
    bound.listen()
    thread = threading.Thread(target=lambda: server.run(sockets=[bound]), daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    running = ServedEngine(socket_url(bound, "127.0.0.1"), model)
    try:
        yield running
    finally:
        running.client.close()
        server.should_exit = True
        thread.join(60)
        model.engine.close()
        bound.close()
