"""Checks of the Host header, the origin and the size of an HTTP request, used by every server of this package.

The types are those of ASGI, so this module needs no web framework.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any

from rolesum.sockets import hostname, is_loopback

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def request_headers(scope: Scope) -> dict[str, str]:
    """Return the headers of a request by their lower-case names."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def is_local_host(headers: Mapping[str, str]) -> bool:
    """Return whether the Host header names the loopback interface.

    A server without credentials must refuse every other name: a page of another site can make its own name resolve to
    127.0.0.1 (DNS rebinding) and would then count as the same origin.
    """
    return is_loopback(hostname(headers.get("host", "")))


def is_cross_site(headers: Mapping[str, str], allowed_origins: Collection[str] = ()) -> bool:
    """Return whether a browser sent this request for a page of another site that is not in `allowed_origins`."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if origin is not None and origin in allowed_origins:
        return False
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return True
    return headers.get("sec-fetch-site") == "cross-site"


def declared_body_size(headers: Mapping[str, str]) -> int | None:
    """Return the bytes that Content-Length announces; None without a valid one, as in a chunked request."""
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None
