"""Answers the requests of OpenAI's API: texts with their tokens, ended before stop strings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from rolesum.dialogue import Dialogue, RoleSummary, Turn
from rolesum.errors import UsageError
from rolesum.generation.async_engine import EngineClient, RequestCanceled
from rolesum.generation.engine import DEFAULT_MAX_NEW_TOKENS, Decoding, Generation, OnText
from rolesum.instructions import Prompt, Segment
from rolesum.server.admission import AdmissionController
from rolesum.server.parsed_openai import ALL_ROLES, Question
from rolesum.server.schemas import SummaryOptions
from rolesum.server.served_model import ServedModel, SummaryJob, to_decoding

# Called while answers are generated: the number of the answer and what is added to its text.
OnAnswerText = Callable[[int, str], None]


@dataclass(frozen=True)
class Answer:
    """The text of an answer, with its number of tokens, and each token with its log-probability where asked for."""

    text: str
    tokens: int
    finish_reason: str
    token_logprobs: Sequence[tuple[str, float]] = ()


@dataclass(frozen=True)
class Answers:
    """The answers to all prompts of a request, in order; `prompt_tokens` counts each prompt once."""

    answers: Sequence[Answer]
    prompt_tokens: int

    @property
    def completion_tokens(self) -> int:
        """The tokens of all answers."""
        return sum(one.tokens for one in self.answers)


class AnswerWork(Protocol):
    """What answers a request once it is checked; runs in a thread of its own."""

    def __call__(self, client: EngineClient, on_text: OnAnswerText | None = None) -> Answers: ...


@dataclass(frozen=True)
class _Prepared:
    """One prompt, as its tokens are counted, and what generates the texts that answer it."""

    prompt: Prompt
    generate: Callable[[EngineClient, OnText | None], list[Generation]]


def prepare_answers(admission: AdmissionController, model: ServedModel, question: Question) -> AnswerWork:
    """Return the work that answers a request. Raises as `create_job` and `to_decoding`, before anything is generated.

    Equal greedy answers are generated once.
    """
    if question.top_logprobs is not None and not model.engine.engine.features.token_logprobs:
        what = f"the engine {model.engine.engine.name} gives no log-probability of each token"
        raise UsageError(what, "logprobs", "leave logprobs out, or serve the model with --engine transformers")
    if question.top_logprobs is not None and question.role == ALL_ROLES:
        what = "an answer of several summaries has no log-probabilities"
        raise UsageError(what, "logprobs", "leave logprobs out, or ask for one role")
    count = 1 if question.parameters.decoding(1).greedy else question.answers
    prepared = [
        _prepare_text(admission, model, question, source, count)
        if isinstance(source, str)
        else _prepare_summary(admission, model, question, source, count)
        for source in question.sources
    ]

    def work(client: EngineClient, on_text: OnAnswerText | None = None) -> Answers:
        answers, prompt_tokens = list[Answer](), 0
        for number, one in enumerate(prepared):
            is_last = number == len(prepared) - 1
            texts = _AnswerTexts(model, question, client if is_last else None, on_text, len(answers), count)
            answers += texts.generate(partial(one.generate, client))
            prompt_tokens += model.count_tokens(one.prompt)
        found = Answers(answers, prompt_tokens)
        if question.role:
            admission.metrics.count_summaries(model.name, len(answers), found.completion_tokens)
        return found

    return work


def _prepare_text(
    admission: AdmissionController, model: ServedModel, question: Question, text: str, count: int
) -> _Prepared:
    """Prepare the answers to a text: the one message that the model was trained to read."""
    template = model.layout.chat_format
    tail = (Segment("control", control=template.tail, continues=True),)
    message = Segment("dialogue", text, continues=template.no_space_after_head)
    head = Segment("control", control=template.head)
    prompt = Prompt(Dialogue("chat", (Turn("user", text),)), ("chat",), (head, message), (tail,))
    repeated = replace(prompt, roles=prompt.roles * count, branches=prompt.branches * count)
    decoding = _fitting(model, prompt, to_decoding(question.parameters, admission.limits), 1)

    def generate(client: EngineClient, on_text: OnText | None) -> list[Generation]:
        return client.generate([repeated], decoding, on_text=on_text)[0]

    return _Prepared(prompt, generate)


def _prepare_summary(
    admission: AdmissionController, model: ServedModel, question: Question, dialogue: Dialogue, count: int
) -> _Prepared:
    """Prepare the summaries of a transcript for the role, or one text with those of all roles."""
    options = SummaryOptions(roles=None if question.role == ALL_ROLES else [question.role], options=question.parameters)
    job = model.create_job(dialogue, options, admission.limits)
    roles = job.roles
    prompt = job.layout.prompt(dialogue, roles)
    decoding = _fitting(model, prompt, job.config.decoding, DEFAULT_MAX_NEW_TOKENS)
    job = replace(job, config=replace(job.config, roles=roles * count, decoding=decoding))

    def generate(client: EngineClient, on_text: OnText | None) -> list[Generation]:
        made = model.generate(job, client, on_text)
        parts = [made[first : first + len(roles)] for first in range(0, len(made), len(roles))]
        return [_joined(model, job, part) if question.role == ALL_ROLES else _generation(part[0]) for part in parts]

    return _Prepared(prompt, generate)


def _fitting(model: ServedModel, prompt: Prompt, decoding: Decoding, least: int) -> Decoding:
    """The decoding with as many new tokens as the context has room for, where that is `least` or more."""
    fits = model.engine.fits
    if decoding.max_new_tokens <= least or fits(prompt, decoding.max_new_tokens) or not fits(prompt, least):
        return decoding
    room, beyond = least, decoding.max_new_tokens
    while beyond - room > 1:
        middle = (room + beyond) // 2
        room, beyond = (middle, beyond) if fits(prompt, middle) else (room, middle)
    return replace(decoding, max_new_tokens=room)


def _generation(summary: RoleSummary) -> Generation:
    return Generation(summary.text, summary.tokens, summary.finish_reason, token_logprobs=summary.token_logprobs)


def _joined(model: ServedModel, job: SummaryJob, summaries: Sequence[RoleSummary]) -> Generation:
    """The summaries of all roles as one text, each under its title."""
    text = "\n\n".join(f"[{model.role_title(job, one.role)}]\n{one.text}" for one in summaries)
    is_truncated = any(one.finish_reason == "length" for one in summaries)
    return Generation(text, sum(one.tokens for one in summaries), "length" if is_truncated else "stop")


@dataclass
class StopStrings:
    """A growing text that ends before the first of the `stop` strings."""

    stop: Sequence[str]
    text: str = ""
    found: bool = False
    _passed: int = field(default=0, repr=False)

    def add(self, added: str) -> str:
        """Add to the text; returns what is certain now: not the beginning of what may become a stop string."""
        if self.found:
            return ""
        self.text += added
        places = [at for one in self.stop if (at := self.text.find(one)) >= 0]
        self.found = bool(places)
        if places:
            self.text = self.text[: min(places)]
        certain = len(self.text) - (0 if self.found else self._open_end())
        passed, self._passed = self._passed, max(certain, self._passed)
        return self.text[passed : self._passed]

    def _open_end(self) -> int:
        """The length of the text's end that begins a stop string."""
        longest = max((len(one) - 1 for one in self.stop), default=0)
        ends = (length for length in range(min(longest, len(self.text)), 0, -1))
        return next((n for n in ends if any(one.startswith(self.text[-n:]) for one in self.stop)), 0)


