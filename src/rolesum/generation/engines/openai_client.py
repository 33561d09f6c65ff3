"""An OpenAI-compatible endpoint as it is asked: patient with a busy server, plain about one that refuses.

The engine and the judge ask through it. What leaves is the question, the name of the model and the key.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from rolesum.errors import ModelError, ResourceError, UsageError

API_KEY_VARIABLE = "OPENAI_API_KEY"
Route = Literal["chat/completions", "completions"]

# What the client would say of this machine and its user beside the question.
_UNSAID = (
    *("X-Stainless-Lang", "X-Stainless-Package-Version", "X-Stainless-OS", "X-Stainless-Arch"),
    *("X-Stainless-Runtime", "X-Stainless-Runtime-Version", "X-Stainless-Async"),
    *("OpenAI-Organization", "OpenAI-Project"),
)
# Tries of the first call, which asks what the endpoint serves: somebody may be waiting in front of a wrong URL.
_FIRST_RETRIES = 2


class RequestFailed(Exception):
    """One question got no answer, after all retries; the text says why."""


class RequestRejected(RequestFailed):
    """The endpoint will not answer this question, however often it is asked."""


def check_endpoint_url(url: str, key_variable: str = API_KEY_VARIABLE) -> None:
    """Raise UsageError for what is no URL of an endpoint, or would show a password."""
    fix = "such as http://localhost:8000/v1"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"not the URL of an endpoint: {error}", url.split("@")[-1], fix) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("not the URL of an endpoint", url.split("@")[-1], fix)
    if parts.username or parts.password or parts.query:
        fix = f"give the key in the environment variable {key_variable}"
        raise UsageError("the URL holds a password or parameters, which results would show", parts.hostname, fix)


@dataclass
class OpenAIClient:
    """Where to ask. The key comes from the environment variable `key_variable` and is written nowhere.

    `retries` counts those after a 408, 409, 429, a 5xx, a broken connection or `timeout` seconds, with pauses that
    double from half a second up to 8, or those of up to a minute that the server asks for (Retry-After).
    """

    url: str
    api_key_env: str = API_KEY_VARIABLE
    timeout: float = 120.0
    retries: int = 6
    _client: Any = field(default=None, init=False, repr=False)
    _lock: Any = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        check_endpoint_url(self.url, self.api_key_env)

    def complete(self, way: Route, model: str, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
        """The endpoint's answer as it came, and the retries that it took.

        Raises RequestFailed, RequestRejected; ModelError where no other question would fare better.
        """
        client = self.sdk_client()
        try:
            raw = self._calls(client, way).with_raw_response.create(**_arguments(way, model, body))
            said = raw.http_response.json()
            if not isinstance(said, dict):
                raise ValueError("the endpoint's answer is no object")
            return said, raw.retries_taken
        except Exception as error:
            raise self._told(error, model) from None

    def stream(self, way: Route, model: str, body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The pieces of an answer as they come. Raises as `ask` does; one that breaks off is not asked for again."""
        client = self.sdk_client()
        try:
            with self._calls(client, way).create(stream=True, **_arguments(way, model, body)) as pieces:
                for piece in pieces:
                    yield piece.to_dict()
        except Exception as error:
            raise self._told(error, model) from None

    def list_models(self) -> list[Mapping[str, Any]]:
        """What the endpoint says that it serves, as it says it; nothing where it does not tell.

        Raises ResourceError where nobody answers, ModelError where the key is refused.
        """
        client = self.sdk_client()
        import openai

        try:
            raw = client.with_options(max_retries=min(self.retries, _FIRST_RETRIES)).models.with_raw_response.list()
            told = raw.http_response.json()["data"]
            return [one for one in told if isinstance(one, dict) and isinstance(one.get("id"), str)]
        except openai.APITimeoutError:
            return []  # it may be at work on something long
        except openai.APIConnectionError as error:
            why = self._masked(error.__cause__ or error)
            raise ResourceError(f"no answer: {why}", self.url, "start the server, or check the URL") from None
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise self._told(error, "") from None
        except (openai.OpenAIError, ValueError, KeyError, TypeError):
            return []

    def detokenize(self, ids: list[int], model: str) -> str | None:
        """The text of ids by the endpoint's own tokenizer, where it has a /detokenize, as vLLM and llama.cpp have."""
        root = self.url.rstrip("/").removesuffix("/v1")
        client = self.sdk_client().with_options(max_retries=0)
        try:
            told = client.post(f"{root}/detokenize", body={"model": model, "tokens": ids}, cast_to=object)
            text = told.get("content", told.get("prompt"))
        except Exception:  # whatever another server says to a path that it does not have
            return None
        return text if isinstance(text, str) else None

    def sdk_client(self) -> Any:
        """The client library's own client. Raises UsageError where it is not installed."""
        try:
            import openai
        except ImportError:
            what = "endpoints are asked by the package openai, which is not installed"
            raise UsageError(what, fix="pip install 'rolesum[openai]'") from None
        with self._lock:
            if self._client is None:
                self._client = openai.OpenAI(
                    base_url=self.url,
                    api_key=os.environ.get(self.api_key_env) or "none",  # a server of one's own may want none
                    timeout=self.timeout,
                    max_retries=self.retries,
                    default_headers={name: openai.Omit() for name in _UNSAID},  # type: ignore[misc]
                )
        return self._client

    def _calls(self, client: Any, way: Route) -> Any:
        return client.chat.completions if way == "chat/completions" else client.completions

    def _told(self, error: Exception, model: str) -> Exception:
        """The library's error in our words."""
        import openai

        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            fix = f"set the environment variable {self.api_key_env}"
            return ModelError(f"the endpoint refuses the key: {self._masked(error)}", self.url, fix)
        if isinstance(error, openai.NotFoundError):
            fix = "check the URL (it often ends in /v1) and the model's name"
            return ModelError(f"the endpoint does not know {model}: {self._masked(error)}", self.url, fix)
        if isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError | openai.APIStatusError):
            refused = error.status_code in (400, 413, 422)
            return (RequestRejected if refused else RequestFailed)(self._masked(error))
        if isinstance(error, openai.OpenAIError | ValueError):
            return RequestFailed(self._masked(error))
        return error

    def _masked(self, error: BaseException) -> str:
        key = os.environ.get(self.api_key_env)
        said = " ".join(str(error).split()) or type(error).__name__
        return (said.replace(key, "***") if key else said)[:300]


def _arguments(way: Route, model: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The library's arguments: it checks the names of those that it knows, so that all others go beside them."""
    question = "messages" if way == "chat/completions" else "prompt"
    rest = {name: value for name, value in body.items() if name != question}
    return {"model": model, question: body[question], "extra_body": rest}
