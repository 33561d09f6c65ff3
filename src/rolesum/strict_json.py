"""JSON as the standard defines it: Python's json module also writes NaN and infinities, which other parsers refuse."""

import json
import math
from typing import Any


def dumps(value: Any, **options: Any) -> str:
    """The JSON text of a value, with null for NaN and infinities; `options` are those of `json.dumps`."""
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(finite(value), allow_nan=False, **options)


def finite(value: Any) -> Any:
    """A JSON value with None for each NaN and infinity in it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return value
