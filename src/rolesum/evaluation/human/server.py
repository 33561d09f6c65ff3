"""The page over HTTP: FastAPI on a socket of this machine, for same-origin JSON only."""

import json
import secrets
import threading
import webbrowser
from collections.abc import Awaitable, Callable, MutableMapping
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from rolesum.errors import ResourceError, RolesumError, UsageError
from rolesum.evaluation.human.session import AnnotationSession
from rolesum.sockets import bind_socket, hostname, is_loopback, socket_url

DEFAULT_PORT = 8765
MAX_BODY_BYTES = 65_536  # of a request
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(max_length=200)

    @field_validator("name")
    @classmethod
    def _can_be_written(cls, name: str) -> str:
        name.encode()  # UnicodeEncodeError, a ValueError, for half of an emoji
        return name


class _Placed(_Asked):
    place: int


class _Rating(_Placed):
    label: str
    criterion: str
    value: int


class _Choice(_Placed):
    choice: str


class AnnotationServer:
    """The bound server: `url` is where annotators go, `run` serves until Ctrl-C or `stop`.

    Port 0 takes a free one. On a host that other machines can reach, the address holds a token, new at each start.
    Raises UsageError where FastAPI is not installed, ResourceError where the port is taken.
    """

    def __init__(self, desk: AnnotationSession, host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> None:
        try:
            import fastapi  # noqa: F401
            import uvicorn
        except ImportError:
            raise UsageError("the web server is not installed", fix="pip install 'rolesum[server]'") from None
        self.is_local = is_loopback(host)
        self._socket = bind_socket(host, port)
        self._socket.listen(128)
        self.token = None if self.is_local else secrets.token_urlsafe(16)
        asked = f"?token={quote(self.token)}" if self.token else ""
        self.url = f"{socket_url(self._socket, host)}/{asked}"
        config = uvicorn.Config(
            Gate(_application(desk), self.token),
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


class Gate:
    """Lets in what the page itself sends: a known host, the same origin, JSON of a sane size, and the token if any."""

    def __init__(self, inner: Any, token: str | None) -> None:
        self._inner, self._token = inner, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := self._refusal(scope, headers):
            await _refuse(send, *refusal)
        else:
            await self._inner(scope, receive, send)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self._token is None:
            if not is_loopback(hostname(host)):  # a foreign name that leads here: DNS rebinding
                return 403, "this page is for this machine only"
        else:
            asked = headers.get("x-token") or parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if not secrets.compare_digest(asked.encode(), self._token.encode()):
                return 403, "the address lacks its token: use the whole address that rolesum annotate printed"
        if scope["method"] in ("GET", "HEAD"):
            return None
        origin = headers.get("origin")
        if (origin is not None and urlsplit(origin).netloc != host) or headers.get("sec-fetch-site") == "cross-site":
            return 403, "another site may not answer here"
        if headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return 415, "only JSON is taken"
        length = headers.get("content-length", "")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            return 413, "too much at once"
        return None


def _application(desk: AnnotationSession) -> Any:
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse, Response

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    page = (resources.files(__package__) / "page.html").read_text(encoding="utf-8")

    @app.exception_handler(RolesumError)
    async def _failed(_: Request, error: RolesumError) -> JSONResponse:
        first = error.problems[0]
        status = 503 if isinstance(error, ResourceError) else 400
        return JSONResponse({"error": first.what, "fix": first.fix}, status, headers={"Cache-Control": "no-store"})

    @app.exception_handler(RequestValidationError)
    async def _not_asked(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": "this is not what the page asks", "fix": "reload the page"}, 422)

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

    def told(value: Any) -> Response:
        return JSONResponse(value, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})

    @app.post("/api/start")
    def _start(asked: _Asked) -> Response:
        return told(desk.start(asked.name))

    @app.post("/api/task")
    def _task(asked: _Placed) -> Response:
        return told(desk.task(asked.name, asked.place))

    @app.post("/api/rate")
    def _rate(asked: _Rating) -> Response:
        return told(desk.rate(**asked.model_dump()))

    @app.post("/api/prefer")
    def _prefer(asked: _Choice) -> Response:
        return told(desk.prefer(**asked.model_dump()))

    @app.post("/api/undo")
    def _undo(asked: _Asked) -> Response:
        return told(desk.undo(asked.name))

    return app


async def _refuse(send: Send, status: int, what: str) -> None:
    body = json.dumps({"error": what, "fix": ""}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
