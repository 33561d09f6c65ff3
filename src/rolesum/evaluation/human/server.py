"""The HTTP server of the annotation page: FastAPI, for requests of the page itself only."""

import secrets
import threading
import webbrowser
from collections.abc import Mapping
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, quote

from pydantic import BaseModel, ConfigDict, Field, field_validator

from rolesum import strict_json
from rolesum.errors import ResourceError, RolesumError, UsageError
from rolesum.evaluation.human.session import AnnotationSession
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
from rolesum.sockets import bind_socket, is_loopback, socket_url

DEFAULT_PORT = 8765
MAX_BODY_BYTES = 65_536  # of a request


class _NameBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(max_length=200)

    @field_validator("name")
    @classmethod
    def _is_encodable(cls, name: str) -> str:
        name.encode()  # UnicodeEncodeError, a ValueError, for half of an emoji
        return name


class _TaskBody(_NameBody):
    place: int


class _RatingBody(_TaskBody):
    label: str
    criterion: str
    value: int


class _PreferenceBody(_TaskBody):
    choice: str


class AnnotationServer:
    """The bound server: `url` is where annotators go, `run` serves until Ctrl-C or `stop`.

    Port 0 takes a free one. On a host that other machines can reach, the address holds a token, new at each start.
    Raises UsageError where FastAPI is not installed, ResourceError where the port is taken.
    """

    def __init__(self, session: AnnotationSession, host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> None:
        try:
            import fastapi  # noqa: F401
            import uvicorn
        except ImportError:
            raise UsageError("the web server is not installed", fix="pip install 'rolesum[server]'") from None
        self.is_local = is_loopback(host)
        self._socket = bind_socket(host, port)
        self._socket.listen(128)
        self.token = None if self.is_local else secrets.token_urlsafe(16)
        query = f"?token={quote(self.token)}" if self.token else ""
        self.url = f"{socket_url(self._socket, host)}/{query}"
        config = uvicorn.Config(
            _RequestFilter(_application(session), self.token),
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)

    def run(self, open_page: bool = False) -> None:
        """Serve until Ctrl-C or `stop`; with `open_page`, show the page in the browser of this machine."""
        if open_page and self.is_local:
            threading.Thread(target=webbrowser.open, args=(self.url,), daemon=True).start()
        try:
            self._server.run(sockets=[self._socket])
        except KeyboardInterrupt:
            pass
        finally:
            self._socket.close()

    def stop(self) -> None:
        self._server.should_exit = True


class _RequestFilter:
    """ASGI middleware that rejects what the page itself does not send.

    A request needs a Host of this machine or, if the server has a token, the token. A POST must come from the page's
    own origin and hold JSON of at most MAX_BODY_BYTES.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if rejection := self._rejection(scope, request_headers(scope)):
            await _send_error(send, *rejection)
        else:
            await self._app(scope, receive, send)

    def _rejection(self, scope: Scope, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """The status and the message for a request that is rejected."""
        if self._token is None:
            if not is_local_host(headers):
                return 403, "this page is served to this machine only"
        else:
            query = parse_qs(scope["query_string"].decode("latin-1"))
            given = headers.get("x-token") or query.get("token", [""])[0]
            if not secrets.compare_digest(given.encode(), self._token.encode()):
                return 403, "the address lacks its token: use the whole address that rolesum annotate printed"
        if scope["method"] in ("GET", "HEAD"):
            return None
        if is_cross_site(headers):
            return 403, "requests from the pages of other sites are rejected"
        if headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return 415, "the body must be JSON"
        size = declared_body_size(headers)
        if size is None or size > MAX_BODY_BYTES:
            return 413, f"the body must have a Content-Length of at most {MAX_BODY_BYTES} bytes"
        return None


def _application(session: AnnotationSession) -> Any:
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse, Response

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    page = (resources.files(__package__) / "page.html").read_text(encoding="utf-8")

    @app.exception_handler(RolesumError)
    async def _rolesum_error(_: Request, error: RolesumError) -> JSONResponse:
        first = error.problems[0]
        status = 503 if isinstance(error, ResourceError) else 400
        return JSONResponse({"error": first.what, "fix": first.fix}, status, headers={"Cache-Control": "no-store"})

    @app.exception_handler(RequestValidationError)
    async def _invalid_body(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": "the body is not one that the page sends", "fix": "reload the page"}, 422)

    @app.get("/")
    def _page() -> HTMLResponse:
        nonce = secrets.token_urlsafe(12)
        own = f"style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:"
        none = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        headers = {
            "Content-Security-Policy": f"{none}; {own}",
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        return HTMLResponse(page.replace("NONCE", nonce), headers=headers)

    def no_store(value: Any) -> Response:
        return JSONResponse(value, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})

    @app.post("/api/start")
    def _start(body: _NameBody) -> Response:
        return no_store(session.start(body.name))

    @app.post("/api/task")
    def _task(body: _TaskBody) -> Response:
        return no_store(session.task(body.name, body.place))

    @app.post("/api/rate")
    def _rate(body: _RatingBody) -> Response:
        return no_store(session.rate(**body.model_dump()))

    @app.post("/api/prefer")
    def _prefer(body: _PreferenceBody) -> Response:
        return no_store(session.prefer(**body.model_dump()))

    @app.post("/api/undo")
    def _undo(body: _NameBody) -> Response:
        return no_store(session.undo(body.name))

    return app


async def _send_error(send: Send, status: int, what: str) -> None:
    body = strict_json.dumps({"error": what, "fix": ""}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
