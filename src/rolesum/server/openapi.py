"""What FastAPI cannot see for itself, for the OpenAPI page: bodies that are read by hand, and the errors."""

from typing import Any

from pydantic import BaseModel

from rolesum.server.problems import MEDIA_TYPE, TITLES
from rolesum.server.schemas import ProblemOut

COMPONENTS = "#/components/schemas/{model}"
# Models that stand in no signature; see openapi.
BODIES: dict[str, type[BaseModel]] = {}


def body_of(kind: type[BaseModel], *, form: bool = False) -> dict[str, Any]:
    """The request body of a path: JSON of this kind, or with `form` its fields and a file."""
    BODIES[kind.__name__] = kind
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": COMPONENTS.format(model=kind.__name__)}}}
    if form:
        properties: dict[str, Any] = {"file": {"type": "string", "format": "binary", "description": "A transcript."}}
        for name, field in kind.model_fields.items():
            if name not in ("dialogue", "dialogues", "text"):
                properties[name] = {"type": "string", "description": field.description or "As in JSON."}
        schema = {"type": "object", "properties": properties, "required": ["file"], "additionalProperties": False}
        content["multipart/form-data"] = {"schema": schema}
    return {"requestBody": {"required": True, "content": content}}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a path that are problem documents."""
    schema = {"$ref": COMPONENTS.format(model=ProblemOut.__name__)}
    BODIES[ProblemOut.__name__] = ProblemOut
    found: dict[int | str, dict[str, Any]] = {}
    for status in (*statuses, 500):
        found[status] = {"description": TITLES[status], "content": {MEDIA_TYPE: {"schema": schema}}}
    return found


def event_stream(*names: str) -> dict[int | str, dict[str, Any]]:
    """The response of a path that can stream; each event has `data`, and one of the names if there are any."""
    properties: dict[str, Any] = {"data": {"type": "string"}} | ({"event": {"enum": list(names)}} if names else {})
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {200: {"content": {"text/event-stream": {"schema": schema}}}}


def with_bodies(openapi: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with the schemas of BODIES, and how keys are sent."""
    components = openapi.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name, kind in BODIES.items():
        schema = kind.model_json_schema(ref_template=COMPONENTS)
        for part, found in schema.pop("$defs", {}).items():
            schemas.setdefault(part, found)
        schemas.setdefault(name, schema)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    openapi["security"] = [{}, {"key": []}]
    return openapi
