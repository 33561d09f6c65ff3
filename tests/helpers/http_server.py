"""An HTTP server in a thread of the test, for tests that stand for a foreign endpoint."""

import contextlib
import threading
from http.server import ThreadingHTTPServer


@contextlib.contextmanager
def http_server(handler):
    """Serve with a BaseHTTPRequestHandler class; the address."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}"
    finally:
        running.shutdown()
        running.server_close()
        thread.join()
