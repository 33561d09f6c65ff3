"""An HTTP server of files for tests of downloads: with ranges or without, stalling, or cutting connections."""

import contextlib
import re
import time
from http.server import BaseHTTPRequestHandler

from helpers.http_server import http_server


class Files:
    """What is served, how, and what was asked for."""

    def __init__(self):
        self.files = {}  # path -> bytes
        self.ranges = True
        self.cut_after = None  # bytes of an answer's body after which the connection ends
        self.stalls = {}  # path -> bytes of an answer's body after which no more come while it stands here
        self.status = {}  # path -> the status of an error
        self.refused = set()  # paths that only pip may have
        self.asked = []  # (path, first byte)


@contextlib.contextmanager
def file_server():
    """The Files, with their address in `url`."""
    kept = Files()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or (0, 0))[1])
            kept.asked.append((self.path, start))
            body = kept.files.get(self.path)
            status = kept.status.get(self.path, 200 if body is not None else 404)
            if self.path in kept.refused and not self.headers.get("User-Agent", "").startswith("pip"):
                status = 403
            if status != 200:
                self.send_error(status)
                return
            self._send(body, start if kept.ranges else 0)

        def _send(self, body, start):
            self.send_response(206 if kept.ranges else 200)
            if kept.ranges:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            end = len(body) if kept.cut_after is None else min(len(body), start + kept.cut_after)
            with contextlib.suppress(ConnectionError):
                for at in range(start, end, 4096):
                    while at - start >= kept.stalls.get(self.path, end):
                        time.sleep(0.02)
                    self.wfile.write(body[at : min(at + 4096, end)])

        def log_message(self, *_):
            pass

    with http_server(Handler) as url:
        kept.url = url
        yield kept
