"""Waiting for what another thread, process or service does."""

import time


def wait_until(check, seconds=120):
    """Until `check()` holds. The limit is for what never happens: a loaded machine may take many seconds for little."""
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, f"not so within {seconds} s"
        time.sleep(0.02)
