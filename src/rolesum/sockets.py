"""Listening sockets of the HTTP servers, and helpers for host names: URL, Host header, loopback."""

import ipaddress
import socket
from urllib.parse import urlsplit

from rolesum.os_errors import os_error


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a bound socket that does not listen yet; port 0 takes a free port. Raises ResourceError."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, OverflowError) as error:
        fix = "give another --port, or --port 0 for a free one"
        raise os_error(error, "cannot listen", f"{host}:{port}", fix) from None
    return bound


def socket_url(bound: socket.socket, host: str) -> str:
    """The URL of a bound socket; with this machine's name where it listens on all addresses."""
    shown = socket.gethostname() if host in ("0.0.0.0", "::") else host
    address = f"[{shown}]" if ":" in shown else shown
    return f"http://{address}:{bound.getsockname()[1]}"


def hostname(host: str) -> str:
    """The name in a Host header, without the port; empty if the header is not valid."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether `host` is an address that only this machine reaches."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
