"""The part of OpenAI's API that a summarizer can offer: /v1/models and /v1/chat/completions.

NAME:ROLE takes a transcript as the last user message and answers with that role's summary. NAME, a model's own name,
answers the messages themselves.
"""

import secrets
import time
from typing import Any

from fastapi import APIRouter, Request

from rolesum.server.admission import AdmissionController
from rolesum.server.answers import Answer, Answers
from rolesum.server.openai_schemas import ChatRequest
from rolesum.server.openapi import error_responses, event_stream, request_body
from rolesum.server.parsed_openai import Question, find_model_and_role, names_by_role, parse_chat
from rolesum.server.routes.openai_answers import AnswerForm, SentTexts, answer
from rolesum.server.served_model import ServedModel
from rolesum.server.sse import Event

router = APIRouter(prefix="/v1", tags=["OpenAI"])

END_EVENT: Event = (None, "[DONE]")


@router.get("/models", responses=error_responses(401))
def list_models(request: Request) -> dict[str, Any]:
    """The models: each by its name, and as NAME:ROLE."""
    admission: AdmissionController = request.app.state.admission
    names = [
        _model_out(name, model)
        for model in admission.models.values()
        for name in (model.name, *names_by_role(model.name, model.trained_roles))
    ]
    return {"object": "list", "data": names}


@router.get("/models/{name:path}", responses=error_responses(401, 404))
def get_model(request: Request, name: str) -> dict[str, Any]:
    """One model."""
    admission: AdmissionController = request.app.state.admission
    model, role = find_model_and_role(admission.parsing_context.roles, name)
    return _model_out(f"{model}:{role}" if role else model, admission.model(model))


@router.post(
    "/chat/completions",
    openapi_extra=request_body(ChatRequest),
    responses=error_responses(400, 401, 404, 413, 429, 503, 504) | event_stream(),
)
async def complete(request: Request) -> Any:
    """Answer messages, or summarize the transcript in the last one; see /v1/models."""
    return await answer(request, parse_chat, _ChatForm)


class _ChatForm(AnswerForm):
    def __init__(self, question: Question) -> None:
        self._question, self._sent = question, SentTexts()
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": question.name}

    def body(self, answers: Answers) -> dict[str, Any]:
        choices = [
            {
                "index": number,
                "message": {"role": "assistant", "content": one.text, "refusal": None},
                "finish_reason": one.finish_reason,
                "logprobs": self._logprobs(one),
            }
            for number, one in enumerate(answers.answers)
        ]
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": usage_out(answers)}

    def first_events(self) -> list[Event]:
        return []

    def text_event(self, number: int, added: str) -> Event:
        role = {"role": "assistant"} if self._sent.add(number, added) else {}
        return self._chunk({"index": number, "delta": {**role, "content": added}, "finish_reason": None})

    def final_events(self, answers: Answers) -> list[Event]:
        events = list[Event]()
        for number, one in enumerate(answers.answers):
            if rest := self._sent.rest(number, one.text):
                events.append(self.text_event(number, rest))
            last = {"index": number, "delta": {}, "finish_reason": one.finish_reason, "logprobs": self._logprobs(one)}
            events.append(self._chunk(last))
        if self._question.with_usage:
            usage = {"choices": [], "usage": usage_out(answers)}
            events.append((None, {**self._head, "object": "chat.completion.chunk", **usage}))
        return [*events, END_EVENT]

    def error_events(self, document: dict[str, Any]) -> list[Event]:
        return [(None, document), END_EVENT]

    def _chunk(self, choice: dict[str, Any]) -> Event:
        choice = {"logprobs": None, **choice}
        return None, {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def _logprobs(self, one: Answer) -> dict[str, Any] | None:
        if self._question.top_logprobs is None:
            return None
        return {"content": logprobs_out(one, self._question.top_logprobs), "refusal": None}


def usage_out(answers: Answers) -> dict[str, int]:
    """The numbers of tokens, as chats and completions report them."""
    prompt, completion = answers.prompt_tokens, answers.completion_tokens
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def logprobs_out(one: Answer, top: int) -> list[dict[str, Any]]:
    """The tokens with their log-probabilities, as chats and responses report them."""
    tokens = [{"token": text, "logprob": logprob, "bytes": list(text.encode())} for text, logprob in one.token_logprobs]
    return [{**token, "top_logprobs": [token] * top} for token in tokens]


def _model_out(name: str, model: ServedModel) -> dict[str, Any]:
    """A model; `max_model_len`, vLLM's key, is the number of tokens that it takes, where that is known."""
    found = {"id": name, "object": "model", "created": 0, "owned_by": "rolesum"}
    return found | ({"max_model_len": model.context} if model.context else {})
