"""The judge's OpenAI-compatible endpoint: one prompt in, one answer out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rolesum.errors import ResourceError, UsageError
from rolesum.evaluation.llm_judge.prompt import Messages
from rolesum.generation.engines.openai_client import API_KEY_VARIABLE, OpenAIClient, RequestRejected
from rolesum.generation.engines.openai_client import RequestFailed as RequestFailed


@dataclass(frozen=True, slots=True)
class JudgeAnswer:
    """One answer of the endpoint. Token counts are None if the endpoint does not report them."""

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None
    retries: int = 0
    truncated: bool = False


@dataclass
class JudgeEndpoint:
    """The judge's endpoint and its parameters; see OpenAIClient for the rest.

    `temperature`, `seed` and `max_tokens` are not sent where they are None.
    """

    url: str
    model: str
    temperature: float | None = 0.0
    seed: int | None = 1
    max_tokens: int | None = 2048
    timeout: float = 120.0
    retries: int = 6
    key_variable: str = API_KEY_VARIABLE
    json_object: bool = field(default=True, init=False)
    _client: OpenAIClient = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._client = OpenAIClient(self.url, self.key_variable, self.timeout, self.retries)
        if not self.model:
            raise UsageError("no judge model is named", self.url, "name the model that the endpoint serves")

    @property
    def parameters(self) -> dict[str, Any]:
        """What is sent beside the messages, but for the form of the answer."""
        sent = {"temperature": self.temperature, "seed": self.seed, "max_tokens": self.max_tokens}
        return {name: value for name, value in sent.items() if value is not None}

    def ask(self, messages: Messages) -> JudgeAnswer:
        """The endpoint's answer. Raises RequestFailed; ModelError where no other question would fare better."""
        wants_json = self.json_object
        form: Mapping[str, Any] = {"response_format": {"type": "json_object"}} if wants_json else {}
        try:
            completion, retries = self._client.complete(
                "chat/completions", self.model, {"messages": messages, **self.parameters, **form}
            )
        except RequestRejected as error:
            if wants_json and "response_format" in str(error):
                self.json_object = False  # the answer's object is looked for in its text instead
                return self.ask(messages)
            raise
        return _answer(completion, retries)


def _answer(completion: Mapping[str, Any], retries: int) -> JudgeAnswer:
    """The parts of a completion that matter. Raises RequestFailed for one that is none."""
    try:
        choice, usage = completion["choices"][0], completion.get("usage") or {}
        text = choice["message"]["content"] or ""
    except (KeyError, IndexError, TypeError):
        raise RequestFailed("the endpoint's answer is no chat completion") from None
    tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return JudgeAnswer(text, *tokens, retries, choice.get("finish_reason") == "length")


def unreachable(endpoint: JudgeEndpoint, failures: int, last: str) -> ResourceError:
    """The error after too many failures in a row."""
    what = f"{failures} questions in a row got no answer; the last: {last}"
    return ResourceError(
        what, endpoint.url, "what was answered is kept in the cache: run again when the server is well"
    )
