"""The part of OpenAI's API that a summarizer can offer: /v1/models and /v1/chat/completions.

NAME:ROLE takes a transcript as the last user message and answers with that role's summary. NAME, a model's own name,
answers the messages themselves.
"""

import secrets
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import UsageError
from rolesum.generation.async_engine import EngineClient
from rolesum.generation.engine import OnText
from rolesum.instructions import Prompt, Segment
from rolesum.server.admission import AdmissionController
from rolesum.server.openapi import error_responses, event_stream, request_body
from rolesum.server.problems import HTTPProblem
from rolesum.server.request_parsing import check_length, parse_dialogues, parse_json
from rolesum.server.schemas import GenerationParameters, InputOptions, SummaryOptions
from rolesum.server.served_model import ServedModel, to_decoding
from rolesum.server.sse import Event, EventStream, stream_events

router = APIRouter(prefix="/v1", tags=["OpenAI"])

ALL_ROLES = "all"  # NAME:all answers with the summaries of all roles, each under its title
END_EVENT: Event = (None, "[DONE]")


class ContentPart(BaseModel):
    """A part of a message; only text is supported."""

    type: Literal["text"]
    text: str


ContentParts = Annotated[list[ContentPart], Field(fail_fast=True)]


class ChatMessage(BaseModel):
    """A message of a chat."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | ContentParts

    @property
    def text(self) -> str:
        """The text of all parts."""
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """Options of a streamed answer."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The body of a chat client. Unsupported options that would change the answer are errors; others are ignored."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [
                {
                    "model": "rolesum-smollm2-135m:user",
                    "messages": [{"role": "user", "content": "Customer: where is it?\nAgent: on its way"}],
                }
            ]
        },
    )

    model: str = Field(max_length=300)
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000, fail_fast=True)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    parallel_tool_calls: Any = None

    def parameters(self) -> GenerationParameters:
        """Return the generation parameters. Without a temperature decoding is greedy, unlike OpenAI's default of 1."""
        temperature = self.temperature or 0.0
        values: dict[str, Any] = {
            "max_new_tokens": self.max_completion_tokens or self.max_tokens,
            "temperature": temperature,
            "top_p": self.top_p or 1.0 if temperature else 1.0,
            "seed": 1 if self.seed is None else self.seed,
            "checks": False,
        }
        return GenerationParameters(**values)


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
    names = [name for model in admission.models.values() for name in (model.name, *_names_by_role(model))]
    return {"object": "list", "data": [_model_out(name) for name in names]}


@router.get("/models/{name}", responses=error_responses(401, 404))
def get_model(request: Request, name: str) -> dict[str, Any]:
    """One model."""
    model, role = _model_and_role(request.app.state.admission, name)
    return _model_out(f"{model.name}:{role}" if role else model.name)


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
        chat = await admission.parse(partial(parse_json, raw, ChatRequest))
        model, role = _model_and_role(admission, chat.model)
        prepare = partial(_prepare_summary, role=role) if role else _prepare_answer
        work = await admission.parse(partial(prepare, admission, model, chat))
        head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": chat.model}
        if chat.stream:
            with_usage = bool(chat.stream_options and chat.stream_options.include_usage)
            return _stream(admission, model, work, head, with_usage, admitted.pop_all())
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
    )


def _prepare_answer(admission: AdmissionController, model: ServedModel, chat: ChatRequest) -> ChatWork:
    """Return the work that answers the messages, joined to the one message that the model was trained to read."""
    text = "\n\n".join(message.text for message in chat.messages if message.text.strip())
    if not text.strip():
        raise UsageError("the messages are empty", "messages", "send a message with text")
    if any(message.role == "assistant" for message in chat.messages):
        what = f"{model.name} reads one message, and there is an earlier answer among the messages"
        fix = f"send the text to read only, or use {model.name}:ROLE, which reads the last user message"
        raise UsageError(what, "messages", fix)
    check_length(len(text), admission.limits, "messages")
    decoding = to_decoding(chat.parameters(), admission.limits)
    template = model.layout.chat_format
    dialogue = Dialogue("chat", (Turn("user", text),))
    tail = (Segment("control", control=template.tail, continues=True),)
    message = Segment("dialogue", text, continues=template.no_space_after_head)
    prompt = Prompt(dialogue, ("chat",), (Segment("control", control=template.head), message), (tail,))

    def work(client: EngineClient, on_text: OnText | None = None) -> ChatAnswer:
        generation = client.generate([prompt], decoding, on_text=on_text)[0][0]
        prompt_tokens = model.count_tokens(prompt)
        return ChatAnswer(generation.text, generation.tokens, generation.finish_reason, prompt_tokens)

    return work


def _prepare_summary(admission: AdmissionController, model: ServedModel, chat: ChatRequest, role: str) -> ChatWork:
    """Return the work that summarizes the transcript in the last user message; the others are not read."""
    transcript = next((message.text for message in reversed(chat.messages) if message.role == "user"), "")
    _, (dialogue,) = parse_dialogues(
        InputOptions(text=transcript or " "), admission.limits, aliases=model.aliases(None), max_dialogues=1
    )
    options = SummaryOptions(roles=None if role == ALL_ROLES else [role], options=chat.parameters())
    job = model.create_job(dialogue, options, admission.limits)

    def work(client: EngineClient, on_text: OnText | None = None) -> ChatAnswer:
        result = model.summarize(job, client, on_text if role != ALL_ROLES else None)
        admission.metrics.count(result)
        summaries = result.summaries
        if role == ALL_ROLES:
            text = "\n\n".join(f"[{summary.title}]\n{summary.text}" for summary in summaries)
        else:
            text = summaries[0].text
        is_truncated = any(summary.finish_reason == "length" for summary in summaries)
        prompt_tokens = model.count_tokens(job.layout.prompt(job.dialogue, job.roles))
        tokens = sum(summary.tokens for summary in summaries)
        return ChatAnswer(text, tokens, "length" if is_truncated else "stop", prompt_tokens)

    return work


def _model_and_role(admission: AdmissionController, name: str) -> tuple[ServedModel, str]:
    """Return the model and the role of NAME or NAME:ROLE; the role is empty for NAME. Raises HTTPProblem 404."""
    if name in admission.models:
        return admission.models[name], ""
    base, colon, role = name.rpartition(":")
    if not colon or base not in admission.models:
        return admission.model(name), ""  # raises
    model = admission.models[base]
    names = _names_by_role(model)
    if f"{base}:{role}" not in names:
        raise HTTPProblem(404, f'{base} has no role "{role}"', where="model", fix=f"one of {', '.join(names)}")
    return model, role


def _names_by_role(model: ServedModel) -> Sequence[str]:
    return [f"{model.name}:{role}" for role in (*model.trained_roles, ALL_ROLES)]


def _model_out(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "rolesum"}
