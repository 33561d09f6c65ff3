"""POST /v1/summaries: one dialogue in, one summary per role out. POST /v1/dialogues: read without summarizing."""

from contextlib import ExitStack
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from rolesum.dialogue import Dialogue
from rolesum.generation.async_engine import EngineClient
from rolesum.generation.engine import OnText
from rolesum.roles import default_roles
from rolesum.server.admission import AdmissionController
from rolesum.server.openapi import error_responses, event_stream, request_body
from rolesum.server.request_parsing import Upload, load_preset, parse_dialogues, read_body
from rolesum.server.schemas import (
    DialogueOut,
    DialoguesOut,
    ReadRequest,
    SummariesOut,
    SummaryRequest,
    TurnOut,
)
from rolesum.server.served_model import ServedModel, SummaryJob
from rolesum.server.sse import Event, stream_events

router = APIRouter(tags=["summaries"])

_SUMMARY_EVENTS = event_stream("text", "summary", "done", "error")


@router.post(
    "/v1/summaries",
    response_model=SummariesOut,
    openapi_extra=request_body(SummaryRequest, form=True),
    responses=error_responses(400, 401, 404, 413, 415, 422, 429, 503, 504) | _SUMMARY_EVENTS,
)
async def summarize(request: Request) -> Any:
    """Summarize one dialogue for each of its roles.

    With `stream`, the response consists of server-sent events: `text` {role, text} adds to a summary, `summary` is a
    complete one, `done` the whole response, `error` a problem document.
    """
    admission: AdmissionController = request.app.state.admission
    body = await read_body(request, admission.limits)
    with ExitStack() as admitted:
        admitted.enter_context(admission.acquire(request.state.owner))
        options = await admission.parse(partial(body.parse, SummaryRequest))
        model = admission.model(options.model)
        # parsed and checked before a stream begins, so that errors have a status of their own
        job = await admission.parse(partial(_create_job, admission, model, options, body.upload))
        if not options.stream:
            return await admission.run_until_disconnect(request, model, partial(_summarize, admission, model, job))
        return _stream(admission, model, job, admitted.pop_all())


def _create_job(
    admission: AdmissionController, model: ServedModel, options: SummaryRequest, upload: Upload | None
) -> SummaryJob:
    _, (dialogue,) = parse_dialogues(
        options,
        admission.limits,
        dialogues=[options.dialogue] if options.dialogue else [],
        upload=upload,
        aliases=model.aliases(load_preset(options.sections)),
        max_dialogues=1,
    )
    return model.create_job(dialogue, options, admission.limits)


def _summarize(
    admission: AdmissionController,
    model: ServedModel,
    job: SummaryJob,
    client: EngineClient,
    on_text: OnText | None = None,
) -> SummariesOut:
    summaries = model.summarize(job, client, on_text)
    admission.metrics.count(summaries)
    return summaries


def _stream(admission: AdmissionController, model: ServedModel, job: SummaryJob, admitted: ExitStack) -> Response:
    def text_event(role: int, added: str) -> Event:
        return "text", {"role": job.roles[role], "text": added}

    def final_events(summaries: SummariesOut) -> list[Event]:
        events: list[Event] = [("summary", summary.model_dump()) for summary in summaries.summaries]
        return [*events, ("done", summaries.model_dump())]

    return stream_events(
        admission,
        model,
        partial(_summarize, admission, model, job),
        admitted,
        text_event=text_event,
        final_events=final_events,
        error_events=lambda document: [("error", document)],
    )


@router.post(
    "/v1/dialogues",
    openapi_extra=request_body(ReadRequest, form=True),
    responses=error_responses(400, 401, 413, 415, 422, 429, 503, 504),
)
async def read_dialogues(request: Request) -> DialoguesOut:
    """Read a text or a file without summarizing it: its format, dialogues, turns, speakers and their roles."""
    admission: AdmissionController = request.app.state.admission
    body = await read_body(request, admission.limits)
    with admission.acquire(request.state.owner):
        return await admission.parse(lambda: _read(admission, body.parse(ReadRequest), body.upload))


def _read(admission: AdmissionController, options: ReadRequest, upload: Upload | None) -> DialoguesOut:
    file_format, dialogues = parse_dialogues(
        options,
        admission.limits,
        dialogues=[options.dialogue] if options.dialogue else [],
        upload=upload,
        aliases=admission.model(None).aliases(load_preset(options.sections)),
        max_dialogues=admission.limits.max_batch_dialogues,
    )
    shown = [_dialogue_out(dialogue) for dialogue in dialogues[: options.limit]]
    return DialoguesOut(format=file_format, total=len(dialogues), dialogues=shown)


def _dialogue_out(dialogue: Dialogue) -> DialogueOut:
    return DialogueOut(
        id=dialogue.id,
        language=dialogue.language,
        turns=[TurnOut(speaker=turn.speaker, text=turn.text) for turn in dialogue.turns],
        roles=dict(dialogue.roles),
        suggested=list(default_roles(dialogue)),
    )
