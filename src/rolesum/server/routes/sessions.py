"""/v1/sessions: a dialogue that grows turn by turn and is summarized at any moment."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from rolesum.generation.async_engine import EngineClient
from rolesum.generation.engine import OnText
from rolesum.generation.long_dialogues.runner import OnPart
from rolesum.roles import default_roles
from rolesum.server.admission import AdmissionController
from rolesum.server.openapi import error_responses, request_body
from rolesum.server.parsed_requests import parse_session, parse_session_summary, parse_turns
from rolesum.server.problems import HTTPProblem
from rolesum.server.request_body import read_body
from rolesum.server.routes.summaries import SUMMARY_EVENTS, run_job, stream_job
from rolesum.server.schemas import (
    SessionOut,
    SessionRequest,
    SessionSummariesOut,
    SessionSummaryRequest,
    TurnsRequest,
)
from rolesum.server.served_model import ServedModel, SummaryJob
from rolesum.server.sessions import Session

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])


@router.post(
    "",
    status_code=201,
    response_model=SessionOut,
    openapi_extra=request_body(SessionRequest),
    responses=error_responses(400, 401, 404, 413, 415, 422, 429, 503, 504),
)
async def create_session(request: Request, response: Response) -> Any:
    """Begin a dialogue that grows. The turns that are there already may be sent with it."""
    admission, owner = _state(request)
    body = await read_body(request, admission.limits)
    with admission.acquire(owner):
        admission.sessions.check_room(owner)
        parsed = await admission.parsers.parse(parse_session, body, admission.parsing_context)
        kept = admission.model(parsed.model).engine.new_kept_prefix()
        session = admission.sessions.create(owner, parsed.model, parsed.sections, kept, parsed.sent, parsed.dialogue)
    response.headers["Location"] = f"/v1/sessions/{session.id}"
    return _session_out(admission, session)


@router.get("/{identity}", responses=error_responses(401, 404))
async def get_session(request: Request, identity: str) -> SessionOut:
    """The state of a session. To ask for it counts as a use."""
    admission, owner = _state(request)
    return _session_out(admission, admission.sessions.use(identity, owner))


@router.post(
    "/{identity}/turns",
    response_model=SessionOut,
    openapi_extra=request_body(TurnsRequest),
    responses=error_responses(400, 401, 404, 409, 413, 415, 422, 429, 503),
)
async def append_turns(request: Request, identity: str) -> Any:
    """Append turns to the dialogue. With an error nothing is appended."""
    admission, owner = _state(request)
    session = admission.sessions.use(identity, owner)
    body = await read_body(request, admission.limits)
    with admission.acquire(owner):
        async with session.lock:
            arguments = (session.model, session.sections, session.sent)
            parsed = await admission.parsers.parse(parse_turns, body, admission.parsing_context, *arguments)
            session.sent, session.dialogue = parsed.sent, parsed.dialogue
    return _session_out(admission, session)


@router.post(
    "/{identity}/summaries",
    response_model=SessionSummariesOut,
    openapi_extra=request_body(SessionSummaryRequest),
    responses=error_responses(400, 401, 404, 413, 415, 422, 429, 503, 504) | SUMMARY_EVENTS,
)
async def summarize_session(request: Request, identity: str) -> Any:
    """Summarize the dialogue as it is now, for each of its roles; `stream` as of POST /v1/summaries.

    What the model has read for an earlier summary is not read again: `reused_tokens` says how much.
    """
    admission, owner = _state(request)
    session = admission.sessions.use(identity, owner)
    body = await read_body(request, admission.limits)
    with ExitStack() as admitted:
        admitted.enter_context(admission.acquire(owner))
        asked = await admission.parsers.parse(parse_session_summary, body, admission.parsing_context)
        if session.dialogue is None:
            what = "the session has no turn yet"
            raise HTTPProblem(422, what, fix=f"send turns to /v1/sessions/{session.id}/turns")
        model, options = admission.model(session.model), asked.options_of(session.model, session.sections)
        job = await admission.prepare(partial(model.create_job, session.dialogue, options, admission.limits))
        run = partial(_run_session_job, admission, model, replace(job, kept=session.kept), session)
        _expire_later(admission)
        if asked.stream:
            return stream_job(admission, model, job, run, admitted.pop_all(), request.url.path)
        return await admission.run_until_disconnect(request, model, run)


@router.delete("/{identity}", status_code=204, responses=error_responses(401, 404))
async def delete_session(request: Request, identity: str) -> None:
    """Delete a session: its dialogue and the keys that were kept."""
    admission, owner = _state(request)
    admission.sessions.delete(identity, owner)


def _run_session_job(
    admission: AdmissionController,
    model: ServedModel,
    job: SummaryJob,
    session: Session,
    client: EngineClient,
    on_text: OnText | None = None,
    on_part: OnPart | None = None,
) -> SessionSummariesOut:
    """Run in a thread: generate the summaries, then drop kept keys beyond the memory that sessions may take."""
    found = run_job(admission, model, job, client, on_text, on_part)
    admission.sessions.bound_memory()
    computed, reused = (job.kept.computed, job.kept.reused) if job.kept else (None, 0)
    return SessionSummariesOut(**found.model_dump(), session=session.id, computed_tokens=computed, reused_tokens=reused)


def _session_out(admission: AdmissionController, session: Session) -> SessionOut:
    _expire_later(admission)
    dialogue = session.dialogue
    return SessionOut(
        id=session.id,
        model=session.model,
        turns=session.num_turns,
        language=dialogue.language if dialogue else None,
        roles=dict(dialogue.roles) if dialogue else {},
        suggested=list(default_roles(dialogue)) if dialogue else [],
        expires_in=round(admission.sessions.seconds_left(session), 1),
        cached_bytes=session.cached_bytes,
    )


def _expire_later(admission: AdmissionController) -> None:
    """Delete sessions whose time is over also where no further request comes."""
    asyncio.get_running_loop().call_later(admission.limits.session_timeout + 1, admission.sessions.expire)


def _state(request: Request) -> tuple[AdmissionController, str]:
    """The admission controller, and the owner of the request's API key."""
    return request.app.state.admission, request.state.owner
