"""Errors as RFC 9457 problem documents: what happened, where, and what to do, as on the command line."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from rolesum.errors import SHOWN_PROBLEMS, DataError, ModelError, Problem, ResourceError, RolesumError, UsageError
from rolesum.server.schemas import Options, Reading, Wishes

MEDIA_TYPE = "application/problem+json"
# The kind of an error -> (its name, its status). What the client got wrong is 4xx, what the server lacks 5xx.
_KINDS: dict[type[RolesumError], tuple[str, int]] = {
    UsageError: ("usage", 422),
    DataError: ("data", 422),
    ModelError: ("model", 500),
    ResourceError: ("resources", 503),
    RolesumError: ("failed", 500),
}
TITLES = {
    400: "Not a request that can be read",
    401: "No key, or a wrong one",
    403: "Not allowed",
    404: "No such thing here",
    405: "Not this method",
    406: "Not in this form",
    408: "Too slow",
    409: "Not as things stand",
    413: "Too much at once",
    415: "Not this kind of body",
    422: "Cannot be done as asked",
    429: "Too many at once",
    431: "Headers too long",
    500: "Failed",
    503: "Not now",
    504: "Took too long",
}


class Refusal(Exception):
    """What the service itself refuses, with its status and headers."""

    def __init__(
        self, status: int, what: str, *, where: str = "", fix: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self.status, self.problem, self.headers = status, Problem(what, where, fix), dict(headers or {})
        super().__init__(what)


def document(status: int, problems: Sequence[Problem], kind: str = "", instance: str = "") -> dict[str, Any]:
    """The problem document. `error` is what clients of OpenAI's API read."""
    first = problems[0]
    name = kind or TITLES.get(status, "failed").lower().replace(" ", "-").replace(",", "")
    return {
        "type": f"urn:rolesum:problem:{name}",
        "title": TITLES.get(status, "Failed"),
        "status": status,
        "detail": first.what,
        "where": first.where,
        "fix": first.fix,
        "instance": instance,
        "problems": [asdict(one) for one in problems[:SHOWN_PROBLEMS]],
        "error": {"message": str(first), "type": name, "param": None, "code": name},
    }


def of_error(error: RolesumError, instance: str = "") -> dict[str, Any]:
    """The document of one of our own errors."""
    kind, status = next(found for one, found in _KINDS.items() if isinstance(error, one))
    return document(status, [_in_json(one) for one in error.problems[:SHOWN_PROBLEMS]], kind, instance)


# An option of the command line -> the key that does the same here.
_KEYS = {
    **{name: f"options.{name}" for name in Options.model_fields},
    **{name: name for kind in (Wishes, Reading) for name in kind.model_fields},
    "speaker": "speakers",
}
_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)")
_SPEAKER = re.compile(r'--speaker "([^"]*)=(\w+)"')


def _in_json(problem: Problem) -> Problem:
    """With the keys of a request in the place of the command line's options; what has no key stays as it is."""

    def key(found: re.Match[str]) -> str:
        return _KEYS.get(found[1].replace("-", "_"), found[0])

    def told(text: str) -> str:
        return _OPTION.sub(key, _SPEAKER.sub(r'"speakers": {"\1": "\2"}', text))

    return replace(problem, what=told(problem.what), where=told(problem.where), fix=told(problem.fix))


def of_refusal(refusal: Refusal, instance: str = "") -> dict[str, Any]:
    return document(refusal.status, [refusal.problem], instance=instance)
