"""POST /v1/summaries: one dialogue in, one summary per role out. POST /v1/dialogues: read without summarizing."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from rolesum.generation.async_engine import EngineClient
from rolesum.generation.engine import OnText
from rolesum.generation.long_dialogues.runner import OnPart
from rolesum.server.admission import AdmissionController
from rolesum.server.openapi import error_responses, event_stream, request_body
from rolesum.server.parsed_requests import parse_reading, parse_summary, write_document
from rolesum.server.request_body import read_body
from rolesum.server.schemas import DialoguesOut, DocumentRequest, ReadRequest, SummariesOut, SummaryRequest
from rolesum.server.served_model import ServedModel, SummaryJob
from rolesum.server.sse import Event, stream_events

router = APIRouter(tags=["summaries"])

DOCUMENT_TYPES = {
    "md": "text/markdown; charset=utf-8",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}
SUMMARY_EVENTS = event_stream("progress", "text", "summary", "done", "error")


@router.post(
    "/v1/summaries",
    response_model=SummariesOut,
    openapi_extra=request_body(SummaryRequest, form=True),
    responses=error_responses(400, 401, 404, 413, 415, 422, 429, 503, 504) | SUMMARY_EVENTS,
)
async def summarize(request: Request) -> Any:
    """Summarize one dialogue for each of its roles.

    With `stream`, the response consists of server-sent events: `progress` {part, parts} says how many parts of a long
    dialogue were read, `text` {role, text} adds to a summary, `summary` is a
    complete one, `done` the whole response, `error` a problem document.
    """
    admission: AdmissionController = request.app.state.admission
    body = await read_body(request, admission.limits)
    with ExitStack() as admitted:
        admitted.enter_context(admission.acquire(request.state.owner))
        parsed = await admission.parsers.parse(parse_summary, body, admission.parsing_context)
        model = admission.model(parsed.model)
        # checked before a stream begins, so that errors have a status of their own
        job = await admission.prepare(partial(model.create_job, parsed.dialogue, parsed.options, admission.limits))
        run = partial(run_job, admission, model, job)
        if not parsed.stream:
            return await admission.run_until_disconnect(request, model, run)
        return stream_job(admission, model, job, run, admitted.pop_all(), request.url.path)


def run_job(
    admission: AdmissionController,
    model: ServedModel,
    job: SummaryJob,
    client: EngineClient,
    on_text: OnText | None = None,
    on_part: OnPart | None = None,
) -> SummariesOut:
    """Generate the summaries of a job, in a thread, and count them in the metrics."""
    summaries = model.summarize(job, client, on_text, on_part)
    admission.metrics.count(summaries)
    return summaries


def stream_job(
    admission: AdmissionController,
    model: ServedModel,
    job: SummaryJob,
    run: Callable[..., SummariesOut],
    admitted: ExitStack,
    path: str,
) -> Response:
    """Answer the request of `path` with the events of `run`, which does the job; `admitted` is closed at the end."""

    def text_event(role: int, added: str) -> Event:
        return "text", {"role": job.roles[role], "text": added}

    def final_events(summaries: SummariesOut) -> list[Event]:
        events: list[Event] = [("summary", summary.model_dump()) for summary in summaries.summaries]
        return [*events, ("done", summaries.model_dump())]

    return stream_events(
        admission,
        model,
        run,
        admitted,
        text_event=text_event,
        part_event=lambda part, parts: ("progress", {"part": part, "parts": parts}),
        final_events=final_events,
        error_events=lambda document: [("error", document)],
        path=path,
    )


@router.post(
    "/v1/documents",
    response_class=Response,
    openapi_extra=request_body(DocumentRequest),
    responses=error_responses(400, 401, 413, 415, 422, 429, 503)
    | {200: {"content": {kind: {"schema": {"type": "string"}} for kind in DOCUMENT_TYPES.values()}}},
)
async def write_document_file(request: Request) -> Response:
    """Write summaries as a document: each with its doubtful statements marked, evidence, and the transcript."""
    admission: AdmissionController = request.app.state.admission
    body = await read_body(request, admission.limits)
    with admission.acquire(request.state.owner):
        content, kind = await admission.parsers.parse(write_document, body, admission.parsing_context)
    headers = {"Content-Disposition": f'attachment; filename="summaries.{kind}"'}
    return Response(content, media_type=DOCUMENT_TYPES[kind], headers=headers)


@router.post(
    "/v1/dialogues",
    response_model=DialoguesOut,
    openapi_extra=request_body(ReadRequest, form=True),
    responses=error_responses(400, 401, 413, 415, 422, 429, 503),
)
async def read_dialogues(request: Request) -> Response:
    """Read a text or a file without summarizing it: its format, dialogues, turns, speakers and their roles."""
    admission: AdmissionController = request.app.state.admission
    body = await read_body(request, admission.limits)
    with admission.acquire(request.state.owner):
        content = await admission.parsers.parse(parse_reading, body, admission.parsing_context)
    return Response(content, media_type="application/json")
