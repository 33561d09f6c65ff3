"""POST /v1/summaries and POST /v1/dialogues: one dialogue in, a summary per role out; or how a text is read."""

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
from rolesum.server.openapi import body_of, errors, event_stream
from rolesum.server.reading import Upload, read, sections_named, source_from
from rolesum.server.request_parsing import sent_with
from rolesum.server.schemas import (
    DialogueOut,
    DialoguesOut,
    ReadRequest,
    SummariesOut,
    SummaryRequest,
    TurnOut,
)
from rolesum.server.served_model import Served, Task
from rolesum.server.sse import Event, stream

router = APIRouter(tags=["summaries"])


@router.post(
    "/v1/summaries",
    response_model=SummariesOut,
    openapi_extra=body_of(SummaryRequest, form=True),
    responses=errors(400, 401, 404, 413, 415, 422, 429, 503, 504) | event_stream("text", "summary", "done", "error"),
)
async def summarize(request: Request) -> Any:
    """Summarize one dialogue for each of its roles.

    With `stream`, server-sent events: `text` {role, text} is what a summary grows by, `summary` a whole one,
    `done` the whole answer, `error` a problem document.
    """
    house: AdmissionController = request.app.state.house
    sent = await sent_with(request, house.limits)
    with ExitStack() as held:
        held.enter_context(house.acquire(request.state.owner))
        asked = await house.read(partial(sent.asked, SummaryRequest))
        served = house.model(asked.model)
        task = await house.read(partial(_task, house, served, asked, sent.upload))  # refused before a stream begins
        if not asked.stream:
            return await house.answer(request, served, partial(_written, house, served, task))
        return _streamed(house, served, task, held.pop_all())


def _streamed(house: AdmissionController, served: Served, task: Task, held: ExitStack) -> Response:
    def growing(role: int, added: str) -> Event:
        return "text", {"role": task.roles[role], "text": added}

    def ended(made: SummariesOut) -> list[Event]:
        each: list[Event] = [("summary", one.model_dump()) for one in made.summaries]
        return [*each, ("done", made.model_dump())]

    def work(seat: EngineClient, on_text: OnText) -> SummariesOut:
        return _written(house, served, task, seat, on_text)

    return stream(house, served, work, held, growing=growing, ended=ended, failed=lambda found: [("error", found)])


def _task(house: AdmissionController, served: Served, asked: SummaryRequest, upload: Upload | None) -> Task:
    dialogues = [asked.dialogue] if asked.dialogue else []
    source = source_from(house.limits, dialogues=dialogues, text=asked.text, upload=upload)
    aliases = served.aliases(sections_named(asked.sections))
    _, found = read(source, house.limits, asked, aliases=aliases, most=1)
    return served.task(found[0], asked, house.limits)


def _written(
    house: AdmissionController, served: Served, task: Task, seat: EngineClient, on_text: OnText | None = None
) -> SummariesOut:
    made = served.write(task, seat, on_text)
    house.metrics.count(made)
    return made


@router.post(
    "/v1/dialogues",
    openapi_extra=body_of(ReadRequest, form=True),
    responses=errors(400, 401, 413, 415, 422, 429, 503, 504),
)
async def read_dialogues(request: Request) -> DialoguesOut:
    """Read a text or a file as dialogues, without summarizing: its format, turns, speakers and their roles."""
    house: AdmissionController = request.app.state.house
    sent = await sent_with(request, house.limits)
    with house.acquire(request.state.owner):
        return await house.read(lambda: _read(house, sent.asked(ReadRequest), sent.upload))


def _read(house: AdmissionController, asked: ReadRequest, upload: Upload | None) -> DialoguesOut:
    source = source_from(
        house.limits, dialogues=[asked.dialogue] if asked.dialogue else [], text=asked.text, upload=upload
    )
    sections = sections_named(asked.sections)
    aliases = house.model(None).aliases(sections)
    name, found = read(source, house.limits, asked, aliases=aliases, most=house.limits.dialogues)
    return DialoguesOut(format=name, total=len(found), dialogues=[_dialogue(one) for one in found[: asked.limit]])


def _dialogue(one: Dialogue) -> DialogueOut:
    return DialogueOut(
        id=one.id,
        language=one.language,
        turns=[TurnOut(speaker=turn.speaker, text=turn.text) for turn in one.turns],
        roles=dict(one.roles),
        suggested=list(default_roles(one)),
    )
