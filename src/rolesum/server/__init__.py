"""The HTTP server: summaries of a dialogue over a JSON API, server-sent events and OpenAI's chat API, and a web page.

FastAPI and uvicorn come with the extra `server`. Nothing outside this package imports them.
"""

from rolesum.server.auth import new_key

__all__ = ["new_key"]
