"""Signals that end a program: one exception for all of them, and what a stopped command has kept."""

import os
import pickle
import signal
import subprocess
import sys
import threading

import pytest

from rolesum.errors import RolesumError
from rolesum.interrupts import Stopped, Terminated, ending_signals, keep_handlers, kept
from rolesum.training import Interrupted

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of Unix")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_becomes_an_error_that_says_what_is_kept(number):
    before = signal.getsignal(number)
    with (
        pytest.raises(
            Stopped, match=f"out: stopped by .*{number.name}.*: two shards are kept\n  → run it again"
        ) as caught,
        ending_signals(),
        kept(lambda: "two shards are kept", "out", "run it again"),
    ):
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == 128 + number
    assert isinstance(caught.value, RolesumError)
    assert signal.getsignal(number) is before


def test_the_inner_of_two_places_says_what_is_kept():
    with pytest.raises(Stopped, match="the inner"), kept("the outer"), kept("the inner"):
        raise KeyboardInterrupt


def test_a_signal_sent_twice_does_not_interrupt_the_cleaning_up():
    cleaned = []
    with pytest.raises(Terminated), ending_signals():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned.append(True)
    assert cleaned == [True]


def test_a_signal_that_was_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_forked_child_ends_by_the_signal_as_without_a_handler():
    program = (
        "import os, signal, sys\n"
        "from rolesum.interrupts import ending_signals\n"
        "with ending_signals():\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        os._exit(0)\n"
        "    _, status = os.waitpid(child, 0)\n"
        "print(os.WTERMSIG(status))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == signal.SIGTERM


def test_other_threads_leave_the_handlers_alone():
    found = []

    def work():
        with ending_signals(), keep_handlers():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


def test_a_library_that_sets_its_own_handlers_does_not_keep_them():
    before = signal.getsignal(signal.SIGTERM)
    with keep_handlers():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("kind", [Stopped, Interrupted])
def test_the_error_travels_between_processes_with_its_exit_code(kind):
    error = kind("stopped", "out", "go on", number=signal.SIGTERM, adds=["--resume"])
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.exit_code, again.adds) == (kind, str(error), 143, ("--resume",))
    assert kind("the time is up").exit_code == 1
