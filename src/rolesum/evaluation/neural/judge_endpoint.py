"""An OpenAI-compatible endpoint that judges: one question in, one answer out, patient with a busy server."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from rolesum.errors import ModelError, ResourceError, UsageError
from rolesum.evaluation.neural.judge_prompt import Messages

KEY_VARIABLE = "OPENAI_API_KEY"


class NoAnswer(Exception):
    """One question got no answer, after all retries; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the endpoint said; tokens are None where it does not count them."""

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None
    retries: int = 0
    cut: bool = False


@dataclass
class Endpoint:
    """Where to ask, and how. The key comes from the environment variable `key_variable` and is written nowhere.

    `temperature`, `seed` and `max_tokens` are not sent where they are None. `retries` counts those after a 429, a 5xx,
    a broken connection or `timeout` seconds, with growing pauses or those that the server asks for.
    """

    url: str
    model: str
    temperature: float | None = 0.0
    seed: int | None = 1
    max_tokens: int | None = 2048
    timeout: float = 120.0
    retries: int = 6
    key_variable: str = KEY_VARIABLE
    json_object: bool = field(default=True, init=False)
    _client: Any = field(default=None, init=False, repr=False)
    _lock: Any = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError as error:
            fix = "such as http://localhost:8000/v1"
            raise UsageError(f"not the URL of an endpoint: {error}", self.url.split("@")[-1], fix) from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError("not the URL of an endpoint", self.url.split("@")[-1], "such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query:
            fix = f"give the key in the environment variable {self.key_variable}"
            raise UsageError("the URL holds a password or parameters, which results would show", parts.hostname, fix)
        if not self.model:
            raise UsageError("no judge model is named", self.url, "name the model that the endpoint serves")

    @property
    def parameters(self) -> dict[str, Any]:
        """What is sent beside the messages, but for the form of the answer."""
        sent = {"temperature": self.temperature, "seed": self.seed, "max_tokens": self.max_tokens}
        return {name: value for name, value in sent.items() if value is not None}

    def ask(self, messages: Messages) -> Answer:
        """The endpoint's answer. Raises NoAnswer; ModelError where no other question would fare better."""
        client = self._opened()
        import openai

        asked_json = self.json_object
        form: Mapping[str, Any] = {"response_format": {"type": "json_object"}} if asked_json else {}
        try:
            raw = client.chat.completions.with_raw_response.create(
                model=self.model, messages=messages, **self.parameters, **form
            )
            return _answer(raw.parse(), raw.retries_taken)
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            fix = f"set the environment variable {self.key_variable}"
            raise ModelError(f"the endpoint refuses the key: {self._said(error)}", self.url, fix) from None
        except openai.NotFoundError as error:
            fix = "check the URL (it often ends in /v1) and the model's name"
            raise ModelError(f"the endpoint does not know {self.model}: {self._said(error)}", self.url, fix) from None
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if asked_json and "response_format" in str(error):
                self.json_object = False  # the answer's object is looked for in its text instead
                return self.ask(messages)
            raise NoAnswer(self._said(error)) from None
        except (openai.OpenAIError, ValueError) as error:
            raise NoAnswer(self._said(error)) from None

    def _opened(self) -> Any:
        try:
            import openai
        except ImportError:
            raise UsageError("the judge needs the package openai", fix="pip install 'rolesum[openai]'") from None
        with self._lock:
            if self._client is None:
                key = os.environ.get(self.key_variable) or "none"  # a server of one's own may want none
                self._client = openai.OpenAI(
                    base_url=self.url, api_key=key, timeout=self.timeout, max_retries=self.retries
                )
        return self._client

    def _said(self, error: Exception) -> str:
        key = os.environ.get(self.key_variable)
        said = " ".join(str(error).split()) or type(error).__name__
        return (said.replace(key, "***") if key else said)[:300]


def _answer(found: Any, retries: int) -> Answer:
    """The parts of a completion that matter. Raises ValueError for one that is none."""
    try:
        choice, usage = found.choices[0], found.usage
        text = choice.message.content or ""
    except (AttributeError, IndexError, TypeError):
        raise ValueError("the endpoint's answer is no chat completion") from None
    prompt_tokens, completion_tokens = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
    return Answer(text, prompt_tokens, completion_tokens, retries, choice.finish_reason == "length")


def unreachable(endpoint: Endpoint, failures: int, last: str) -> ResourceError:
    """The error after too many failures in a row."""
    what = f"{failures} questions in a row got no answer; the last: {last}"
    return ResourceError(
        what, endpoint.url, "what was answered is kept in the cache: run again when the server is well"
    )
