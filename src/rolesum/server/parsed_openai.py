"""Parses the requests of OpenAI's API in a parser process; see `rolesum.server.parsed_requests`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rolesum.dialogue import Dialogue
from rolesum.errors import UsageError
from rolesum.server.openai_schemas import (
    LOGPROBS_KEY,
    ChatMessage,
    ChatRequest,
    CompletionRequest,
    OpenAIRequest,
    ResponseRequest,
)
from rolesum.server.parsed_requests import ParsingContext, find_model
from rolesum.server.problems import HTTPProblem
from rolesum.server.request_parsing import check_length, parse_dialogues, parse_json
from rolesum.server.schemas import GenerationParameters, InputOptions

ALL_ROLES = "all"  # NAME:all answers with the summaries of all roles, each under its title


@dataclass(frozen=True, kw_only=True)
class Question:
    """A request of OpenAI's API: dialogues to summarize for `role`, or, without a role, texts to answer.

    Attributes:
        name: The model's name as the client sent it.
        answers: The number of answers to each.
        top_logprobs: How many of the likeliest tokens are returned for each token; None for no log-probabilities.
    """

    model: str
    name: str
    role: str
    parameters: GenerationParameters
    stream: bool
    with_usage: bool = False
    sources: Sequence[Dialogue | str]
    answers: int = 1
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None


def parse_chat(raw: bytes, context: ParsingContext) -> Question:
    """Parse the body of POST /v1/chat/completions."""
    chat = parse_json(raw, ChatRequest, context.limits)
    model, role = find_model_and_role(context.roles, chat.model)
    if chat.top_logprobs is not None and not chat.logprobs:
        raise UsageError("top_logprobs is for logprobs", "top_logprobs", 'add "logprobs": true, or leave it out')
    return Question(
        model=model,
        name=chat.model,
        role=role,
        parameters=chat.parameters(context.limits.max_new_tokens),
        stream=bool(chat.stream),
        with_usage=chat.with_usage,
        sources=[_of_messages(chat.messages, model, role, context, "messages")],
        answers=_number_of_answers(chat.n, context),
        stop=chat.stop_strings,
        top_logprobs=_top_logprobs(chat.top_logprobs or 0, chat) if chat.logprobs else None,
    )


def parse_completion(raw: bytes, context: ParsingContext) -> Question:
    """Parse the body of POST /v1/completions."""
    request = parse_json(raw, CompletionRequest, context.limits)
    model, role = find_model_and_role(context.roles, request.model)
    prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
    answers = _number_of_answers((request.n or 1) * len(prompts), context) // len(prompts)
    return Question(
        model=model,
        name=request.model,
        role=role,
        parameters=request.parameters(context.limits.max_new_tokens),
        stream=bool(request.stream),
        with_usage=request.with_usage,
        sources=[_source(prompt, model, role, context, "prompt") for prompt in prompts],
        answers=answers,
        stop=request.stop_strings,
        top_logprobs=None if request.logprobs is None else _top_logprobs(request.logprobs, request, "logprobs"),
    )


def parse_response(raw: bytes, context: ParsingContext) -> Question:
    """Parse the body of POST /v1/responses."""
    request = parse_json(raw, ResponseRequest, context.limits)
    model, role = find_model_and_role(context.roles, request.model)
    wants_logprobs = LOGPROBS_KEY in (request.include or ())
    return Question(
        model=model,
        name=request.model,
        role=role,
        parameters=request.parameters(context.limits.max_new_tokens),
        stream=bool(request.stream),
        sources=[_of_messages(request.messages, model, role, context, "input")],
        top_logprobs=_top_logprobs(request.top_logprobs or 0, request) if wants_logprobs else None,
    )


def _top_logprobs(number: int, request: OpenAIRequest, key: str = "top_logprobs") -> int:
    """The number of likeliest tokens to return for each token: of these, only the one that was taken is known."""
    if number > 1 or (number and request.temperature and request.top_p != 0):
        what = f"{key} is {number}, and the engine keeps the log-probability of the token that it took only"
        raise UsageError(what, key, f'send "{key}": 0, or 1 with "temperature": 0')
    return number


def _number_of_answers(number: int | None, context: ParsingContext) -> int:
    if (number or 1) > (limit := context.limits.max_samples):
        what = f"{number} answers; at most {limit} are allowed"
        raise HTTPProblem(413, what, where="n", fix="ask for fewer in one request")
    return number or 1


def _of_messages(
    messages: Sequence[ChatMessage], model: str, role: str, context: ParsingContext, key: str
) -> Dialogue | str:
    """What a chat asks about: the transcript in the last user message, or, without a role, all messages as one."""
    if role:
        transcript = next((message.text for message in reversed(messages) if message.role == "user"), "")
        if not transcript.strip():
            raise UsageError("the last user message has no text", key, "send the transcript in it")
        return _source(transcript, model, role, context, key)
    text = "\n\n".join(message.text for message in messages if message.text.strip())
    if any(message.role in ("assistant", "tool", "function") for message in messages):
        what = f"{model} reads one message, and there is an earlier answer among the messages"
        fix = f"send the text to read only, or use {model}:ROLE, which reads the last user message"
        raise UsageError(what, key, fix)
    return _source(text, model, role, context, key)


def _source(text: str, model: str, role: str, context: ParsingContext, key: str) -> Dialogue | str:
    """The dialogue that a transcript is; without a role, the text itself."""
    if not text.strip():
        raise UsageError(f"there is no text in {key}", key, "send a text")
    if not role:
        check_length(len(text), context.limits, key)
        return text
    options, aliases = InputOptions(text=text), context.aliases_with(model, None)
    _, (dialogue,) = parse_dialogues(options, context.limits, aliases=aliases, max_dialogues=1, text_key=key)
    return dialogue


def find_model_and_role(roles: Mapping[str, Sequence[str]], name: str) -> tuple[str, str]:
    """Return the model and the role of NAME or NAME:ROLE; the role is empty for NAME. Raises HTTPProblem 404."""
    if name in roles:
        return name, ""
    base, colon, role = name.rpartition(":")
    if not colon or base not in roles:
        return find_model(roles, name), ""  # raises
    names = names_by_role(base, roles[base])
    if f"{base}:{role}" not in names:
        raise HTTPProblem(404, f'{base} has no role "{role}"', where="model", fix=f"one of {', '.join(names)}")
    return base, role


def names_by_role(model: str, roles: Sequence[str]) -> list[str]:
    """Return the names under which a model's roles can be asked for in OpenAI's API."""
    return [f"{model}:{role}" for role in (*roles, ALL_ROLES)]
