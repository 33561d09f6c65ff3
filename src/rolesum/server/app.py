"""The HTTP API, put together: one function per path, each hands on to the part that does the work."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from rolesum.errors import Problem, RolesumError
from rolesum.generation.async_engine import RequestCanceled
from rolesum.server.admission import AdmissionController
from rolesum.server.auth import Keys
from rolesum.server.jobs.worker import Bulk
from rolesum.server.middleware import Gate
from rolesum.server.openapi import with_bodies
from rolesum.server.problems import MEDIA_TYPE, TITLES, Refusal, document, of_error, of_refusal
from rolesum.server.routes import batches, openai_chat, page, summaries, system

DESCRIPTION = """Summaries of a dialogue for each of its roles.

Errors are RFC 9457 problem documents that say what happened, where, and what to do.
With keys, send `Authorization: Bearer KEY`."""


class _Api(FastAPI):
    """With the bodies that are read by hand in its OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = with_bodies(super().openapi())
        return self.openapi_schema


def application(
    house: AdmissionController, bulk: Bulk, keys: Keys, *, is_local: bool = True, origins: tuple[str, ...] = ()
) -> Any:
    """The service as an ASGI application."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        bulk.start()
        try:
            yield
        finally:
            bulk.stop()

    app = _Api(
        title="rolesum",
        version=metadata.version("rolesum"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.house, app.state.bulk = house, bulk
    for part in (summaries, batches, openai_chat, system, page):
        app.include_router(part.router)
    _tell_errors(app)
    paths = [path for path in app.openapi()["paths"] if "{" not in path]
    gate = Gate(
        app, keys=keys, limits=house.limits, metrics=house.metrics, is_local=is_local, origins=origins, paths=paths
    )
    if not origins:
        return gate
    return CORSMiddleware(  # outside, so that another site's page can read what the gate says too
        gate,
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "X-Api-Key", "Idempotency-Key"],
        expose_headers=["Location", "Retry-After", "X-Request-Id"],
    )


def _tell_errors(app: FastAPI) -> None:
    """Every error as a problem document; see problems."""

    def told(found: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
        return JSONResponse(found, found["status"], headers, media_type=MEDIA_TYPE)

    @app.exception_handler(RolesumError)
    async def _ours(request: Request, error: RolesumError) -> Response:
        return told(of_error(error, request.url.path))

    @app.exception_handler(Refusal)
    async def _refused(request: Request, refusal: Refusal) -> Response:
        return told(of_refusal(refusal, request.url.path), refusal.headers)

    @app.exception_handler(RequestCanceled)
    async def _withdrawn(request: Request, _: RequestCanceled) -> Response:
        request.app.state.house.metrics.withdrawn.inc()
        refusal = Refusal(503, "the service is ending, or nobody waits", fix="ask again", headers={"Retry-After": "5"})
        return told(of_refusal(refusal, request.url.path), refusal.headers)

    @app.exception_handler(ClientDisconnect)
    async def _gone(request: Request, _: ClientDisconnect) -> Response:
        request.app.state.house.metrics.withdrawn.inc()
        return Response(status_code=400)  # which nobody reads

    @app.exception_handler(RequestValidationError)
    async def _not_valid(request: Request, error: RequestValidationError) -> Response:
        problems = [Problem.from_pydantic(one, fix="see /openapi.json") for one in error.errors()]
        return told(document(422, problems, instance=request.url.path))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        what = (
            str(error.detail) if error.status_code in (400, 408, 413, 503) else TITLES.get(error.status_code, "failed")
        )
        found = document(error.status_code, [Problem(what, request.url.path, "see /openapi.json")])
        return told(found, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def _failed(request: Request, _: Exception) -> Response:
        problem = Problem("the service failed", request.url.path, "ask again; the service's log says more")
        return told(document(500, [problem], instance=request.url.path))
