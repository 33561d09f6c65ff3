"""Sockets that the pages and the service listen on, and which addresses are this machine's own."""

import ipaddress
import socket
from urllib.parse import urlsplit

from rolesum.errors import ResourceError


def bind(host: str, port: int) -> socket.socket:
    """A socket that is bound and does not listen yet; port 0 takes a free one. Raises ResourceError."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, OverflowError) as error:
        fix = "give another --port, or --port 0 for a free one"
        what = f"cannot listen: {getattr(error, 'strerror', None) or error}"
        raise ResourceError(what, f"{host}:{port}", fix) from None
    return bound


def url_of(bound: socket.socket, host: str) -> str:
    """Where a browser finds the socket; for one that listens everywhere, under this machine's name."""
    shown = socket.gethostname() if host in ("0.0.0.0", "::") else host
    address = f"[{shown}]" if ":" in shown else shown
    return f"http://{address}:{bound.getsockname()[1]}"


def hostname(host: str) -> str:
    """The name in a Host header, without its port; empty for one that is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
