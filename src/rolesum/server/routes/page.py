"""The web page and its parts, from this package's own files: nothing comes from elsewhere."""

from importlib import resources

from fastapi import APIRouter
from fastapi.responses import Response

from rolesum.server.problems import Refusal

router = APIRouter(include_in_schema=False)

_FOLDER = resources.files("rolesum.server") / "page"
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def _files() -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in _FOLDER.iterdir() if file.is_file()}


FILES = _files()


@router.get("/")
async def page() -> Response:
    """The page itself."""
    return Response(
        FILES["index.html"], media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": _POLICY}
    )


@router.get("/page/{name}")
async def part(name: str) -> Response:
    """A script, a style or a picture of the page."""
    if name not in FILES:
        raise Refusal(404, "no such part of the page")
    kind = _KINDS[f".{name.rpartition('.')[2]}"]
    return Response(FILES[name], media_type=f"{kind}; charset=utf-8")
