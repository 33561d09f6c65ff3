"""A judge's endpoint on this machine that answers by rule."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from helpers.http_server import http_server
from rolesum.evaluation.llm_judge.prompt import CRITERIA


def ratings(score=4):
    return json.dumps({name: {"score": score, "reason": "well"} for name in CRITERIA})


def data_of(request):
    """The JSON between the marker lines of a question."""
    lines = request["messages"][1]["content"].split("\n")
    begin = next(at for at, line in enumerate(lines) if line.startswith("----- BEGIN DATA"))
    assert lines[begin + 2].startswith("----- END DATA")
    return json.loads(lines[begin + 1])


@contextmanager
def server(rule):
    """An endpoint whose answers are `rule(request, number)`: a text, or a status with headers and a message."""
    seen, lock = [], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(seen)
                seen.append({**request, "key": self.headers["Authorization"], "path": self.path})
            said = rule(request, number)
            status, headers = 200, {}
            if isinstance(said, tuple):
                status, headers, message = said
                body = {"error": {"message": message, "type": "test", "code": status}}
            else:
                message = {"role": "assistant", "content": said}
                body = {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 0,
                    "model": request["model"],
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
                }
            text = json.dumps(body).encode()
            try:
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
            except OSError:
                pass  # the client hung up

        def log_message(self, *_):
            pass

    with http_server(Handler) as address:
        yield f"{address}/v1", seen
