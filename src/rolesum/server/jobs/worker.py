"""Background threads that summarize the dialogues of batches, with a lower priority than requests."""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from rolesum.errors import ResourceError, RolesumError
from rolesum.formats import Source, jsonl
from rolesum.generation.async_engine import EngineClient, RequestCanceled
from rolesum.server.admission import AdmissionController
from rolesum.server.jobs.store import BatchItem, BatchStore
from rolesum.server.jobs.upkeep import BatchUpkeep
from rolesum.server.problems import HTTPProblem, document_of_error, document_of_http_problem
from rolesum.server.request_parsing import read_source, requested_sections
from rolesum.server.schemas import InputOptions, SummariesOut, SummaryOptions

log = logging.getLogger("rolesum.server")

RETRY_SECONDS = 5.0  # after the store failed: a full disk may have space again


class BatchWorker:
    """Summarizes waiting dialogues of batches in `Limits.batch_workers` threads."""

    def __init__(self, admission: AdmissionController, store: BatchStore, upkeep: BatchUpkeep | None = None) -> None:
        self.admission, self.store = admission, store
        self.upkeep = upkeep or BatchUpkeep(store)
        self._threads: list[threading.Thread] = []
        self._condition = threading.Condition()  # notified of new batches and of the end
        self._is_stopping = False
        self._store_error = ""  # the last one that was logged
        self._running: dict[tuple[str, int], EngineClient] = {}
        self._owners: dict[tuple[str, int], str] = {}  # of the running dialogues

    def start(self) -> None:
        """Start the threads."""
        self.upkeep.start()
        for number in range(self.admission.limits.batch_workers):
            thread = threading.Thread(target=self._work, name=f"rolesum-batch-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End the threads and close the store; running dialogues begin again at the next start."""
        with self._condition:
            self._is_stopping = True
            for client in self._running.values():
                client.cancel()
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()
        self.upkeep.stop()
        self.store.close()

    def wake(self) -> None:
        """Tell the threads that there is a new batch."""
        with self._condition:
            self._condition.notify_all()

    def cancel(self, identity: str, change: Callable[[str], None]) -> None:
        """Apply `change`, the store's `cancel` or `delete`, to a batch, then cancel its running dialogues."""
        change(identity)
        self.upkeep.wake()
        with self._condition:
            for (batch, _), client in self._running.items():
                if batch == identity:
                    client.cancel()

    def _work(self) -> None:
        while taken := self._take():
            item, client = taken
            try:
                self._process(item, client)
            except ResourceError as error:
                with self._condition:
                    self._wait_for_store(error)
            except Exception:
                log.exception("%s, dialogue %d failed", item.batch, item.number)
            finally:
                with self._condition:
                    del self._running[item.batch, item.number], self._owners[item.batch, item.number]

    def _take(self) -> tuple[BatchItem, EngineClient] | None:
        """Wait for a dialogue to summarize; None at the end."""
        with self._condition:
            while not self._is_stopping:
                try:
                    alive = [name for name, model in self.admission.models.items() if model.engine.alive]
                    item = self.store.next_item(alive, self._running, Counter(self._owners.values()))
                except ResourceError as error:
                    self._wait_for_store(error)
                    continue
                except Exception:
                    log.exception("the batches cannot be read")
                    self._condition.wait_for(lambda: self._is_stopping, RETRY_SECONDS)
                    continue
                self._store_error = ""
                if item:
                    client = self.admission.model(item.model).engine.client(low_priority=True)
                    self._running[item.batch, item.number] = client
                    self._owners[item.batch, item.number] = item.owner
                    return item, client
                self._condition.wait()
        return None

    def _wait_for_store(self, error: ResourceError) -> None:
        """Log a failure of the store once, not by each thread at each try, and wait a while."""
        if str(error) != self._store_error:
            self._store_error = str(error)
            log.error("%s", error)
        self._condition.wait_for(lambda: self._is_stopping, RETRY_SECONDS)

    def _process(self, item: BatchItem, client: EngineClient) -> None:
        """Summarize a dialogue and save its summaries or its problem; nothing if it was canceled."""
        state: Literal["done", "failed"] = "failed"
        result: dict[str, Any]
        try:
            summaries = self._summarize(item, client)
        except RequestCanceled:
            return
        except HTTPProblem as error:
            result = document_of_http_problem(error)
        except RolesumError as error:
            result = document_of_error(error)
        except Exception:
            log.exception("%s, dialogue %d failed", item.batch, item.number)
            result = document_of_http_problem(HTTPProblem(500, "the server failed", fix="the server's log says more"))
        else:
            state, result = "done", summaries.model_dump()
            self.admission.metrics.count(summaries)
        if self.store.finish(item, state, result):
            self.upkeep.wake()

    def _summarize(self, item: BatchItem, client: EngineClient) -> SummariesOut:
        model, limits = self.admission.model(item.model), self.admission.limits
        options = SummaryOptions.model_validate_json(item.options)
        aliases = model.aliases(requested_sections(options.sections))
        source, input_options = Source(item.batch, item.dialogue), InputOptions(format=jsonl.FORMAT.name)
        _, (dialogue,) = read_source(source, input_options, limits, aliases=aliases, max_dialogues=1)
        return model.summarize(model.create_job(dialogue, options, limits), client)
