"""Receives request bodies: JSON as it comes, a form as its fields and its file."""

import re

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from rolesum.server.limits import Limits
from rolesum.server.problems import HTTPProblem
from rolesum.server.request_parsing import RequestBody, Upload

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s;\"']+)", re.IGNORECASE)


async def read_body(request: Request, limits: Limits) -> RequestBody:
    """Receive the whole body. Raises HTTPProblem for an unknown content type or charset, or a broken form."""
    media, _, rest = request.headers.get("content-type", "").partition(";")
    media = media.strip().lower()
    charset = _CHARSET.search(rest)
    if charset and charset[1].lower() not in ("utf-8", "utf8"):
        raise HTTPProblem(415, f"the charset is {charset[1][:40]}", where="Content-Type", fix="send UTF-8")
    if media == "application/json":
        return RequestBody(await request.body())
    if media == "multipart/form-data":
        return await _read_form(request, limits)
    what = f'the content type is "{media[:100]}"' if media else "there is no content type"
    fix = "send application/json, or multipart/form-data with a file"
    raise HTTPProblem(415, what, where="Content-Type", fix=fix)


async def _read_form(request: Request, limits: Limits) -> RequestBody:
    fields: list[tuple[str, str]] = []
    upload: Upload | None = None
    try:
        async with request.form(max_files=1, max_fields=30, max_part_size=limits.max_body_bytes) as form:
            for name, value in form.multi_items():
                if not isinstance(value, UploadFile):
                    fields.append((name, value))
                elif name == "file":
                    upload = Upload(_display_name(value.filename), await value.read())
                else:
                    what = f'the field "{name}" holds a file'
                    raise HTTPProblem(422, what, fix='send the file in the field "file"')
    except MultiPartException as error:
        fix = "send valid multipart/form-data"
        raise HTTPProblem(400, f"the form cannot be parsed: {error.message}", fix=fix) from None
    return RequestBody(fields=fields, upload=upload)


def _display_name(filename: str | None) -> str:
    """The name of an uploaded file without the directories that a client may put before it."""
    name = (filename or "file").replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(character for character in name if character.isprintable())[:200] or "file"
