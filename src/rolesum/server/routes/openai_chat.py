"""OpenAI's API, as far as one model that summarizes can speak it: /v1/models and /v1/chat/completions.

A model's own name takes messages as they are. NAME:ROLE takes a transcript as the user's last message, and answers with
that role's summary.
"""

import secrets
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import UsageError
from rolesum.generation.async_engine import EngineClient
from rolesum.generation.engine import OnText
from rolesum.instructions import Prompt, Segment
from rolesum.server.admission import AdmissionController
from rolesum.server.openapi import body_of, errors, event_stream
from rolesum.server.problems import Refusal
from rolesum.server.reading import check_characters, read, source_from
from rolesum.server.request_parsing import of_json
from rolesum.server.schemas import Options, Reading, Wishes
from rolesum.server.served_model import Served, decoding_of
from rolesum.server.sse import Event, stream

router = APIRouter(prefix="/v1", tags=["OpenAI"])

ALL = "all"  # the role of NAME:all, every summary under its heading
END: Event = (None, "[DONE]")


class Part(BaseModel):
    type: Literal["text"]
    text: str


Parts = Annotated[list[Part], Field(fail_fast=True)]


class Message(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Parts

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class ChatRequest(BaseModel):
    """What a chat client sends. What would change the answer and cannot be done is refused, the rest is passed over."""

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
    messages: list[Message] = Field(min_length=1, max_length=1000, fail_fast=True)
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

    def options(self) -> Options:
        """Greedy where nothing else is said: a summary is not made up anew each time."""
        temperature = self.temperature or 0.0
        options: dict[str, Any] = {
            "max_new_tokens": self.max_completion_tokens or self.max_tokens,
            "temperature": temperature,
            "top_p": self.top_p or 1.0 if temperature else 1.0,
            "seed": 1 if self.seed is None else self.seed,
            "checks": False,
        }
        return Options(**options)


@router.get("/models", responses=errors(401))
def models(request: Request) -> dict[str, Any]:
    """The models: each by its name, and as NAME:ROLE."""
    house: AdmissionController = request.app.state.house
    names = [name for one in house.served.values() for name in (one.name, *_by_role(one))]
    return {"object": "list", "data": [_model(name) for name in names]}


@router.get("/models/{name}", responses=errors(401, 404))
def model(request: Request, name: str) -> dict[str, Any]:
    """One model."""
    served, role = _asked_model(request.app.state.house, name)
    return _model(f"{served.name}:{role}" if role else served.name)


@router.post(
    "/chat/completions",
    openapi_extra=body_of(ChatRequest),
    responses=errors(400, 401, 404, 413, 422, 429, 503, 504) | event_stream(),
)
async def complete(request: Request) -> Any:
    """Answer messages, or summarize the transcript that they hold; see /v1/models."""
    house: AdmissionController = request.app.state.house
    raw = await request.body()
    with ExitStack() as held:
        held.enter_context(house.acquire(request.state.owner))
        asked = await house.read(partial(of_json, raw, ChatRequest))
        served, role = _asked_model(house, asked.model)
        work = await house.read(partial(_summary if role else _answer, house, served, asked, role))
        head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": asked.model}
        if asked.stream:
            with_usage = bool(asked.stream_options and asked.stream_options.include_usage)
            return _streamed(house, served, work, head, with_usage, held.pop_all())
        text, tokens, reason, read_tokens = await house.answer(request, served, work)
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    return {**head, "object": "chat.completion", "choices": [choice], "usage": _usage(read_tokens, tokens)}


Made = tuple[str, int, str, int]  # the text, its tokens, why it ended, the prompt's tokens


def _streamed(
    house: AdmissionController, served: Served, work: Any, head: dict[str, Any], with_usage: bool, held: ExitStack
) -> Any:
    told: str | None = None

    def chunk(delta: dict[str, Any], reason: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return None, {**head, "object": "chat.completion.chunk", "choices": [choice]}

    def growing(_: int, added: str) -> Event:
        nonlocal told
        first = {"role": "assistant"} if told is None else {}
        told = (told or "") + added
        return chunk({**first, "content": added})

    def ended(made: Made) -> list[Event]:
        text, tokens, reason, read_tokens = made
        events = []
        if rest := text[len(told or "") :]:  # what was not told while it grew: a half character, or several summaries
            events.append(growing(0, rest))
        events.append(chunk({}, reason))
        if with_usage:
            usage = {"usage": _usage(read_tokens, tokens)}
            events.append((None, {**head, "object": "chat.completion.chunk", "choices": [], **usage}))
        return [*events, END]

    return stream(house, served, work, held, growing=growing, ended=ended, failed=lambda found: [(None, found), END])


def _answer(house: AdmissionController, served: Served, asked: ChatRequest, _: str) -> Any:
    """Work that answers the messages as they stand, joined to the one message that the model was trained to read."""
    text = "\n\n".join(one.text for one in asked.messages if one.text.strip())
    if not text.strip():
        raise UsageError("the messages are empty", "messages", "write something")
    if any(one.role == "assistant" for one in asked.messages):
        what = "an earlier answer is among the messages, and the model reads one message"
        raise UsageError(what, "messages", f"send what it is to read, or take {served.name}:ROLE, which reads the last")
    check_characters(len(text), house.limits, "messages")
    decoding = decoding_of(asked.options(), house.limits)
    form = served.layout.chat
    dialogue = Dialogue("chat", (Turn("user", text),))
    tail = (Segment("control", control=form.tail, continues=True),)
    prefix = (Segment("control", control=form.head), Segment("dialogue", text, continues=form.no_space_after_head))
    prompt = Prompt(dialogue, ("chat",), prefix, (tail,))

    def work(seat: EngineClient, on_text: OnText | None = None) -> Made:
        made = seat.generate([prompt], decoding, on_text=on_text)[0][0]
        return made.text, made.tokens, made.finish_reason, served.tokens(prompt)

    return work


def _summary(house: AdmissionController, served: Served, asked: ChatRequest, role: str) -> Any:
    """Work that summarizes the transcript in the user's last message; what was said before does not matter."""
    transcript = next((one.text for one in reversed(asked.messages) if one.role == "user"), "")
    source = source_from(house.limits, text=transcript or " ")
    _, found = read(source, house.limits, Reading(), aliases=served.aliases(None), most=1)
    wishes = Wishes(roles=None if role == ALL else [role], options=asked.options())
    task = served.task(found[0], wishes, house.limits)

    def work(seat: EngineClient, on_text: OnText | None = None) -> Made:
        made = served.write(task, seat, on_text if role != ALL else None)
        house.metrics.count(made)
        cut = any(one.finish_reason == "length" for one in made.summaries)
        text = (
            made.summaries[0].text
            if role != ALL
            else "\n\n".join(f"[{one.title}]\n{one.text}" for one in made.summaries)
        )
        read_tokens = served.tokens(task.layout.prompt(task.dialogue, task.roles))
        return text, sum(one.tokens for one in made.summaries), "length" if cut else "stop", read_tokens

    return work


def _asked_model(house: AdmissionController, name: str) -> tuple[Served, str]:
    """The model, and the role behind its name; empty without one."""
    if name in house.served:
        return house.served[name], ""
    base, colon, role = name.rpartition(":")
    if not colon or base not in house.served:
        return house.model(name), ""  # which refuses it
    served = house.served[base]
    if f"{base}:{role}" not in _by_role(served):
        raise Refusal(404, f'no role "{role}" of {base}', where="model", fix=f"one of {', '.join(_by_role(served))}")
    return served, role


def _by_role(served: Served) -> Sequence[str]:
    return [f"{served.name}:{role}" for role in (*served.trained_roles, ALL)]


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "rolesum"}


def _usage(read_tokens: int, tokens: int) -> dict[str, int]:
    return {"prompt_tokens": read_tokens, "completion_tokens": tokens, "total_tokens": read_tokens + tokens}
