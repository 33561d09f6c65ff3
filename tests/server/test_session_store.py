"""Sessions that are too many, too old or too large, with a clock of the test's."""

from types import SimpleNamespace

import pytest

from rolesum.server.limits import Limits
from rolesum.server.problems import HTTPProblem
from rolesum.server.sessions import SessionStore


class Kept:
    """Keys of a size that the test says."""

    def __init__(self, megabytes=0):
        self.num_bytes = megabytes * 10**6

    def drop(self):
        self.num_bytes = 0


@pytest.fixture
def clock():
    return SimpleNamespace(now=100.0)


def a_store(clock, **limits):
    return SessionStore(Limits(**limits), lambda: clock.now)


def status(call):
    with pytest.raises(HTTPProblem) as caught:
        call()
    return caught.value.status


def test_a_session_is_deleted_when_it_was_not_used_for_the_timeout(clock):
    store = a_store(clock, session_timeout=60)
    kept = Kept(5)
    one, other = store.create("", "m", None, kept), store.create("", "m", None, Kept())
    clock.now += 50
    store.use(other.id, "")
    clock.now += 50
    assert status(lambda: store.use(one.id, "")) == 404
    assert store.use(other.id, "") is other and len(store) == 1
    assert kept.num_bytes == 0
    clock.now += 61
    store.expire()
    assert len(store) == 0


def test_a_session_belongs_to_the_key_that_made_it(clock):
    store = a_store(clock)
    one = store.create("anna", "m", None, None)
    assert status(lambda: store.use(one.id, "tom")) == 404
    assert status(lambda: store.delete(one.id, "tom")) == 404
    store.delete(one.id, "anna")
    assert status(lambda: store.use(one.id, "anna")) == 404


def test_there_are_at_most_so_many_and_a_key_leaves_room_for_others(clock):
    store = a_store(clock, max_sessions=4, session_timeout=60)
    mine = [store.create("anna", "m", None, None) for _ in range(3)]
    assert status(lambda: store.create("anna", "m", None, None)) == 429
    store.create("tom", "m", None, None)
    assert status(lambda: store.create("tom", "m", None, None)) == 429
    store.delete(mine[0].id, "anna")
    assert store.create("anna", "m", None, None)


def test_old_sessions_make_room_for_new_ones(clock):
    store = a_store(clock, max_sessions=1, session_timeout=60)
    store.create("", "m", None, None)
    clock.now += 61
    assert store.create("", "m", None, None) and len(store) == 1


def test_beyond_the_memory_the_keys_that_were_used_least_recently_are_dropped(clock):
    store = a_store(clock, session_memory=100)
    sessions = [store.create("", "m", None, Kept(40)) for _ in range(4)]
    for one in (sessions[2], sessions[0], sessions[3], sessions[1]):
        clock.now += 1
        store.use(one.id, "")
    store.bound_memory()
    assert [one.cached_bytes for one in sessions] == [0, 40e6, 0, 40e6]
    assert store.cached_bytes == 80e6 and len(store) == 4


def test_without_memory_no_keys_are_kept(clock):
    store = a_store(clock, session_memory=0)
    one = store.create("", "m", None, Kept(1))
    store.bound_memory()
    assert one.cached_bytes == 0
