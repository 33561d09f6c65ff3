"""/v1/batches: many dialogues, summarized in the background and kept until they are deleted, or for a time."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from rolesum.server.admission import AdmissionController
from rolesum.server.jobs.worker import BatchWorker
from rolesum.server.openapi import error_responses, request_body
from rolesum.server.parsed_requests import ParsedBatch, parse_batch
from rolesum.server.request_body import read_body
from rolesum.server.schemas import BatchesOut, BatchOut, BatchRequest, ResultsOut

router = APIRouter(prefix="/v1/batches", tags=["batches"])

DEFAULT_LIMIT = 100  # batches or results in one response


@router.post(
    "",
    status_code=202,
    response_model=BatchOut,
    openapi_extra=request_body(BatchRequest, form=True),
    responses=error_responses(400, 401, 404, 409, 413, 415, 422, 429, 503, 504),
)
async def create_batch(
    request: Request,
    response: Response,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> Any:
    """Accept dialogues, or a file of them, to summarize in the background.

    A request that repeats an Idempotency-Key returns the batch that the first one created.
    """
    admission, _, owner = _state(request)
    body = await read_body(request, admission.limits)
    with admission.acquire(owner):
        parsed = await admission.parsers.parse_batch(parse_batch, body, admission.parsing_context)
        batch = await admission.prepare(lambda: _create(request, parsed, idempotency_key))
    response.headers["Location"] = f"/v1/batches/{batch.id}"
    return batch


def _create(request: Request, parsed: ParsedBatch, idempotency_key: str | None) -> BatchOut:
    admission, worker, owner = _state(request)
    admission.model(parsed.model).create_config(parsed.parameters, admission.limits)
    if parsed.webhook_url:
        worker.upkeep.check_webhook(parsed.webhook_url)
    identity = worker.store.add(
        owner,
        parsed.model,
        parsed.options,
        parsed.lines,
        digest=parsed.digest,
        idempotency_key=idempotency_key,
        webhook=parsed.webhook_url or None,
    )
    worker.wake()
    return worker.store.batch(identity, owner)


@router.get("", responses=error_responses(401, 422, 503))
def list_batches(request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = DEFAULT_LIMIT) -> BatchesOut:
    """The newest batches of this API key, the newest first."""
    _, worker, owner = _state(request)
    return BatchesOut(batches=worker.store.batches(owner, limit))


@router.get("/{identity}", responses=error_responses(401, 404, 503))
def get_batch(request: Request, identity: str) -> BatchOut:
    """The state of a batch."""
    _, worker, owner = _state(request)
    return worker.store.batch(identity, owner)


@router.get("/{identity}/results", responses=error_responses(401, 404, 422, 503))
def get_results(
    request: Request,
    identity: str,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = DEFAULT_LIMIT,
) -> ResultsOut:
    """A page of a batch's results, in input order; unfinished ones have the status `waiting`."""
    _, worker, owner = _state(request)
    total = worker.store.batch(identity, owner).total
    end = offset + limit
    return ResultsOut(results=worker.store.results(identity, offset, limit), next=end if end < total else None)


@router.get(
    "/{identity}/results.jsonl",
    response_class=StreamingResponse,
    responses=error_responses(401, 404, 503)
    | {200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
def download_results(request: Request, identity: str) -> StreamingResponse:
    """All results of a batch as JSON lines."""
    _, worker, owner = _state(request)
    total = worker.store.batch(identity, owner).total

    def lines() -> Iterator[str]:
        for offset in range(0, total, DEFAULT_LIMIT):
            for result in worker.store.results(identity, offset, DEFAULT_LIMIT):
                yield result.model_dump_json() + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


@router.post("/{identity}/cancel", responses=error_responses(401, 404, 503))
def cancel_batch(request: Request, identity: str) -> BatchOut:
    """Cancel a batch; results that are done stay."""
    _, worker, owner = _state(request)
    if worker.store.batch(identity, owner).ended is None:
        worker.cancel(identity, worker.store.cancel)
    return worker.store.batch(identity, owner)


@router.delete("/{identity}", status_code=204, responses=error_responses(401, 404, 503))
def delete_batch(request: Request, identity: str) -> None:
    """Cancel a batch and delete it with its results."""
    _, worker, owner = _state(request)
    worker.store.batch(identity, owner)
    worker.cancel(identity, worker.store.delete)


def _state(request: Request) -> tuple[AdmissionController, BatchWorker, str]:
    """The admission controller, the batch worker, and the owner of the request's API key."""
    return request.app.state.admission, request.app.state.batch_worker, request.state.owner
