"""The keys that an object of an input may have, at any place of the input's pydantic schema."""

from collections.abc import Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel


def keys_at(schema: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The keys of the object at a path of the input, such as ("dialogue", "turns", 3); none where no object stands."""
    found: type[BaseModel] | None = schema
    steps = iter(step for step in path if isinstance(step, str))
    for step in steps:
        field = found.model_fields.get(step) if found else None
        if field is None:
            return []
        if get_origin(field.annotation) is dict:  # name -> object, such as custom_roles of a recipe
            next(steps, None)
        found = nested_schema(field.annotation)
    return list(found.model_fields) if found else []


def nested_schema(annotation: Any) -> type[BaseModel] | None:
    """The schema of the objects that a field holds: one, an optional one, several, or those of a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := nested_schema(part))), None)