class _AnswerTexts:
    """The answers to one prompt while they are generated."""

    def __init__(
        self,
        model: ServedModel,
        question: Question,
        client: EngineClient | None,
        on_text: OnAnswerText | None,
        first: int,
        count: int,
    ) -> None:
        """`client` may be canceled once all `count` texts have ended; `first` is the number of the first answer."""
        self.model, self.question, self.on_text, self.first = model, question, on_text, first
        self.client = client if question.top_logprobs is None else None
        self.growing = [StopStrings(question.stop) for _ in range(count)]

    def generate(self, generate: Callable[[OnText | None], list[Generation]]) -> list[Answer]:
        """The answers. Raises what the engine raises, and RequestCanceled."""
        is_watched = (self.on_text or self.question.stop) and self.question.role != ALL_ROLES
        try:
            answers = [self._answer(one) for one in generate(self._add if is_watched else None)]
        except RequestCanceled:
            if not (self.client and all(one.found for one in self.growing)):
                raise
            answers = [Answer(one.text, self.model.count_text_tokens(one.text), "stop") for one in self.growing]
        return answers * (self.question.answers // len(answers))

    def _add(self, _: int, number: int, added: str) -> None:
        """Called by the engine's thread."""
        text = self.growing[number]
        certain = text.add(added)
        if certain and self.on_text:
            for copy in range(self.question.answers // len(self.growing)):
                self.on_text(self.first + number + copy, certain)
        if self.client and all(one.found for one in self.growing):
            self.client.cancel()

    def _answer(self, made: Generation) -> Answer:
        ended = StopStrings(self.question.stop)
        ended.add(made.text)
        reason = "stop" if ended.found or made.finish_reason != "length" else "length"
        logprobs = list[tuple[str, float]]()
        if self.question.top_logprobs is not None:
            texts = self.model.token_texts([token for token, _ in made.token_logprobs])
            logprobs = _up_to(len(ended.text), texts, [logprob for _, logprob in made.token_logprobs])
        tokens = self.model.count_text_tokens(ended.text) if ended.found else made.tokens
        return Answer(ended.text, tokens, reason, logprobs)


def _up_to(length: int, texts: Sequence[str], logprobs: Sequence[float]) -> list[tuple[str, float]]:
    """The tokens of the first `length` characters, the last one shortened if it goes on."""
    found, end = list[tuple[str, float]](), 0
    for text, logprob in zip(texts, logprobs, strict=True):
        if end >= length:
            break
        found.append((text[: length - end], logprob))
        end += len(text)
    return found
