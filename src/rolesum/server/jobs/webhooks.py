"""Webhooks: tells a client's address that its batch has ended, with a signature, and never a private address.

The address that a name resolves to is checked, and the connection is made to that very address: a name that resolves
otherwise a moment later (DNS rebinding) changes nothing. Redirects are not followed.
"""

import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from urllib.parse import SplitResult, urlsplit

from rolesum import strict_json
from rolesum.errors import UsageError
from rolesum.server.problems import HTTPProblem
from rolesum.server.schemas import BatchOut

SECRET_VARIABLE = "ROLESUM_WEBHOOK_SECRET"
MIN_SECRET_BYTES = 16

# Seconds before each further try: about nine hours in all.
RETRY_DELAYS = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 21600.0)

_TIMEOUT = 10.0  # seconds for a connection, and for each piece of an answer
_DEADLINE = 20.0  # seconds for the whole request: a receiver may send its answer byte by byte
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # IPv4 addresses as IPv6 (NAT64)
_FIX = "give the https address of a server on the public internet"


class WebhookFailed(Exception):
    """A webhook was not received; the message says why."""


@dataclass(frozen=True)
class Webhooks:
    """Sends webhooks, each signed with `secret`; to private addresses only with `allow_private`."""

    secret: bytes
    allow_private: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for a secret that could be guessed."""
        if len(self.secret) < MIN_SECRET_BYTES:
            what = f"{SECRET_VARIABLE} has {len(self.secret)} bytes"
            raise UsageError(what, fix=f"at least {MIN_SECRET_BYTES}, such as those of: openssl rand -hex 32")

    def check(self, url: str) -> None:
        """Raise HTTPProblem 422 for an address to which no webhook may be sent."""
        try:
            _addresses(self._split(url), self.allow_private)
        except WebhookFailed as error:
            raise HTTPProblem(422, str(error), where="webhook_url", fix=_FIX) from None

    def send(self, url: str, batch: BatchOut) -> None:
        """Send the state of a batch. Raises WebhookFailed unless the receiver answers with a status of 200 to 299."""
        parts = self._split(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        address = _addresses(parts, self.allow_private)[0]
        body = strict_json.dumps({"event": "batch.ended", "batch": batch.model_dump()}).encode()
        connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
        connection.default_port = 443 if parts.scheme == "https" else 80  # which the header Host leaves out
        try:
            opened = socket.create_connection((address, port), _TIMEOUT)
            connection.sock = opened
            deadline = threading.Timer(_DEADLINE, _shut, [opened])
            deadline.daemon = True
            deadline.start()
            try:
                if parts.scheme == "https":
                    connection.sock = ssl.create_default_context().wrap_socket(opened, server_hostname=host)
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request("POST", target, body, self._headers(body))
                status = connection.getresponse().status
            finally:
                deadline.cancel()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise WebhookFailed(f"no answer: {type(error).__name__}") from None
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise WebhookFailed(f"the answer has the status {status}")

    def _headers(self, body: bytes) -> dict[str, str]:
        now = int(time.time())
        return {
            "Content-Type": "application/json",
            "User-Agent": f"rolesum/{metadata.version('rolesum')}",
            "X-Rolesum-Signature": f"t={now},v1={signature(self.secret, now, body)}",
        }

    def _split(self, url: str) -> SplitResult:
        """The parts of a URL. Raises WebhookFailed for one that is none, or that is not for a webhook."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise WebhookFailed("the webhook's address is no URL") from None
        if parts.scheme not in (("https", "http") if self.allow_private else ("https",)):
            raise WebhookFailed("the webhook's address must begin with https://")
        if not parts.hostname or parts.username is not None or port == 0 or not url.isascii() or not url.isprintable():
            raise WebhookFailed("the webhook's address needs a host, and may have no user and no special characters")
        if " " in url:
            raise WebhookFailed("the webhook's address has a space in it")
        return parts


def signature(secret: bytes, timestamp: int, body: bytes) -> str:
    """The HMAC-SHA256 of "TIMESTAMP.BODY" in hexadecimal, by which a receiver knows that this server sent it."""
    return hmac.new(secret, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def _addresses(parts: SplitResult, allow_private: bool) -> list[str]:
    """The IP addresses of a URL's host. Raises WebhookFailed where there are none, or one is private."""
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise WebhookFailed("the webhook's host has no address") from None
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    if not allow_private and not all(map(is_public, addresses)):
        raise WebhookFailed("the webhook's host has a private address, to which this server sends nothing")
    return addresses


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also inside an IPv6 address that stands for it."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def _shut(opened: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        opened.shutdown(socket.SHUT_RDWR)
