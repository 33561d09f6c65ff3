"""Creates the ASGI application: routes, error handlers, middleware."""

import os
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
from rolesum.http_security import ASGIApp
from rolesum.os_errors import errno_of, os_error
from rolesum.server.admission import RETRY_AFTER, AdmissionController
from rolesum.server.auth import APIKeys
from rolesum.server.jobs.worker import BatchWorker
from rolesum.server.middleware import SecurityMiddleware
from rolesum.server.openapi import complete_openapi
from rolesum.server.problems import (
    MEDIA_TYPE,
    HTTPProblem,
    document_of_error,
    document_of_http_problem,
    problem_document,
    title,
)
from rolesum.server.routes import (
    batches,
    openai_chat,
    openai_completions,
    openai_responses,
    page,
    sessions,
    summaries,
    system,
)

DESCRIPTION = """Summaries of a dialogue for each of its roles.

Errors are RFC 9457 problem documents: `detail` says what happened, `where` the place, `fix` how to fix it.
If the server has API keys, send `Authorization: Bearer KEY`."""


class _API(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = complete_openapi(super().openapi())
        return self.openapi_schema


def create_app(
    admission: AdmissionController,
    batch_worker: BatchWorker,
    keys: APIKeys,
    *,
    is_local: bool = True,
    allowed_origins: tuple[str, ...] = (),
) -> ASGIApp:
    """Return the server as an ASGI application, which starts and stops the batch worker.

    `is_local` says that it listens on the loopback interface only. `allowed_origins` are other sites whose pages may
    use it (CORS).
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batch_worker.start()
        try:
            yield
        finally:
            batch_worker.stop()
            admission.parsers.close()

    app = _API(
        title="rolesum",
        version=metadata.version("rolesum"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.admission, app.state.batch_worker = admission, batch_worker
    for module in (
        summaries,
        sessions,
        batches,
        openai_chat,
        openai_completions,
        openai_responses,
        system,
        page,
    ):
        app.include_router(module.router)
    _add_error_handlers(app, admission)
    secured = SecurityMiddleware(
        app,
        keys=keys,
        limits=admission.limits,
        metrics=admission.metrics,
        is_local=is_local,
        allowed_origins=allowed_origins,
        paths=[path for path in app.openapi()["paths"] if "{" not in path],
    )
    if not allowed_origins:
        return secured
    return CORSMiddleware(  # outermost, so that a page of an allowed site can read the middleware's errors too
        secured,
        allow_origins=list(allowed_origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "X-Api-Key", "Idempotency-Key"],
        expose_headers=["Location", "Retry-After", "X-Request-Id"],
    )


def _add_error_handlers(app: FastAPI, admission: AdmissionController) -> None:
    """Answer every error with a problem document."""

    def respond(document: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
        return JSONResponse(document, document["status"], headers, media_type=MEDIA_TYPE)

    @app.exception_handler(RolesumError)
    async def _rolesum_error(request: Request, error: RolesumError) -> Response:
        document = document_of_error(error, request.url.path)
        return respond(document, {"Retry-After": RETRY_AFTER} if document["status"] == 503 else None)

    @app.exception_handler(HTTPProblem)
    async def _http_problem(request: Request, error: HTTPProblem) -> Response:
        return respond(document_of_http_problem(error, request.url.path), error.headers)

    @app.exception_handler(RequestCanceled)
    async def _request_canceled(request: Request, _: RequestCanceled) -> Response:
        admission.metrics.canceled_requests.inc()
        what = "the request was canceled: the server is shutting down, or the client disconnected"
        headers = {"Retry-After": RETRY_AFTER}
        error = HTTPProblem(503, what, fix="send the request again", headers=headers)
        return respond(document_of_http_problem(error, request.url.path), error.headers)

    @app.exception_handler(ClientDisconnect)
    async def _client_disconnect(_: Request, __: ClientDisconnect) -> Response:
        admission.metrics.canceled_requests.inc()
        return Response(status_code=400)  # the client is gone

    @app.exception_handler(RequestValidationError)
    async def _validation_error(request: Request, error: RequestValidationError) -> Response:
        problems = [Problem.from_pydantic(detail, fix="see /openapi.json") for detail in error.errors()]
        return respond(problem_document(422, problems, instance=request.url.path))

    @app.exception_handler(HTTPException)
    async def _framework_error(request: Request, error: HTTPException) -> Response:
        has_own_text = error.status_code in (400, 408, 413, 503)
        what = str(error.detail) if has_own_text else title(error.status_code)
        problem = Problem(what, request.url.path, "see /openapi.json")
        document = problem_document(error.status_code, [problem], instance=request.url.path)
        return respond(document, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def _unexpected_error(request: Request, error: Exception) -> Response:
        fix = "send the request again; the server's log says more"
        if (number := errno_of(error)) is not None:  # without the names of the server's files
            bare = OSError(number, os.strerror(number) if number > 0 else "a file could not be written")
            return respond(document_of_error(os_error(bare, "the server failed", then=fix), request.url.path))
        problem = Problem("the server failed", request.url.path, fix)
        return respond(problem_document(500, [problem], instance=request.url.path))
