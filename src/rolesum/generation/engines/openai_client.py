"""The client of an OpenAI-compatible endpoint, which retries a busy server and turns the SDK's errors into rolesum's.

The openai engine and the LLM judge use it. It sends the request, the name of the model and the key, and nothing else.
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

# Headers of the SDK that describe this machine and its user; they are left out.
_OMITTED_HEADERS = (
    *("X-Stainless-Lang", "X-Stainless-Package-Version", "X-Stainless-OS", "X-Stainless-Arch"),
    *("X-Stainless-Runtime", "X-Stainless-Runtime-Version", "X-Stainless-Async"),
    *("OpenAI-Organization", "OpenAI-Project"),
)
# Retries of the first call, which lists the models: the URL may be wrong, and the user is waiting.
_FIRST_RETRIES = 2
# Seconds for an answer about the server itself.
_ASK_SECONDS = 10.0


class RequestFailed(Exception):
    """A request got no answer after all retries; the message says why."""


class RequestRejected(RequestFailed):
    """The endpoint rejected a request that no retry would help."""


def check_endpoint_url(url: str, api_key_env: str = API_KEY_VARIABLE) -> None:
    """Raise UsageError for what is not the URL of an endpoint, or holds a password."""
    fix = "such as http://localhost:8000/v1"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"not the URL of an endpoint: {error}", url.split("@")[-1], fix) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("not the URL of an endpoint", url.split("@")[-1], fix)
    if parts.username or parts.password or parts.query:
        fix = f"give the key in the environment variable {api_key_env}"
        raise UsageError("the URL holds a password or parameters, which results would show", parts.hostname, fix)


@dataclass
class OpenAIClient:
    """A client of the endpoint at `url`. The key is read from the environment variable `api_key_env`, never stored.

    `retries` is the number of retries after a 408, 409, 429, a 5xx, a broken connection or `timeout` seconds, with
    pauses that double from half a second up to 8, or of up to a minute where the server asks for it (Retry-After).
    """

    url: str
    api_key_env: str = API_KEY_VARIABLE
    timeout: float = 120.0
    retries: int = 6
    _client: Any = field(default=None, init=False, repr=False)
    _lock: Any = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        check_endpoint_url(self.url, self.api_key_env)

    def complete(self, route: Route, model: str, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
        """The endpoint's response as JSON, and the number of retries that it took.

        Raises RequestFailed, RequestRejected; ModelError where no other request would succeed.
        """
        client = self.sdk_client()
        try:
            raw = self._calls(client, route).with_raw_response.create(**_arguments(route, model, body))
            answer = raw.http_response.json()
            if not isinstance(answer, dict):
                raise ValueError("the endpoint's answer is not an object")
            return answer, raw.retries_taken
        except Exception as error:
            raise self._translated(error, model) from None

    def stream(self, route: Route, model: str, body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The pieces of a response as they come. Raises as `complete` does; a stream that breaks off is not retried."""
        client = self.sdk_client()
        try:
            with self._calls(client, route).create(stream=True, **_arguments(route, model, body)) as pieces:
                for piece in pieces:
                    yield piece.to_dict()
        except Exception as error:
            raise self._translated(error, model) from None

    def list_models(self) -> list[Mapping[str, Any]]:
        """The models that the endpoint lists, as it describes them; empty where it lists none.

        Raises ResourceError where the endpoint does not answer, ModelError where the key is refused.
        """
        client = self.sdk_client()
        import openai

        try:
            raw = client.with_options(max_retries=min(self.retries, _FIRST_RETRIES)).models.with_raw_response.list()
            models = raw.http_response.json()["data"]
            return [one for one in models if isinstance(one, dict) and isinstance(one.get("id"), str)]
        except openai.APITimeoutError:
            return []  # it may be busy with a long request
        except openai.APIConnectionError as error:
            why = self._masked(error.__cause__ or error)
            raise ResourceError(f"no answer: {why}", self.url, "start the server, or check the URL") from None
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise self._translated(error, "") from None
        except (openai.OpenAIError, ValueError, KeyError, TypeError):
            return []

    def detokenize(self, ids: list[int], model: str) -> str | None:
        """The text of ids by the endpoint's tokenizer; None where it has no /detokenize (vLLM and llama.cpp have)."""
        answer = self.ask("/detokenize", {"model": model, "tokens": ids}) or {}
        text = answer.get("content", answer.get("prompt"))
        return text if isinstance(text, str) else None

    def ask(
        self, path: str, body: Mapping[str, Any] | None = None, *, timeout: float = _ASK_SECONDS
    ) -> Mapping[str, Any] | None:
        """The JSON object at a path of the server that is not of OpenAI's API; None where there is none.

        The path stands beside /v1. With a `body` it is a POST.
        """
        url = self.url.rstrip("/").removesuffix("/v1") + path
        client = self.sdk_client().with_options(max_retries=0, timeout=timeout)
        try:
            raw = client.get(url, cast_to=object) if body is None else client.post(url, body=body, cast_to=object)
        except Exception:  # other servers answer an unknown path in many ways
            return None
        return raw if isinstance(raw, dict) else None

    def sdk_client(self) -> Any:
        """The client of the openai package, made once. Raises UsageError where the package is not installed."""
        try:
            import openai
        except ImportError:
            what = "the package openai, which talks to endpoints, is not installed"
            raise UsageError(what, fix="pip install 'rolesum[openai]'") from None
        with self._lock:
            if self._client is None:
                self._client = openai.OpenAI(
                    base_url=self.url,
                    api_key=os.environ.get(self.api_key_env) or "none",  # a local server may need no key
                    timeout=self.timeout,
                    max_retries=self.retries,
                    default_headers={name: openai.Omit() for name in _OMITTED_HEADERS},  # type: ignore[misc]
                )
        return self._client

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _calls(self, client: Any, route: Route) -> Any:
        return client.chat.completions if route == "chat/completions" else client.completions

    def _translated(self, error: Exception, model: str) -> Exception:
        """An error of the openai package as one of rolesum's."""
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


def _arguments(route: Route, model: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The SDK's arguments: it checks the names that it knows, so all other fields go into `extra_body`."""
    question = "messages" if route == "chat/completions" else "prompt"
    rest = {name: value for name, value in body.items() if name != question}
    return {"model": model, question: body[question], "extra_body": rest}
