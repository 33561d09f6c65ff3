"""Download one file over HTTP with nothing but the standard library, going on where an earlier attempt stopped."""

import functools
import importlib.util
import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from rolesum.console import ProgressBar
from rolesum.errors import error_summary

BLOCK = 1 << 20
ATTEMPTS = 4  # in a row that bring nothing
_TIMEOUT = 30  # seconds without a byte
_LARGEST_PAGE = 20 << 20
# Of the errors of a request itself, those that a later attempt may not meet: timeout, too many requests.
_PASSING = {408, 429}
# Where pip and others are told about certificates of a network's own.
_CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class Digest(Protocol):
    """What a hash of hashlib does here."""

    def update(self, data: bytes, /) -> None: ...


class NetworkError(Exception):
    """A file cannot be fetched. `final` means that trying again is of no use."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


def download_file(
    url: str, target: Path, size: int, progress: ProgressBar, *, digest: Digest | None = None, attempts: int = ATTEMPTS
) -> None:
    """Write what is at `url` to `target`, which appears when it is whole.

    The bytes on the way are in a file with the suffix .part, which stays when the download is interrupted, and which
    the next call goes on with.

    Args:
        url: An http, https or file address.
        target: The file to write.
        size: Its bytes, which must be known.
        progress: Advanced by the bytes, those of an earlier attempt included.
        digest: Fed with all bytes in their order, those of an earlier attempt included.
        attempts: How many connections in a row may bring nothing.

    Raises:
        NetworkError: The file cannot be fetched, or has another size.
        OSError: It cannot be written.
    """
    part = part_file(target)
    try:
        with part.open("ab+") as file:
            done = _take_up(file, size, digest)
            progress.start_at(progress.done + done)
            failures = 0
            while done < size:
                before = done
                try:
                    for block in _blocks(url, done, size):
                        file.write(block)
                        done += len(block)
                        progress.advance(len(block))
                        if digest is not None:
                            digest.update(block)
                except NetworkError as error:
                    failures = 0 if done > before else failures + 1
                    if error.final or failures >= attempts:
                        raise
                    if failures:
                        time.sleep(min(2**failures, 8))
        part.replace(target)
    finally:
        if part.is_file() and part.stat().st_size == 0:
            part.unlink()


def part_file(target: Path) -> Path:
    """Where the bytes of an unfinished download of `target` are."""
    return target.with_name(f"{target.name}.part")


def _take_up(file: IO[bytes], size: int, digest: Digest | None) -> int:
    """The bytes that an earlier attempt left, which `digest` is fed with; `file` then stands at their end."""
    done = file.seek(0, os.SEEK_END)
    if done > size:
        file.truncate(0)
        done = 0
    if digest is not None:
        file.seek(0)
        while block := file.read(BLOCK):
            digest.update(block)
    return done


def _blocks(url: str, start: int, size: int) -> Iterator[bytes]:
    """The bytes from `start` on. Raises NetworkError where they end before `size`, or would not."""
    place = 0
    with _network_errors(), _open(url, {"Range": f"bytes={start}-", "Accept-Encoding": "identity"}) as response:
        place = _first_byte(response, start, size)
        while block := response.read1(BLOCK):
            new = block[max(start - place, 0) :]  # of a server that sends the file from its beginning
            place += len(block)
            if place > size:
                raise NetworkError(f"it has more than the {size:,} bytes expected", final=True)
            if new:
                yield new
    if place < size:
        raise NetworkError(f"the connection ended after {place:,} of {size:,} bytes")


def read_page(url: str, accept: str) -> tuple[str, bytes]:
    """The address, behind redirects, and the body of a page. Raises NetworkError."""
    with _network_errors(), _open(url, {"Accept": accept}) as response:
        return str(response.url), bytes(response.read(_LARGEST_PAGE))


def _open(url: str, headers: dict[str, str]) -> Any:
    return urlopen(Request(url, headers={"User-Agent": "rolesum", **headers}), timeout=_TIMEOUT, context=_tls())


@contextmanager
def _network_errors() -> Iterator[None]:
    """What can happen to a connection, as NetworkError."""
    try:
        yield
    except HTTPError as error:
        final = error.code < 500 and error.code not in _PASSING
        raise NetworkError(f"HTTP status {error.code} {error.reason}".rstrip(), final=final) from None
    except URLError as error:
        cause = error.reason
        raise NetworkError(_reason(cause) if isinstance(cause, BaseException) else cause) from None
    except (OSError, HTTPException, ValueError) as error:  # ValueError: an address that is none
        raise NetworkError(_reason(error)) from None


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or error_summary(error)


def _first_byte(response: Any, start: int, size: int) -> int:
    """The place in the file of a response's first byte. Raises NetworkError where the file has another size."""
    first, total = 0, response.headers.get("Content-Length")
    if getattr(response, "status", None) == 206:
        # bytes 1000-1999/81969749
        span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        with suppress(ValueError):
            first = int(span.partition("-")[0])
        if first > start:
            raise NetworkError(f"the server sends from byte {first:,}, asked for {start:,}", final=True)
    if total and total.isdigit() and int(total) != size:
        raise NetworkError(f"it has {int(total):,} bytes, expected {size:,}", final=True)
    return first


@functools.cache
def _tls() -> ssl.SSLContext:
    """The certificates of the system, of certifi (Python on macOS has none of its own), and of pip's settings."""
    context = ssl.create_default_context()
    if importlib.util.find_spec("certifi"):
        import certifi

        context.load_verify_locations(certifi.where())
    for name in _CERTIFICATES:
        if (path := os.environ.get(name)) and Path(path).is_file():
            with suppress(OSError):  # a file that holds no certificates: the connection says what is wrong
                context.load_verify_locations(path)
    return context
