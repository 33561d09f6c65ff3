"""/v1/batches: many dialogues, summarized in the background and kept until they are deleted."""

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from rolesum.formats.jsonl import to_json
from rolesum.server.admission import AdmissionController
from rolesum.server.jobs.worker import Bulk
from rolesum.server.openapi import body_of, errors
from rolesum.server.reading import Upload, read, roles_named, sections_named, source_from
from rolesum.server.request_parsing import sent_with
from rolesum.server.schemas import BatchesOut, BatchOut, BatchRequest, ResultsOut
from rolesum.server.served_model import decoding_of

router = APIRouter(prefix="/v1/batches", tags=["batches"])

PAGE = 100


@router.post(
    "",
    status_code=202,
    response_model=BatchOut,
    openapi_extra=body_of(BatchRequest, form=True),
    responses=errors(400, 401, 404, 409, 413, 415, 422, 429, 503, 504),
)
async def add(
    request: Request,
    response: Response,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> Any:
    """Accept dialogues, or a file of them, to be summarized in the background.

    With an Idempotency-Key, a batch that is sent again is the one that was sent before.
    """
    house, _, owner = _parts(request)
    sent = await sent_with(request, house.limits)
    with house.acquire(owner):
        made = await house.read_many(lambda: _add(request, sent.asked(BatchRequest), sent.upload, idempotency_key))
    response.headers["Location"] = f"/v1/batches/{made.id}"
    return made


def _add(request: Request, asked: BatchRequest, upload: Upload | None, mark: str | None) -> BatchOut:
    house, bulk, owner = _parts(request)
    served = house.model(asked.model)
    aliases = served.aliases(sections_named(asked.sections))
    roles_named(asked, aliases, house.limits)
    decoding_of(asked.options, house.limits)
    source = source_from(house.limits, dialogues=asked.dialogues or (), text=asked.text, upload=upload)
    _, found = read(source, house.limits, asked, aliases=aliases, most=house.limits.dialogues)
    wishes = asked.model_dump_json(include={"roles", "sections", "language", "options"})
    lines = [(one.id, to_json(one)) for one in found]
    digest = hashlib.sha256(json.dumps([served.name, wishes, lines]).encode()).hexdigest()
    identity = bulk.store.add(owner, served.name, wishes, lines, digest, mark)
    bulk.wake()
    return bulk.store.batch(identity, owner)


@router.get("", responses=errors(401, 422))
def listed(request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = PAGE) -> BatchesOut:
    """One's own newest batches, the newest first."""
    _, bulk, owner = _parts(request)
    return BatchesOut(batches=bulk.store.batches(owner, limit))


@router.get("/{identity}", responses=errors(401, 404))
def one(request: Request, identity: str) -> BatchOut:
    """How far a batch is."""
    _, bulk, owner = _parts(request)
    return bulk.store.batch(identity, owner)


@router.get("/{identity}/results", responses=errors(401, 404, 422))
def results(
    request: Request,
    identity: str,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = PAGE,
) -> ResultsOut:
    """A page of a batch's results, in input order; those that are not there yet say so."""
    _, bulk, owner = _parts(request)
    total = bulk.store.batch(identity, owner).total
    end = offset + limit
    return ResultsOut(results=bulk.store.results(identity, offset, limit), next=end if end < total else None)


@router.get(
    "/{identity}/results.jsonl",
    response_class=StreamingResponse,
    responses=errors(401, 404) | {200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
def lines(request: Request, identity: str) -> StreamingResponse:
    """All results of a batch as JSON lines."""
    _, bulk, owner = _parts(request)
    total = bulk.store.batch(identity, owner).total

    def told() -> Iterator[str]:
        for offset in range(0, total, PAGE):
            for found in bulk.store.results(identity, offset, PAGE):
                yield found.model_dump_json() + "\n"

    return StreamingResponse(told(), media_type="application/x-ndjson")


@router.post("/{identity}/cancel", responses=errors(401, 404))
def cancel(request: Request, identity: str) -> BatchOut:
    """Stop a batch; what is done stays."""
    _, bulk, owner = _parts(request)
    if bulk.store.batch(identity, owner).ended is None:
        bulk.cancel(identity, bulk.store.cancel)
    return bulk.store.batch(identity, owner)


@router.delete("/{identity}", status_code=204, responses=errors(401, 404))
def delete(request: Request, identity: str) -> None:
    """Stop a batch and remove it with all its results."""
    _, bulk, owner = _parts(request)
    bulk.store.batch(identity, owner)
    bulk.cancel(identity, bulk.store.delete)


def _parts(request: Request) -> tuple[AdmissionController, Bulk, str]:
    return request.app.state.house, request.app.state.bulk, request.state.owner
