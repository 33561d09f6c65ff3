"""The part of OpenAI's API that a summarizer can offer: /v1/models and /v1/chat/completions.

NAME:ROLE takes a transcript as the last user message and answers with that role's summary. NAME, a model's own name,
answers the messages themselves.
"""

import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from fastapi import APIRouter, Request

from rolesum.dialogue import Dialogue, Turn
from rolesum.generation.async_engine import EngineClient
from rolesum.generation.engine import OnText
from rolesum.instructions import Prompt, Segment
from rolesum.server.admission import AdmissionController
from rolesum.server.chat_schemas import ChatRequest
from rolesum.server.openapi import error_responses, event_stream, request_body
from rolesum.server.parsed_requests import ALL_ROLES, ParsedChat, find_model_and_role, names_by_role, parse_chat
from rolesum.server.schemas import SummaryOptions
from rolesum.server.served_model import ServedModel, to_decoding
from rolesum.server.sse import Event, EventStream, stream_events

router = APIRouter(prefix="/v1", tags=["OpenAI"])

END_EVENT: Event = (None, "[DONE]")


@dataclass(frozen=True)
class ChatAnswer:
    """The text of an answer, with the numbers of tokens that OpenAI's API reports."""

    text: str
    completion_tokens: int
    finish_reason: str
    prompt_tokens: int

    @property
    def usage(self) -> dict[str, int]:
        """The token counts in OpenAI's form."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


class ChatWork(Protocol):
    """What answers a request once it is checked; runs in a thread of its own."""

    def __call__(self, client: EngineClient, on_text: OnText | None = None) -> ChatAnswer: ...


@router.get("/models", responses=error_responses(401))
def list_models(request: Request) -> dict[str, Any]:
    """The models: each by its name, and as NAME:ROLE."""
    admission: AdmissionController = request.app.state.admission
    names = [
        name
        for model in admission.models.values()
        for name in (model.name, *names_by_role(model.name, model.trained_roles))
    ]
    return {"object": "list", "data": [_model_out(name) for name in names]}


@router.get("/models/{name:path}", responses=error_responses(401, 404))
def get_model(request: Request, name: str) -> dict[str, Any]:
    """One model."""
    admission: AdmissionController = request.app.state.admission
    model, role = find_model_and_role(admission.parsing_context.roles, name)
    return _model_out(f"{model}:{role}" if role else model)


@router.post(
    "/chat/completions",
    openapi_extra=request_body(ChatRequest),
    responses=error_responses(400, 401, 404, 413, 422, 429, 503, 504) | event_stream(),
)
async def complete(request: Request) -> Any:
    """Answer messages, or summarize the transcript in the last one; see /v1/models."""
    admission: AdmissionController = request.app.state.admission
    raw = await request.body()
    with ExitStack() as admitted:
        admitted.enter_context(admission.acquire(request.state.owner))
        chat = await admission.parsers.parse(parse_chat, raw, admission.parsing_context)
        model = admission.model(chat.model)
        work = await admission.prepare(partial(_prepare, admission, model, chat))
        head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": chat.name}
        if chat.stream:
            return _stream(admission, model, work, head, chat.with_usage, admitted.pop_all())
        answer = await admission.run_until_disconnect(request, model, work)
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason, "logprobs": None}
    return {**head, "object": "chat.completion", "choices": [choice], "usage": answer.usage}


def _stream(
    admission: AdmissionController,
    model: ServedModel,
    work: ChatWork,
    head: dict[str, Any],
    with_usage: bool,
    admitted: ExitStack,
) -> EventStream:
    sent: str | None = None

    def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return None, {**head, "object": "chat.completion.chunk", "choices": [choice]}

    def text_event(_: int, added: str) -> Event:
        nonlocal sent
        role = {"role": "assistant"} if sent is None else {}
        sent = (sent or "") + added
        return chunk({**role, "content": added})

    def final_events(answer: ChatAnswer) -> list[Event]:
        events = []
        if rest := answer.text[len(sent or "") :]:  # not sent yet: an incomplete character, or the text of all roles
            events.append(text_event(0, rest))
        events.append(chunk({}, answer.finish_reason))
        if with_usage:
            usage = {"choices": [], "usage": answer.usage}
            events.append((None, {**head, "object": "chat.completion.chunk", **usage}))
        return [*events, END_EVENT]

    return stream_events(
        admission,
        model,
        work,
        admitted,
        text_event=text_event,
        final_events=final_events,
        error_events=lambda document: [(None, document), END_EVENT],
        path="/v1/chat/completions",
    )


def _prepare(admission: AdmissionController, model: ServedModel, chat: ParsedChat) -> ChatWork:
    if chat.dialogue is None:
        return _prepare_answer(admission, model, chat)
    return _prepare_summary(admission, model, chat, chat.dialogue)


def _prepare_answer(admission: AdmissionController, model: ServedModel, chat: ParsedChat) -> ChatWork:
    """Return the work that answers the messages, joined to the one message that the model was trained to read."""
    decoding = to_decoding(chat.parameters, admission.limits)
    template = model.layout.chat_format
    dialogue = Dialogue("chat", (Turn("user", chat.text),))
    tail = (Segment("control", control=template.tail, continues=True),)
    message = Segment("dialogue", chat.text, continues=template.no_space_after_head)
    prompt = Prompt(dialogue, ("chat",), (Segment("control", control=template.head), message), (tail,))

    def work(client: EngineClient, on_text: OnText | None = None) -> ChatAnswer:
        generation = client.generate([prompt], decoding, on_text=on_text)[0][0]
        prompt_tokens = model.count_tokens(prompt)
        return ChatAnswer(generation.text, generation.tokens, generation.finish_reason, prompt_tokens)

    return work


def _prepare_summary(
    admission: AdmissionController, model: ServedModel, chat: ParsedChat, dialogue: Dialogue
) -> ChatWork:
    """Return the work that summarizes the transcript in the last user message; the others are not read."""
    options = SummaryOptions(roles=None if chat.role == ALL_ROLES else [chat.role], options=chat.parameters)
    job = model.create_job(dialogue, options, admission.limits)

    def work(client: EngineClient, on_text: OnText | None = None) -> ChatAnswer:
        result = model.summarize(job, client, on_text if chat.role != ALL_ROLES else None)
        admission.metrics.count(result)
        summaries = result.summaries
        if chat.role == ALL_ROLES:
            text = "\n\n".join(f"[{summary.title}]\n{summary.text}" for summary in summaries)
        else:
            text = summaries[0].text
        is_truncated = any(summary.finish_reason == "length" for summary in summaries)
        prompt_tokens = model.count_tokens(job.layout.prompt(job.dialogue, job.roles))
        tokens = sum(summary.tokens for summary in summaries)
        return ChatAnswer(text, tokens, "length" if is_truncated else "stop", prompt_tokens)

    return work


def _model_out(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "rolesum"}
