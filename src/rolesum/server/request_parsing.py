"""A request's body as what it asks: JSON, or a form with a file."""

import json
import re
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from rolesum.errors import Problem, UsageError
from rolesum.server.limits import Limits
from rolesum.server.problems import Refusal
from rolesum.server.reading import Upload
from rolesum.server.schemas import BatchRequest, DialogueIn, Options, SummaryRequest, TurnIn

Body = TypeVar("Body", bound=BaseModel)

# Of a form: what is JSON inside a field, and what may be written with commas.
_JSON_FIELDS = ("speakers", "columns", "options", "dialogue", "dialogues")
_MAPPINGS = ("speakers", "columns")
_LISTS = ("roles",)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s;\"']+)", re.IGNORECASE)
# Of one object.
MOST_KEYS = 1000
KEYS = sorted(
    {name for kind in (SummaryRequest, BatchRequest, Options, DialogueIn, TurnIn) for name in kind.model_fields}
)


@dataclass(frozen=True)
class Sent:
    """A body as it came: JSON, or the fields of a form and its file."""

    raw: bytes = b""
    fields: dict[str, Any] | None = None
    upload: Upload | None = None

    def asked(self, kind: type[Body]) -> Body:
        """What is asked. Raises Refusal, or UsageError with all that is wrong; it may take a while."""
        return of_json(self.raw, kind) if self.fields is None else _checked(self.fields, kind)


async def sent_with(request: Request, limits: Limits) -> Sent:
    """The whole body. Raises Refusal for one of a kind that is not read."""
    media, _, rest = request.headers.get("content-type", "").partition(";")
    media = media.strip().lower()
    charset = _CHARSET.search(rest)
    if charset and charset[1].lower() not in ("utf-8", "utf8"):
        raise Refusal(415, f"the charset {charset[1][:40]}", where="Content-Type", fix="send UTF-8")
    if media == "application/json":
        return Sent(await request.body())
    if media == "multipart/form-data":
        return await _form(request, limits)
    what = f"the body is {media or 'of no kind'}"
    raise Refusal(415, what, where="Content-Type", fix="send application/json, or multipart/form-data with a file")


def of_json(raw: bytes, kind: type[Body]) -> Body:
    """Raises Refusal for what is no JSON, UsageError with all that is wrong in it."""
    try:
        found = json.loads(raw, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"broken JSON: {error}"[:300], where="body", fix="send JSON in UTF-8") from None
    return _checked(found, kind)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """What is wrong is told key by key: so many and no more."""
    if len(pairs) > MOST_KEYS:
        raise Refusal(422, f"an object of {len(pairs):,} keys; at most {MOST_KEYS:,} are taken", where="body")
    return dict(pairs)


def _checked(found: Any, kind: type[Body]) -> Body:
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        fix = "see /openapi.json"
        raise UsageError([Problem.from_pydantic(one, fix=fix, known=KEYS) for one in details]) from None


async def _form(request: Request, limits: Limits) -> Sent:
    values: dict[str, Any] = {}
    upload: Upload | None = None
    try:
        async with request.form(max_files=1, max_fields=30, max_part_size=limits.body_bytes) as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    if name != "file":
                        raise Refusal(422, f'a file in the field "{name}"', fix='send it in the field "file"')
                    upload = Upload(_shown(value.filename), await value.read())
                elif name in _LISTS:
                    values.setdefault(name, []).extend(
                        one for one in value.replace("，", ",").split(",") if one.strip()
                    )
                else:
                    values[name] = _json_field(name, value) if name in _JSON_FIELDS else value
    except MultiPartException as error:
        raise Refusal(400, f"not a form that can be read: {error.message}", fix="send multipart/form-data") from None
    return Sent(fields=values, upload=upload)


def _json_field(name: str, value: str) -> Any:
    """JSON; a plain mapping may be written as on the command line, "Anna=user,Tom=agent"."""
    if name in _MAPPINGS and not value.lstrip().startswith("{"):
        pairs = [pair.partition("=") for pair in value.replace("，", ",").split(",")]
        return {key.strip(): column.strip() for key, _, column in pairs}
    try:
        return json.loads(value, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise Refusal(422, f"broken JSON: {error}"[:300], where=name, fix='write {"key": "value"}') from None


def _shown(filename: str | None) -> str:
    """A file's own name, without the folders that a client may write before it."""
    name = (filename or "file").replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(one for one in name if one.isprintable())[:200] or "file"
