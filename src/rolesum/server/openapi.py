"""The parts of the OpenAPI document that FastAPI cannot infer: bodies parsed by hand, errors, event streams, keys."""

from typing import Any

from pydantic import BaseModel

from rolesum.server.problems import MEDIA_TYPE, title
from rolesum.server.schemas import ProblemOut

SCHEMA_REF = "#/components/schemas/{model}"
_MODELS: dict[str, type[BaseModel]] = {}  # those that stand in no route's signature


def request_body(model: type[BaseModel], *, form: bool = False) -> dict[str, Any]:
    """Return the request body of a route: JSON of this model, or with `form` also its fields with a file."""
    _MODELS[model.__name__] = model
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": SCHEMA_REF.format(model=model.__name__)}}}
    if form:
        properties: dict[str, Any] = {"file": {"type": "string", "format": "binary", "description": "A transcript."}}
        for name, field in model.model_fields.items():
            if name not in ("dialogue", "dialogues", "text"):
                properties[name] = {"type": "string", "description": field.description or "As in JSON."}
        schema = {"type": "object", "properties": properties, "required": ["file"], "additionalProperties": False}
        content["multipart/form-data"] = {"schema": schema}
    return {"requestBody": {"required": True, "content": content}}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the responses of a route that are problem documents; 500 is always among them."""
    schema = {"$ref": SCHEMA_REF.format(model=ProblemOut.__name__)}
    _MODELS[ProblemOut.__name__] = ProblemOut
    return {
        status: {"description": title(status), "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in (*statuses, 500)
    }


def event_stream(*names: str) -> dict[int | str, dict[str, Any]]:
    """Return the response of a route that can stream: events with `data` and, where there are names, one of them."""
    properties: dict[str, Any] = {"data": {"type": "string"}} | ({"event": {"enum": list(names)}} if names else {})
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {200: {"content": {"text/event-stream": {"schema": schema}}}}


def complete_openapi(document: dict[str, Any]) -> dict[str, Any]:
    """Add the schemas of the bodies and errors above, and how an API key is sent."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name, model in _MODELS.items():
        schema = model.model_json_schema(ref_template=SCHEMA_REF)
        for part, found in schema.pop("$defs", {}).items():
            schemas.setdefault(part, found)
        schemas.setdefault(name, schema)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{}, {"key": []}]
    return document
