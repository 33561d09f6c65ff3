"""OpenAI's older API of completions: /v1/completions takes prompts, each a transcript or one message."""

import secrets
import time
from itertools import accumulate
from typing import Any

from fastapi import APIRouter, Request

from rolesum.server.answers import Answer, Answers
from rolesum.server.openai_schemas import CompletionRequest
from rolesum.server.openapi import error_responses, event_stream, request_body
from rolesum.server.parsed_openai import Question, parse_completion
from rolesum.server.routes.openai_answers import AnswerForm, SentTexts, answer
from rolesum.server.routes.openai_chat import END_EVENT, usage_out
from rolesum.server.sse import Event

router = APIRouter(prefix="/v1", tags=["OpenAI"])


@router.post(
    "/completions",
    openapi_extra=request_body(CompletionRequest),
    responses=error_responses(400, 401, 404, 413, 429, 503, 504) | event_stream(),
)
async def complete(request: Request) -> Any:
    """Summarize prompts, or answer each as one message; see /v1/models."""
    return await answer(request, parse_completion, _CompletionForm)


class _CompletionForm(AnswerForm):
    def __init__(self, question: Question) -> None:
        self._question, self._sent = question, SentTexts()
        head = {"id": f"cmpl-{secrets.token_hex(12)}", "object": "text_completion", "created": int(time.time())}
        self._head = {**head, "model": question.name}

    def body(self, answers: Answers) -> dict[str, Any]:
        choices = [
            self._choice(number, one.text, one.finish_reason, self._logprobs(one))
            for number, one in enumerate(answers.answers)
        ]
        return {**self._head, "choices": choices, "usage": usage_out(answers)}

    def first_events(self) -> list[Event]:
        return []

    def text_event(self, number: int, added: str) -> Event:
        self._sent.add(number, added)
        return None, {**self._head, "choices": [self._choice(number, added)]}

    def final_events(self, answers: Answers) -> list[Event]:
        events = list[Event]()
        for number, one in enumerate(answers.answers):
            rest = self._sent.rest(number, one.text)
            choice = self._choice(number, rest, one.finish_reason, self._logprobs(one))
            events.append((None, {**self._head, "choices": [choice]}))
        if self._question.with_usage:
            events.append((None, {**self._head, "choices": [], "usage": usage_out(answers)}))
        return [*events, END_EVENT]

    def error_events(self, document: dict[str, Any]) -> list[Event]:
        return [(None, document), END_EVENT]

    def _choice(
        self, number: int, text: str, finish_reason: str | None = None, logprobs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        return {"index": number, "text": text, "finish_reason": finish_reason, "logprobs": logprobs}

    def _logprobs(self, one: Answer) -> dict[str, Any] | None:
        if self._question.top_logprobs is None:
            return None
        texts = [text for text, _ in one.token_logprobs]
        return {
            "tokens": texts,
            "token_logprobs": [logprob for _, logprob in one.token_logprobs],
            "top_logprobs": [dict([pair]) for pair in one.token_logprobs] if self._question.top_logprobs else None,
            "text_offset": list(accumulate(map(len, texts), initial=0))[: len(texts)],
        }
