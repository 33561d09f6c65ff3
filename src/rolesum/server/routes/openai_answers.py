"""What the routes of OpenAI's API share: a request is parsed, checked, and answered as one object or as a stream."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol

from fastapi import Request

from rolesum.server.admission import AdmissionController
from rolesum.server.answers import Answers, prepare_answers
from rolesum.server.parsed_openai import Question
from rolesum.server.parsed_requests import ParsingContext
from rolesum.server.sse import Event, stream_events


class AnswerForm(Protocol):
    """The form of the answers to one request: one object, or the events of a stream."""

    def body(self, answers: Answers) -> dict[str, Any]:
        """The whole answer."""
        ...

    def first_events(self) -> Sequence[Event]:
        """The events before any text."""
        ...

    def text_event(self, number: int, added: str) -> Event:
        """The event of what was added to the text of an answer."""
        ...

    def final_events(self, answers: Answers) -> list[Event]:
        """The events after the last text, with the rest of each."""
        ...

    def error_events(self, document: dict[str, Any]) -> list[Event]:
        """The events of a stream that failed, from its problem document."""
        ...


async def answer(
    request: Request, parse: Callable[[bytes, ParsingContext], Question], form: Callable[[Question], AnswerForm]
) -> Any:
    """Answer a request, or begin the stream of its answer."""
    admission: AdmissionController = request.app.state.admission
    raw = await request.body()
    with ExitStack() as admitted:
        admitted.enter_context(admission.acquire(request.state.owner))
        question = await admission.parsers.parse(parse, raw, admission.parsing_context)
        model = admission.model(question.model)
        work = await admission.prepare(partial(prepare_answers, admission, model, question))
        formed = form(question)
        if not question.stream:
            return formed.body(await admission.run_until_disconnect(request, model, work))
        return stream_events(
            admission,
            model,
            lambda client, on_text: work(client, partial(on_text, 0)),
            admitted.pop_all(),
            text_event=formed.text_event,
            final_events=formed.final_events,
            error_events=formed.error_events,
            first_events=formed.first_events(),
            path=request.url.path,
        )


class SentTexts:
    """The texts of a stream as far as they were sent."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}

    def add(self, number: int, added: str) -> bool:
        """Note what is sent of an answer; returns whether it is the first of it."""
        is_first = number not in self._texts
        self._texts[number] = self._texts.get(number, "") + added
        return is_first

    def rest(self, number: int, text: str) -> str:
        """What is not sent yet of a whole text: an incomplete character, or the text of all roles."""
        return text[len(self._texts.get(number, "")) :]
