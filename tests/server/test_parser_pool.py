"""The processes that parse requests: what they return, and how they end."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import time

import psutil
import pytest

from helpers.waiting import wait_until
from rolesum.errors import DataError
from rolesum.formats import read_dialogues
from rolesum.server.limits import Limits
from rolesum.server.parsed_openai import parse_chat
from rolesum.server.parsed_requests import ParsingContext, parse_batch, parse_reading, parse_summary
from rolesum.server.parser_pool import ParserPool
from rolesum.server.problems import HTTPProblem
from rolesum.server.request_parsing import RequestBody

ROLES = {"m": {}, "other": {"lawyer": ["counsel"]}}
TRAINED = {"m": ("overall", "user"), "other": ("lawyer",)}
TEXT = "Customer: hello there\nAgent: hello"


def context(**limits):
    return ParsingContext(Limits(**limits), ROLES, TRAINED)


def body(**values):
    return RequestBody(json.dumps(values).encode())


@pytest.fixture
def pool(request):
    """A pool with a limit of 2 s, or of the parameter's."""
    made = ParserPool(Limits(parse_timeout=getattr(request, "param", 2), max_parser_bytes=600 * 2**20))
    made.start()
    yield made
    made.close()


def spin():
    """Hold the interpreter lock for minutes, as a parser in C does."""
    sum(range(10**12))


def sleep(seconds):
    time.sleep(seconds)
    return os.getpid()


def take_memory():
    return len(bytearray(10**9))


def fail():
    raise ValueError("swordfish")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def children():
    """The pool's processes; the tests have started others."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "rolesum.server.parser_process" in process.cmdline():
                found.append(process)
    return found


def test_a_process_returns_what_the_function_returns(pool):
    dialogue = read_dialogues("sample:zh-test")[0]
    turns = [{"speaker": turn.speaker, "text": turn.text} for turn in dialogue.turns]
    sent = [
        (parse_summary, body(dialogue={"id": "a", "turns": turns, "roles": dict(dialogue.roles)}, roles=["user"])),
        (parse_summary, body(text=TEXT, model="other", roles=["counsel"], stream=True)),
        (parse_reading, body(text=TEXT)),
        (parse_batch, body(dialogues=[{"turns": turns}] * 3)),
        (parse_chat, json.dumps({"model": "m:user", "messages": [{"role": "user", "content": TEXT}]}).encode()),
        (parse_chat, json.dumps({"model": "m", "messages": [{"role": "user", "content": TEXT}]}).encode()),
    ]
    for work, request in sent:
        assert asyncio.run(pool.parse(work, request, context())) == work(request, context())


def test_errors_come_back_as_they_were_raised(pool):
    with pytest.raises(HTTPProblem) as error:
        asyncio.run(pool.parse(parse_summary, body(text=TEXT, model="x"), context()))
    assert (error.value.status, error.value.problem.where) == (404, "model")
    with pytest.raises(DataError) as error:
        asyncio.run(pool.parse(parse_summary, body(text='{"broken'), context()))
    assert error.value.problems[0].where == "text:1"


@pytest.mark.parametrize(
    ("pool", "work", "reason"),
    [(2, spin, "2 s"), (60, take_memory, "bytes of memory"), (60, die, "bytes of memory")],
    indirect=["pool"],
)
def test_work_over_a_limit_is_a_problem_and_its_process_ends(pool, work, reason):
    async def run():
        with pytest.raises(HTTPProblem) as error:
            await asyncio.wait_for(pool.parse(work), 120)
        assert error.value.status == 413 and reason in error.value.problem.what and error.value.problem.fix
        return await pool.parse(sleep, 0)

    assert asyncio.run(run()) != os.getpid()
    wait_until(lambda: len(children()) == 1)  # the one that forks


def test_the_event_loop_runs_on_while_a_process_is_at_work(pool):
    async def run():
        task = asyncio.create_task(pool.parse(spin))
        turns = 0
        while not task.done():
            await asyncio.sleep(0.01)
            turns += 1
        assert task.exception() and turns > 20  # of about 200 in the two seconds; a blocked loop has one or two

    asyncio.run(run())


def test_a_bug_is_logged_by_its_place_and_not_by_what_was_sent(pool, caplog):
    with caplog.at_level(logging.ERROR), pytest.raises(HTTPProblem) as error:
        asyncio.run(pool.parse(fail))
    assert error.value.status == 500
    assert "ValueError" in caplog.text and "in fail" in caplog.text and "swordfish" not in caplog.text


@pytest.mark.parametrize("pool", [60], indirect=True)
def test_the_process_that_forks_is_started_again_if_it_was_killed(pool):
    wait_until(lambda: len(children()) == 1)  # it has begun
    (forking,) = children()
    assert asyncio.run(pool.parse(sleep, 0)) not in (forking.pid, os.getpid())
    forking.kill()
    forking.wait(60)
    assert asyncio.run(pool.parse(sleep, 0)) != os.getpid()
    assert forking.pid not in [one.pid for one in children()]


def test_all_processes_end_with_the_pool():
    pool = ParserPool(Limits(parse_timeout=120))
    pool.start()

    async def run():
        task = asyncio.create_task(pool.parse(sleep, 60))
        while len(children()) < 2:
            assert not task.done()
            await asyncio.sleep(0.01)
        pool.close()
        with pytest.raises(HTTPProblem):
            await task

    asyncio.run(run())
    wait_until(lambda: not children())
