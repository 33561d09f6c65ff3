"""The threads that work through the batches, beside the requests, and stop where a batch is canceled."""

import logging
import threading
from collections import Counter
from collections.abc import Callable

from rolesum.errors import ResourceError, RolesumError
from rolesum.formats import Source
from rolesum.generation.async_engine import EngineClient, RequestCanceled
from rolesum.server.admission import AdmissionController
from rolesum.server.jobs.store import Item, Store
from rolesum.server.problems import Refusal, of_error, of_refusal
from rolesum.server.reading import read, sections_named
from rolesum.server.schemas import Reading, SummariesOut, Wishes

log = logging.getLogger("rolesum.server")

# After a failure to write: a full disk may have room again.
PAUSE = 5.0


class Bulk:
    """Dialogues of batches, so many at once as the limits say."""

    def __init__(self, house: AdmissionController, store: Store) -> None:
        self.house, self.store = house, store
        self._threads: list[threading.Thread] = []
        self._news = threading.Condition()
        self._closing = False
        self._taken: dict[tuple[str, int], EngineClient] = {}
        self._owners: dict[tuple[str, int], str] = {}  # of what is taken

    def start(self) -> None:
        for number in range(self.house.limits.bulk):
            thread = threading.Thread(target=self._work, name=f"rolesum-bulk-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End the threads; what they were at waits for the next start."""
        with self._news:
            self._closing = True
            for seat in self._taken.values():
                seat.cancel()
            self._news.notify_all()
        for thread in self._threads:
            thread.join()
        self.store.close()

    def wake(self) -> None:
        """There is a new batch."""
        with self._news:
            self._news.notify_all()

    def cancel(self, identity: str, how: Callable[[str], None]) -> None:
        """Cancel or delete a batch, and end what is being written for it."""
        how(identity)
        with self._news:
            for (batch, _), seat in self._taken.items():
                if batch == identity:
                    seat.cancel()

    def _work(self) -> None:
        while taken := self._take():
            item, seat = taken
            try:
                self._finish(item, seat)
            except ResourceError as error:
                log.error("%s", error)
                with self._news:
                    self._news.wait_for(lambda: self._closing, PAUSE)
            except Exception:
                log.exception("%s, dialogue %d failed", item.batch, item.number)
            finally:
                with self._news:
                    del self._taken[item.batch, item.number], self._owners[item.batch, item.number]

    def _take(self) -> tuple[Item, EngineClient] | None:
        with self._news:
            while not self._closing:
                try:
                    alive = [name for name, one in self.house.served.items() if one.shared.alive]
                    item = self.store.next(alive, self._taken, Counter(self._owners.values()))
                except Exception:
                    log.exception("the batches cannot be read")
                    self._news.wait_for(lambda: self._closing, PAUSE)
                    continue
                if item:
                    seat = self.house.model(item.model).shared.client(low_priority=True)
                    self._taken[item.batch, item.number] = seat
                    self._owners[item.batch, item.number] = item.owner
                    return item, seat
                self._news.wait()
        return None

    def _finish(self, item: Item, seat: EngineClient) -> None:
        """Summarize a dialogue and write down what came of it; nothing, where it was withdrawn."""
        state, result = "failed", None
        try:
            made = self._written(item, seat)
        except RequestCanceled:
            return
        except Refusal as refusal:
            result = of_refusal(refusal)
        except RolesumError as error:
            result = of_error(error)
        except Exception:
            log.exception("%s, dialogue %d failed", item.batch, item.number)
            result = of_refusal(Refusal(500, "the service failed", fix="its log says more"))
        else:
            state, result = "done", made.model_dump()
            self.house.metrics.count(made)
        self.store.finish(item, state, result)

    def _written(self, item: Item, seat: EngineClient) -> SummariesOut:
        served = self.house.model(item.model)
        wishes = Wishes.model_validate_json(item.wishes)
        aliases = served.aliases(sections_named(wishes.sections))
        source = Source(item.batch, item.dialogue)
        _, found = read(source, self.house.limits, Reading(format="rolesum"), aliases=aliases, most=1)
        return served.write(served.task(found[0], wishes, self.house.limits), seat)
