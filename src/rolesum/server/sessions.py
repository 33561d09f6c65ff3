"""Sessions: dialogues that grow, each with the keys of its prefix, and which of them have to go.

They are held in memory alone. A session that is not used for the timeout is deleted. Where the keys of all sessions
take more than the memory that they may, those of the sessions that were used least recently are dropped: their next
summary costs the whole dialogue again.
"""

import asyncio
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rolesum.counts import counted
from rolesum.dialogue import Dialogue
from rolesum.server.limits import Limits
from rolesum.server.problems import HTTPProblem
from rolesum.server.schemas import DialogueIn

if TYPE_CHECKING:
    from rolesum.generation.decoding.kept_prefix import KeptPrefix

MAX_SHARE_PER_KEY = 0.75  # of the sessions, so that one API key leaves room for others
_BYTES_PER_MB = 10**6


@dataclass
class Session:
    """A dialogue as it was sent so far, and as it was read; both are None before the first turn.

    `kept` is None for an engine that keeps no keys. `lock` is held while turns are appended.
    """

    id: str
    owner: str
    model: str
    sections: str | None
    sent: DialogueIn | None
    dialogue: Dialogue | None
    kept: "KeptPrefix | None"
    used: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def num_turns(self) -> int:
        return len(self.dialogue.turns) if self.dialogue else 0

    @property
    def cached_bytes(self) -> int:
        return self.kept.num_bytes if self.kept else 0


class SessionStore:
    """The sessions of a server; `clock` gives seconds.

    It is used by the event loop's thread, but for `bound_memory` and `cached_bytes`, which any may call.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def cached_bytes(self) -> int:
        """The memory that the keys of all sessions take."""
        return sum(one.cached_bytes for one in tuple(self._sessions.values()))

    def check_room(self, owner: str) -> None:
        """Raise HTTPProblem 429 where no session can be added for an API key's `owner`."""
        self.expire()
        limit = self._limits.max_sessions
        own = sum(one.owner == owner for one in self._sessions.values())
        is_full = len(self._sessions) >= limit
        if is_full or (owner and own >= math.ceil(limit * MAX_SHARE_PER_KEY)):
            what = f"there are {counted(len(self._sessions) if is_full else own, 'session')}"
            oldest = min(one.used for one in self._sessions.values())
            seconds = max(1, math.ceil(oldest + self._limits.session_timeout - self._clock()))
            fix = "delete sessions that have ended (DELETE /v1/sessions/ID)"
            raise HTTPProblem(429, what, fix=fix, headers={"Retry-After": str(seconds)})

    def create(
        self,
        owner: str,
        model: str,
        sections: str | None,
        kept: "KeptPrefix | None",
        sent: DialogueIn | None = None,
        dialogue: Dialogue | None = None,
    ) -> Session:
        """Add a session. Raises as `check_room`."""
        self.check_room(owner)
        identity = f"session-{secrets.token_urlsafe(12)}"
        session = Session(identity, owner, model, sections, sent, dialogue, kept, self._clock())
        self._sessions[identity] = session
        return session

    def use(self, identity: str, owner: str) -> Session:
        """The session, whose time begins again. Raises HTTPProblem 404 where it is not there, or is another key's."""
        self.expire()
        session = self._sessions.get(identity)
        if session is None or session.owner != owner:
            what = f"there is no session {identity[:100]}"
            fix = f"send the dialogue to a new one; a session is deleted when it is not used for {self._idle_time}"
            raise HTTPProblem(404, what, fix=fix)
        session.used = self._clock()
        return session

    def delete(self, identity: str, owner: str) -> None:
        """Delete a session and its keys. Raises as `use`."""
        self._remove(self.use(identity, owner))

    def expire(self) -> None:
        """Delete the sessions that were not used for the timeout."""
        oldest = self._clock() - self._limits.session_timeout
        for one in [one for one in self._sessions.values() if one.used < oldest]:
            self._remove(one)

    def bound_memory(self) -> None:
        """Drop the keys of the sessions that were used least recently, until the others' fit the memory."""
        room = self._limits.session_memory * _BYTES_PER_MB
        for one in sorted(self._sessions.values(), key=lambda each: each.used, reverse=True):
            room -= one.cached_bytes
            if room < 0 and one.kept:
                one.kept.drop()

    def seconds_left(self, session: Session) -> float:
        """The time after which a session that is not used is deleted."""
        return max(0.0, session.used + self._limits.session_timeout - self._clock())

    def _remove(self, session: Session) -> None:
        del self._sessions[session.id]
        if session.kept:
            session.kept.drop()

    @property
    def _idle_time(self) -> str:
        return f"{self._limits.session_timeout:g} s"
