"""The web page and its files, all from this package: the page loads nothing from elsewhere."""

from importlib import resources

from fastapi import APIRouter
from fastapi.responses import Response

from rolesum.server.problems import HTTPProblem

router = APIRouter(include_in_schema=False)

_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def _read_files() -> dict[str, str]:
    directory = resources.files("rolesum.server") / "page"
    return {file.name: file.read_text(encoding="utf-8") for file in directory.iterdir() if file.is_file()}


FILES = _read_files()


@router.get("/")
async def page() -> Response:
    """The page."""
    headers = {"Content-Security-Policy": _CONTENT_SECURITY_POLICY}
    return Response(FILES["index.html"], media_type="text/html; charset=utf-8", headers=headers)


@router.get("/page/{name}")
async def page_file(name: str) -> Response:
    """A script, style sheet or image of the page."""
    if name not in FILES:
        raise HTTPProblem(404, "the page has no such file")
    media_type = _MEDIA_TYPES[f".{name.rpartition('.')[2]}"]
    return Response(FILES[name], media_type=f"{media_type}; charset=utf-8")
