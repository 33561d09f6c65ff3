"""A service in a process of its own, as a user starts it: `with serving("--model", …) as service`."""

import contextlib
import re
import signal
import tempfile
import time
from pathlib import Path

import httpx

from helpers.children import Child

STARTED = re.compile(r"serving .*: (http://\S+)")
TURNS = [
    {"speaker": "Customer", "text": "My parcel has not come, order 4417."},
    {"speaker": "Agent", "text": "I am sorry. It is at the depot and will be with you on Friday."},
    {"speaker": "Customer", "text": "Friday is too late for me, can you send it faster?"},
    {"speaker": "Agent", "text": "I can send it by express for 6 pounds, then it comes on Thursday."},
]
TEXT = "\n".join(f"{turn['speaker']}: {turn['text']}" for turn in TURNS)


class Service:
    """A running `rolesum serve`: its address, a client of it, and what it printed."""

    def __init__(self, *arguments, env=None, folder=None):
        self.folder = Path(folder or tempfile.mkdtemp(prefix="rolesum-serve-"))
        store = self.folder / "batches.sqlite"
        self.process = Child("serve", "--port", "0", "--store", store, *arguments, env=env)
        until = time.monotonic() + 120
        while not (found := STARTED.search(self.printed)):
            if self.process.poll() is not None or time.monotonic() > until:
                self.process.kill()
                raise AssertionError(f"the service did not start:\n{self.printed}")
            time.sleep(0.02)
        self.url = found[1]
        self.client = httpx.Client(base_url=self.url, timeout=120, trust_env=False)
        while time.monotonic() < until:
            with contextlib.suppress(httpx.TransportError):
                if self.client.get("/ready").status_code in (200, 401):
                    return
            time.sleep(0.05)
        raise AssertionError("the service is never ready:\n" + self.printed)

    @property
    def printed(self):
        return self.process.stderr

    def post(self, path, **body):
        return self.client.post(path, json=body)

    def end(self, number=signal.SIGTERM, seconds=60):
        """Send a signal and wait; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


@contextlib.contextmanager
def serving(*arguments, **how):
    service = Service(*arguments, **how)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()


def events_of(response):
    """(event, data) of a streamed response."""
    name, data = None, []
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            data.append(line[6:])
        elif not line and (name or data):
            yield name, "\n".join(data)
            name, data = None, []
