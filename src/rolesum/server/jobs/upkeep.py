"""A background thread that sends the webhooks of batches that have ended, and deletes batches that are too old."""

import logging
import threading
import time

from rolesum.errors import ResourceError
from rolesum.server.jobs.store import BatchStore, DueWebhook
from rolesum.server.jobs.webhooks import RETRY_DELAYS, SECRET_VARIABLE, WebhookFailed, Webhooks
from rolesum.server.problems import HTTPProblem

log = logging.getLogger("rolesum.server")

POLL_SECONDS = 5.0
SECONDS_A_DAY = 86_400.0


class BatchUpkeep:
    """Sends webhooks, and deletes batches `keep_days` after their end; None keeps them until a client deletes them."""

    def __init__(self, store: BatchStore, *, keep_days: float | None = None, webhooks: Webhooks | None = None) -> None:
        self.store, self.keep_days, self.webhooks = store, keep_days, webhooks
        self._woken, self._is_stopping = threading.Event(), False
        self._thread = threading.Thread(target=self._work, name="rolesum-batch-upkeep", daemon=True)
        self._store_error = ""  # the last one that was logged

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; webhooks that were not sent are sent after the next start."""
        self._is_stopping = True
        self.wake()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Tell the thread that a batch has ended."""
        self._woken.set()

    def check_webhook(self, url: str) -> None:
        """Raise HTTPProblem 422 where no webhook can be sent to an address."""
        if self.webhooks is None:
            what = "this server sends no webhooks: it has no secret to sign them with"
            fix = f"leave webhook_url out, or ask the operator to set {SECRET_VARIABLE}"
            raise HTTPProblem(422, what, where="webhook_url", fix=fix)
        self.webhooks.check(url)

    def run_once(self) -> None:
        """Delete what is too old, and send what is due. Raises ResourceError."""
        if self.keep_days is not None:
            self.store.delete_ended(before=time.time() - self.keep_days * SECONDS_A_DAY)
        if self.webhooks is None:
            return
        for due in self.store.due_webhooks(time.time()):
            if self._is_stopping:
                return
            self._send(self.webhooks, due)

    def _send(self, webhooks: Webhooks, due: DueWebhook) -> None:
        try:
            webhooks.send(due.url, due.batch)
        except WebhookFailed as error:
            again = RETRY_DELAYS[due.tries] if due.tries < len(RETRY_DELAYS) else None
            then = "it is not sent again" if again is None else f"again in {again:g} s"
            log.warning("the webhook of %s failed, %s: %s", due.batch.id, error, then)
            self.store.set_webhook(due.batch.id, due.tries + 1, None if again is None else time.time() + again)
        else:
            self.store.set_webhook(due.batch.id, due.tries + 1, None)

    def _work(self) -> None:
        while not self._is_stopping:
            self._woken.clear()
            try:
                self.run_once()
                self._store_error = ""
            except ResourceError as error:
                if str(error) != self._store_error:
                    self._store_error = str(error)
                    log.error("%s", error)
            except Exception:
                log.exception("the upkeep of batches failed")
            self._woken.wait(POLL_SECONDS)
