"""OpenAI's API of responses: /v1/responses. Nothing is stored, so each request holds all that is to be read."""

import secrets
import time
from itertools import count
from typing import Any

from fastapi import APIRouter, Request

from rolesum.server.answers import Answer, Answers
from rolesum.server.openai_schemas import ResponseRequest
from rolesum.server.openapi import error_responses, event_stream, request_body
from rolesum.server.parsed_openai import Question, parse_response
from rolesum.server.routes.openai_answers import AnswerForm, SentTexts, answer
from rolesum.server.routes.openai_chat import logprobs_out
from rolesum.server.sse import Event

router = APIRouter(prefix="/v1", tags=["OpenAI"])

_EVENTS = (
    *("response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"),
    *("response.output_text.delta", "response.output_text.done", "response.content_part.done"),
    *("response.output_item.done", "response.completed", "response.incomplete", "response.failed", "error"),
)


@router.post(
    "/responses",
    openapi_extra=request_body(ResponseRequest),
    responses=error_responses(400, 401, 404, 413, 429, 503, 504) | event_stream(*_EVENTS),
)
async def respond(request: Request) -> Any:
    """Summarize the transcript in the last user message of the input, or answer the input; see /v1/models."""
    return await answer(request, parse_response, _ResponseForm)


class _ResponseForm(AnswerForm):
    def __init__(self, question: Question) -> None:
        self._question, self._sent, self._numbers = question, SentTexts(), count()
        self._id, self._item_id = f"resp_{secrets.token_hex(12)}", f"msg_{secrets.token_hex(12)}"
        self._created = int(time.time())

    def body(self, answers: Answers) -> dict[str, Any]:
        (one,) = answers.answers
        usage = {
            "input_tokens": answers.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": one.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answers.prompt_tokens + one.tokens,
        }
        return self._response(_status(one), output=[self._item(one)], usage=usage)

    def first_events(self) -> list[Event]:
        item = {"id": self._item_id, "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        return [
            self._event("response.created", response=self._response("in_progress")),
            self._event("response.in_progress", response=self._response("in_progress")),
            self._event("response.output_item.added", output_index=0, item=item),
            self._part_event("response.content_part.added", part=_part("")),
        ]

    def text_event(self, number: int, added: str) -> Event:
        self._sent.add(number, added)
        return self._part_event("response.output_text.delta", delta=added, logprobs=[])

    def final_events(self, answers: Answers) -> list[Event]:
        (one,) = answers.answers
        item, body = self._item(one), self.body(answers)
        (part,) = item["content"]
        rest = self._sent.rest(0, one.text)
        return [
            *([self.text_event(0, rest)] if rest else []),
            self._part_event("response.output_text.done", text=one.text, logprobs=part["logprobs"]),
            self._part_event("response.content_part.done", part=part),
            self._event("response.output_item.done", output_index=0, item=item),
            self._event(f"response.{body['status']}", response=body),
        ]

    def error_events(self, document: dict[str, Any]) -> list[Event]:
        error = document["error"]
        code = "server_error" if document["status"] >= 500 else "invalid_prompt"
        failed = self._response("failed", error={"code": code, "message": error["message"]})
        return [
            self._event("error", code=error["code"], message=error["message"], param=error["param"]),
            self._event("response.failed", response=failed),
        ]

    def _event(self, name: str, **data: Any) -> Event:
        return name, {"type": name, "sequence_number": next(self._numbers), **data}

    def _part_event(self, name: str, **data: Any) -> Event:
        return self._event(name, item_id=self._item_id, output_index=0, content_index=0, **data)

    def _item(self, one: Answer) -> dict[str, Any]:
        top = self._question.top_logprobs
        part = _part(one.text, [] if top is None else logprobs_out(one, top))
        return {
            "id": self._item_id,
            "type": "message",
            "status": _status(one),
            "role": "assistant",
            "content": [part],
        }

    def _response(self, status: str, **changes: Any) -> dict[str, Any]:
        limit = self._question.parameters.max_new_tokens
        decoding = self._question.parameters.decoding(limit or 1)
        is_incomplete = status == "incomplete"
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if is_incomplete else None,
            "instructions": None,
            "max_output_tokens": limit,
            "model": self._question.name,
            "output": [],
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "store": False,
            "temperature": decoding.temperature,
            "text": {"format": {"type": "text"}},
            "tool_choice": "none",
            "tools": [],
            "top_p": decoding.top_p,
            "truncation": "disabled",
            "usage": None,
            "metadata": {},
            **changes,
        }


def _part(text: str, logprobs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs or []}


def _status(one: Answer) -> str:
    return "incomplete" if one.finish_reason == "length" else "completed"
