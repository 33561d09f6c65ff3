"""The ASGI middleware before every route: request id, Host and Origin, API key, size of the body, log, metrics."""

import logging
import secrets
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import anyio
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from rolesum.http_security import (
    ASGIApp,
    Receive,
    Scope,
    Send,
    declared_body_size,
    is_cross_site,
    is_local_host,
    request_headers,
)
from rolesum.server.auth import APIKeys
from rolesum.server.limits import Limits
from rolesum.server.metrics import Metrics
from rolesum.server.problems import MEDIA_TYPE, HTTPProblem, document_of_http_problem

log = logging.getLogger("rolesum.server")

# Answered without a key: the probes, and the page, which holds no data and asks the user for the key.
PUBLIC_PATHS = ("/", "/health", "/ready")
PUBLIC_PREFIX = "/page/"
BATCHES_PATH = "/v1/batches"
BODY_CHUNK_TIMEOUT = 30.0  # seconds between two chunks of a body

_RESPONSE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class SecurityMiddleware:
    """Rejects requests from elsewhere, without a valid key or with a large body, and logs every request."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: APIKeys,
        limits: Limits,
        metrics: Metrics,
        is_local: bool,
        allowed_origins: tuple[str, ...] = (),
        paths: Collection[str] = (),
    ) -> None:
        """`is_local` says that the server listens on the loopback interface only. `paths` are the known fixed paths.

        A request that is rejected here has no route yet: it is logged under its path only if that is in `paths`.
        """
        self._app, self._keys, self._limits, self._metrics = app, keys, limits, metrics
        self._is_local, self._allowed_origins, self._paths = is_local, allowed_origins, frozenset(paths)
        self._held_bytes = 0  # of all bodies that are being received or answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, owner = time.monotonic(), 0, ""
        request_id = secrets.token_hex(8)

        async def send_with_headers(message: Scope) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = (b"x-request-id", request_id.encode())
                message["headers"] = [*message["headers"], own, *_RESPONSE_HEADERS]
            await send(message)

        try:
            owner = self._authorize(scope, request_headers(scope))
            scope["state"] = {**scope.get("state", {}), "owner": owner, "request_id": request_id}
            with self._limit_body(receive, self._max_body_bytes(scope)) as limited:
                await self._app(scope, limited, send_with_headers)
        except HTTPProblem as error:
            document = document_of_http_problem(error, scope["path"])
            response = JSONResponse(document, error.status, error.headers, media_type=MEDIA_TYPE)
            await response(scope, receive, send_with_headers)
        finally:
            seconds = time.monotonic() - started
            path = getattr(scope.get("route"), "path", scope["path"] if scope["path"] in self._paths else "other")
            self._metrics.requests.labels(path, _method(scope), str(status)).inc()
            self._metrics.request_seconds.labels(path).observe(seconds)
            log.info("%s %s %s %d %.3f s %s", request_id, _method(scope), path, status, seconds, owner or "-")

    def _authorize(self, scope: Scope, headers: dict[str, str]) -> str:
        """Return the name of the request's API key, empty if none is needed. Raises HTTPProblem 401, 403 or 413."""
        if self._is_local and not self._keys:
            self._check_host_and_origin(headers)
        size, max_bytes = declared_body_size(headers), self._max_body_bytes(scope)
        if size is not None and size > max_bytes:
            raise _too_large(max_bytes)
        path = scope["path"]
        if not self._keys or path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIX) or scope["method"] == "OPTIONS":
            return ""
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        key = credentials.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        owner = self._keys.owner(key) if key else None
        if owner is None:
            what = "the API key is wrong" if key else "the request has no API key"
            challenge = {"WWW-Authenticate": 'Bearer realm="rolesum"'}
            raise HTTPProblem(401, what, fix="send the header Authorization: Bearer KEY", headers=challenge)
        return owner

    def _check_host_and_origin(self, headers: dict[str, str]) -> None:
        """Raise HTTPProblem 403 unless a program or page of this machine sent the request: there are no keys."""
        if not is_local_host(headers):
            what = f'the Host header "{headers.get("host", "")[:100]}" does not name this machine'
            raise HTTPProblem(403, what, fix="start the server with API keys: --keys FILE")
        if is_cross_site(headers, self._allowed_origins):
            what = "a page of another site may not use this server"
            raise HTTPProblem(403, what, fix="start the server with --cors-origin and --keys")

    def _max_body_bytes(self, scope: Scope) -> int:
        return self._limits.max_batch_bytes if scope["path"] == BATCHES_PATH else self._limits.max_body_bytes

    @contextmanager
    def _limit_body(self, receive: Receive, max_bytes: int) -> Iterator[Receive]:
        """Yield a `receive` that counts the bytes that come, whatever Content-Length says, and limits their time.

        The bytes of all bodies together are limited too: they are held until the end of the block.
        """
        received = 0
        is_complete = False
        deadline = time.monotonic() + self._limits.timeout

        async def limited() -> Scope:
            nonlocal received, is_complete
            if is_complete:
                return await receive()
            try:
                with anyio.fail_after(min(BODY_CHUNK_TIMEOUT, deadline - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the body did not arrive in time") from None
            size = len(message.get("body", b""))
            received += size
            self._held_bytes += size
            if received > max_bytes:
                raise HTTPException(413, _too_large(max_bytes).problem.what)
            if self._held_bytes > self._limits.max_total_body_bytes:
                raise HTTPException(503, "too many large bodies at once", {"Retry-After": "5"})
            is_complete = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        try:
            yield limited
        finally:
            self._held_bytes -= received


def _method(scope: Scope) -> str:
    """The method, or "other": what a client makes up does not become a metric."""
    return scope["method"] if scope["method"] in _METHODS else "other"


def _too_large(max_bytes: int) -> HTTPProblem:
    return HTTPProblem(413, f"the body has more than {max_bytes:,} bytes", fix="send less in one request")
