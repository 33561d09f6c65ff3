"""The HTTP API and the web page: requests of many clients are batched together, errors are problem documents.

FastAPI and uvicorn come with the extra `service`, and are imported here only.
"""

from rolesum.server.auth import new_key

__all__ = ["new_key"]
