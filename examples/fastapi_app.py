"""Summaries in an application of your own: uvicorn --app-dir examples fastapi_app:app

The environment variable ADAPTER names a run of yours; without it, the bundled adapter is used. Requests that arrive
together are generated in one batch. `rolesum serve` is a whole service, with keys, limits and batches. Needs fastapi
and uvicorn.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

import rolesum


class Chat(BaseModel):
    """A dialogue as lines of "Speaker: text", and the roles to summarize it for."""

    text: str
    roles: list[str] | None = None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with rolesum.Summarizer.from_pretrained(os.environ.get("ADAPTER"), max_new_tokens=80) as summarizer:
        app.state.summarizer = summarizer
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/summaries")
async def summarize(chat: Chat, request: Request) -> dict[str, str]:
    """The summary of each role."""
    summaries = await request.app.state.summarizer.acall(chat.text, roles=chat.roles)
    return {one.role: one.text for one in summaries}


@app.post("/stream")
async def stream(chat: Chat, request: Request) -> StreamingResponse:
    """The summary of the whole dialogue, word by word."""
    pieces = request.app.state.summarizer.stream(chat.text, roles="overall")
    return StreamingResponse((text async for _, text in pieces), media_type="text/plain")


@app.exception_handler(rolesum.RolesumError)
async def explain(_: Request, error: rolesum.RolesumError) -> JSONResponse:
    """Errors of the request say what is wrong with it; exit codes 2 and 3 are those of wrong usage and data."""
    return JSONResponse({"error": str(error)}, 422 if error.exit_code in (2, 3) else 500)
