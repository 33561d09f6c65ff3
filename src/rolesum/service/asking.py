"""A request's body as what it asks: JSON, or a form with a file."""

import json
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from rolesum.errors import Problem, UsageError
from rolesum.service.problems import Refusal
from rolesum.service.reading import Upload

Body = TypeVar("Body", bound=BaseModel)

# Of a form: what is JSON inside a field, and what may be written with commas.
_JSON_FIELDS = ("speakers", "columns", "options", "dialogue", "dialogues")
_LISTS = ("roles",)


async def asked_of(request: Request, kind: type[Body]) -> tuple[Body, Upload | None]:
    """What is asked, and the file that came with it. Raises Refusal, or UsageError with all that is wrong."""
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media == "application/json":
        return of_json(await request.body(), kind), None
    if media == "multipart/form-data":
        return await _of_form(request, kind)
    what = f"the body is {media or 'of no kind'}"
    raise Refusal(415, what, where="Content-Type", fix="send application/json, or multipart/form-data with a file")


def of_json(raw: bytes, kind: type[Body]) -> Body:
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        raise _refused(error) from None


async def _of_form(request: Request, kind: type[Body]) -> tuple[Body, Upload | None]:
    values: dict[str, Any] = {}
    upload: Upload | None = None
    try:
        async with request.form(max_files=1, max_fields=30) as form:
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
    try:
        return kind.model_validate(values), upload
    except ValidationError as error:
        raise _refused(error) from None


def _json_field(name: str, value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Refusal(422, f"broken JSON: {error}", where=name, fix='write {"key": "value"}') from None


def _shown(filename: str | None) -> str:
    """A file's own name, without the folders that a client may write before it."""
    name = (filename or "file").replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(one for one in name if one.isprintable())[:200] or "file"


def _refused(error: ValidationError) -> Exception:
    """400 for what is no JSON; else every key that is wrong."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return Refusal(400, str(first["msg"]), where="body", fix="send JSON in UTF-8")
    return UsageError([_problem(detail) for detail in error.errors(include_url=False, include_input=False)])


def _problem(detail: Any) -> Problem:
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return Problem(f'unknown key "{detail["loc"][-1]}"', where, "see /openapi.json")
    return Problem(str(detail["msg"]), where, "see /openapi.json")
