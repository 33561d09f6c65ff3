"""Errors as RFC 9457 problem documents: what happened, where, and how to fix it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from rolesum.errors import (
    SHOWN_PROBLEMS,
    DataError,
    LengthError,
    ModelError,
    Problem,
    ResourceError,
    RolesumError,
    SizeError,
    UsageError,
)
from rolesum.server.openai_schemas import (
    UNSUPPORTED_KEYS,
    ChatRequest,
    CompletionRequest,
    OpenAIRequest,
    ResponseRequest,
)
from rolesum.server.schemas import (
    BatchRequest,
    GenerationParameters,
    InputOptions,
    ReadRequest,
    SummaryOptions,
    SummaryRequest,
)

MEDIA_TYPE = "application/problem+json"
# The class of an error -> the name in its document's `type`, and the HTTP status: 4xx for what the client can fix.
_ERROR_TYPES: dict[type[RolesumError], tuple[str, int]] = {
    UsageError: ("usage", 422),
    SizeError: ("size", 413),
    LengthError: ("length", 422),
    DataError: ("data", 422),
    ModelError: ("model", 500),
    ResourceError: ("resources", 503),
    RolesumError: ("failed", 500),
}
# The names of RFC 9110, which HTTPStatus has since Python 3.13 only.
_NEW_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}


class HTTPProblem(Exception):
    """An error response of the server itself, with its status and headers."""

    def __init__(
        self, status: int, what: str, *, where: str = "", fix: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self.status, self.problem, self.headers = status, Problem(what, where, fix), dict(headers or {})
        super().__init__(what)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.status, self.problem, self.headers)  # errors travel between processes


def _restore(status: int, problem: Problem, headers: Mapping[str, str]) -> HTTPProblem:
    return HTTPProblem(status, problem.what, where=problem.where, fix=problem.fix, headers=headers)


def title(status: int) -> str:
    """Return the name of an HTTP status: "Not Found"."""
    return _NEW_TITLES.get(status) or HTTPStatus(status).phrase


def problem_document(
    status: int, problems: Sequence[Problem], *, error_type: str = "", instance: str = ""
) -> dict[str, Any]:
    """Return the problem document; for a path of OpenAI's API, with the `error` that its clients read."""
    first = problems[0]
    name = error_type or title(status).lower().replace(" ", "-")
    own: dict[str, Any] = {}
    if instance.startswith(_OPENAI_PATHS):
        status = 400 if status == 422 else status  # 422 is no status of that API
        own = {"error": _openai_error(status, first, name)}
    return {
        "type": f"urn:rolesum:problem:{name}",
        "title": title(status),
        "status": status,
        "detail": first.what,
        "where": first.where,
        "fix": first.fix,
        "instance": instance,
        "problems": [asdict(problem) for problem in problems[:SHOWN_PROBLEMS]],
        **own,
    }


# The kinds and codes of errors in OpenAI's API.
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_OPENAI_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


def _openai_error(status: int, problem: Problem, name: str) -> dict[str, Any]:
    """A problem as an error of OpenAI's API. `param` is the key of the request that it is about."""
    key = re.split(r"[.\[ ]", problem.where)[0]
    keys = {field for request in _OPENAI_REQUESTS.values() for field in request.model_fields} | set(UNSUPPORTED_KEYS)
    code = _OPENAI_CODES.get(status, name)
    if name == "length":
        code = "context_length_exceeded"
    elif status == 404 and key == "model":
        code = "model_not_found"
    elif key in UNSUPPORTED_KEYS:
        code = "unsupported_parameter"
    kind = _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"message": str(problem), "type": kind, "param": key if key in keys else None, "code": code}


def document_of_http_problem(error: HTTPProblem, instance: str = "") -> dict[str, Any]:
    """Return the problem document of an HTTPProblem."""
    return problem_document(error.status, [error.problem], instance=instance)


def document_of_error(error: RolesumError, instance: str = "") -> dict[str, Any]:
    """Return the problem document of an error that the library raised."""
    name, status = next(found for kind, found in _ERROR_TYPES.items() if isinstance(error, kind))
    problems = [_with_request_keys(problem, instance) for problem in error.problems[:SHOWN_PROBLEMS]]
    return problem_document(status, problems, error_type=name, instance=instance)


_OPENAI_REQUESTS: dict[str, type[OpenAIRequest]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/v1/responses": ResponseRequest,
}
_OPENAI_PATHS = (*_OPENAI_REQUESTS, "/v1/models")
# An option of the command line -> the key of a request that does the same.
_REQUEST_KEYS = {
    **{name: f"options.{name}" for name in GenerationParameters.model_fields},
    **{name: name for model in (SummaryOptions, InputOptions) for name in model.model_fields},
    "speaker": "speakers",
}
_OTHER_PATH = "/v1/summaries"  # which has all of these keys
_REQUESTS: dict[str, type[BaseModel]] = {
    _OTHER_PATH: SummaryRequest,
    "/v1/batches": BatchRequest,
    "/v1/dialogues": ReadRequest,
    **_OPENAI_REQUESTS,
}
_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)")
_SPEAKER = re.compile(r'--speaker "([^"]*)=(\w+)"')


def _with_request_keys(problem: Problem, path: str) -> Problem:
    """Replace the command line's options in a problem's texts by keys of the request that was sent to `path`.

    A key that this request does not have is named with the path that has it.
    """
    request: type[BaseModel] = _REQUESTS.get(path, SummaryRequest)

    def key(option: str) -> str | None:
        name = option.replace("-", "_")
        own: str | None
        if issubclass(request, OpenAIRequest):
            names = ("max_tokens", "max_output_tokens") if name == "max_new_tokens" else (name,)
            own = next((one for one in names if one in request.model_fields), None)
        else:
            found = _REQUEST_KEYS.get(name, "")
            own = found if found.partition(".")[0] in request.model_fields else None
        return own or (f"{_REQUEST_KEYS[name]} of {_OTHER_PATH}" if name in _REQUEST_KEYS else None)

    def speaker(found: re.Match[str]) -> str:
        here = "" if "speakers" in request.model_fields else f" of {_OTHER_PATH}"
        return f'"speakers": {{"{found[1]}": "{found[2]}"}}{here}'

    def translated(text: str) -> str:
        return _OPTION.sub(lambda found: key(found[1]) or found[0], _SPEAKER.sub(speaker, text))

    return replace(problem, what=translated(problem.what), where=translated(problem.where), fix=translated(problem.fix))
