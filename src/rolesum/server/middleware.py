"""What every request passes first: its id, the host, the key, the size of its body, and a line in the log."""

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import anyio
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from rolesum.server.auth import Keys
from rolesum.server.limits import Limits
from rolesum.server.metrics import Metrics
from rolesum.server.problems import MEDIA_TYPE, Refusal, of_refusal
from rolesum.sockets import hostname, is_loopback

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]

log = logging.getLogger("rolesum.server")

# Answered without a key: that the service lives, and the page, which holds no data and asks for the key itself.
OPEN = ("/", "/health", "/ready")
OPEN_FOLDER = "/page/"
BATCHES = "/v1/batches"
# Between two pieces of a body.
PATIENCE = 30.0


class Gate:
    """The outermost part of the service. Bodies are counted as they come, whatever their header promised."""

    def __init__(
        self,
        inner: Any,
        *,
        keys: Keys,
        limits: Limits,
        metrics: Metrics,
        is_local: bool,
        origins: tuple[str, ...] = (),
        paths: Collection[str] = (),
    ) -> None:
        """`paths` are the fixed ones, by which a request that came no further is told in the log."""
        self._inner, self._keys, self._limits, self._metrics = inner, keys, limits, metrics
        self._is_local, self._origins, self._paths = is_local, origins, frozenset(paths)
        self._held = 0  # bytes of all bodies that are being taken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        begun, status, owner = time.monotonic(), 0, ""
        request_id = secrets.token_hex(8)

        async def sent(message: Scope) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *_SAFE]
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            owner = self._owner(scope, headers)
            scope["state"] = {**scope.get("state", {}), "owner": owner, "request_id": request_id}
            with self._taking(receive, self._most(scope)) as counted:
                await self._inner(scope, counted, sent)
        except Refusal as refusal:
            found = of_refusal(refusal, scope["path"])
            response = JSONResponse(found, refusal.status, refusal.headers, media_type=MEDIA_TYPE)
            await response(scope, receive, sent)
        finally:
            seconds = time.monotonic() - begun
            path = getattr(scope.get("route"), "path", scope["path"] if scope["path"] in self._paths else "other")
            self._metrics.requests.labels(path, _method(scope), str(status)).inc()
            self._metrics.request_seconds.labels(path).observe(seconds)
            log.info("%s %s %s %d %.3f s %s", request_id, _method(scope), path, status, seconds, owner or "-")

    def _owner(self, scope: Scope, headers: dict[str, str]) -> str:
        """Whose key it is; empty without keys. Raises Refusal for who may not come in."""
        if self._is_local and not self._keys:
            self._check_neighbor(scope, headers)
        length, most = headers.get("content-length", ""), self._most(scope)
        if length.isdigit() and int(length) > most:
            raise _too_large(most)
        path, method = scope["path"], scope["method"]
        if not self._keys or path in OPEN or path.startswith(OPEN_FOLDER) or method == "OPTIONS":
            return ""
        kind, _, key = headers.get("authorization", "").partition(" ")
        given = key.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")
        owner = self._keys.owner(given) if given else None
        if owner is None:
            what = "a wrong key" if given else "no key"
            fix = "send Authorization: Bearer KEY"
            raise Refusal(401, what, fix=fix, headers={"WWW-Authenticate": 'Bearer realm="rolesum"'})
        return owner

    def _check_neighbor(self, scope: Scope, headers: dict[str, str]) -> None:
        """Without keys, only this machine's own programs and pages: no foreign name that leads here, no other site."""
        host = headers.get("host", "")
        if not is_loopback(hostname(host)):
            raise Refusal(403, f'the host "{host[:100]}" is not this machine', fix="serve with keys: --keys FILE")
        origin = headers.get("origin")
        foreign = origin is not None and origin not in (f"http://{host}", f"https://{host}", *self._origins)
        if foreign or (headers.get("sec-fetch-site") == "cross-site" and origin not in self._origins):
            raise Refusal(403, "another site may not ask here", fix="allow it: --cors-origin, with keys")

    def _most(self, scope: Scope) -> int:
        """Bytes that a body may have."""
        return self._limits.batch_bytes if scope["path"] == BATCHES else self._limits.body_bytes

    @contextmanager
    def _taking(self, receive: Receive, most: int) -> Iterator[Receive]:
        """A `receive` that counts the body and its time, and what all bodies together hold until they are answered."""
        taken = 0
        whole = False
        end = time.monotonic() + self._limits.seconds

        async def counted() -> Scope:
            nonlocal taken, whole
            if whole:
                return await receive()
            try:
                with anyio.fail_after(min(PATIENCE, end - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the body did not come in time") from None
            more = len(message.get("body", b""))
            taken += more
            self._held += more
            if taken > most:
                raise HTTPException(413, _too_large(most).problem.what)
            if self._held > self._limits.held_bytes:
                raise HTTPException(503, "too many large bodies at once", {"Retry-After": "5"})
            whole = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        try:
            yield counted
        finally:
            self._held -= taken


_SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _method(scope: Scope) -> str:
    """The method, of a known few: what a client makes up does not become a metric."""
    return scope["method"] if scope["method"] in _METHODS else "other"


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"the body is over {limit:,} bytes", fix="send less at once")
