"""Which JSON schemas answers can be held to: a part of JSON Schema that every engine's grammars know.

What is outside of it is refused with its place, before a model is loaded. All that JSON Schema leaves open is refused
too: a schema without a type, an object without properties. A small model would fill it with whatever comes to it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rolesum.errors import Problem, did_you_mean

TYPES = ("string", "number", "integer", "boolean", "null", "array", "object")
FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
MAX_DEPTH = 32  # of schemas inside schemas
MAX_SCHEMAS = 500  # inside one schema: each is tried alone
STATEMENT = "x-statement"

_NOTES = ("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly")
_ROOT_NOTES = ("$schema", "$id", "$comment", "$defs", "definitions")
_RULES = (
    *("type", "enum", "const", "anyOf", "$ref"),
    *("properties", "required", "additionalProperties"),
    *("items", "prefixItems", "minItems", "maxItems"),
    *("pattern", "format", "minLength", "maxLength"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
)
_KNOWN = frozenset((*_NOTES, *_ROOT_NOTES, *_RULES))
# Keywords of JSON Schema that no grammar is made of -> what to write in their stead.
_UNSUPPORTED = {
    "oneOf": "write anyOf",
    "allOf": "write what its parts say in one schema",
    "not": "list what is allowed, as in enum",
    "if": "write anyOf with one schema for each case",
    "then": "write anyOf with one schema for each case",
    "else": "write anyOf with one schema for each case",
    "patternProperties": "name the properties, or use additionalProperties",
    "propertyNames": "name the properties",
    "dependentRequired": "write anyOf with one schema for each case",
    "dependentSchemas": "write anyOf with one schema for each case",
    "nullable": 'write a list of types: "type": ["string", "null"]',
}
_DEFINITIONS = ("#/$defs/", "#/definitions/")


@dataclass(frozen=True, slots=True)
class Place:
    """A schema inside a schema, with its place as a JSON pointer."""

    pointer: str
    schema: Any

    def at(self, *keys: str | int) -> "Place":
        """The place of a part, by the keys that lead to it."""
        found, pointer = self.schema, self.pointer
        for key in keys:
            found, pointer = found[key], f"{pointer}/{_escaped(key)}"
        return Place(pointer, found)


def children(place: Place) -> Iterator[Place]:
    """The schemas that stand directly inside one, without its definitions."""
    schema = place.schema
    if isinstance(schema.get("properties"), Mapping):
        yield from (place.at("properties", name) for name in schema["properties"])
    for key in ("anyOf", "prefixItems"):
        if isinstance(schema.get(key), list):
            yield from (place.at(key, number) for number in range(len(schema[key])))
    for key in ("items", "additionalProperties"):
        if key in schema and not isinstance(schema[key], bool):
            yield place.at(key)


def definitions(schema: Mapping[str, Any]) -> dict[str, Place]:
    """The definitions of a schema by what refers to them, such as #/$defs/address; "#" is the schema itself."""
    root = Place("#", schema)
    found = {"#": root}
    for prefix in _DEFINITIONS:
        key = prefix.removeprefix("#/").rstrip("/")
        if isinstance(schema.get(key), Mapping):
            found |= {f"{prefix}{_escaped(name)}": root.at(key, name) for name in schema[key]}
    return found


def rule_problems(schema: Any) -> list[Problem]:
    """Everything for which an answer cannot be held to a schema, each with its place; empty if it can be."""
    if not isinstance(schema, Mapping):
        return [Problem(f"a schema is an object, not {schema!r:.60}", "#", 'write {"type": "object", "properties": …}')]
    known = definitions(schema)
    problems: list[Problem] = []
    for place in known.values():
        problems += _walk(place, known, 0)
    if problems:
        return problems
    if (size := sum(1 for root in known.values() for _ in inside(root))) > MAX_SCHEMAS:
        return [
            Problem(f"it consists of {size} schemas; at most {MAX_SCHEMAS} are allowed", "#", "ask for less at once")
        ]
    root = resolve(known["#"], known)
    if root is None or root.schema.get("type") != "object":
        fix = 'put it into a property: {"type": "object", "properties": {"value": …}}'
        return [Problem("the whole answer is no object", "#", fix)]
    finite = finite_places(known)
    return [
        Problem("it contains itself without end: no answer has this form", one.pointer, "leave it out of required")
        for one in _reachable(known["#"], known)
        if one.pointer not in finite
    ][:1]


def resolve(place: Place, known: Mapping[str, Place]) -> Place | None:
    """What a schema refers to; itself if it refers to nothing, None if it refers to itself alone."""
    seen = set[str]()
    while "$ref" in place.schema:
        target = str(place.schema["$ref"])
        if target in seen:
            return None
        seen.add(target)
        place = known[target]
    return place


def finite_places(known: Mapping[str, Place]) -> set[str]:
    """The pointers of the schemas that some answer of finite length fits."""
    places = [one for root in known.values() for one in inside(root)]
    finite = set[str]()
    while True:
        new = {one.pointer for one in places if one.pointer not in finite and _is_finite(one, known, finite)}
        if not new:
            return finite
        finite |= new


def _is_finite(place: Place, known: Mapping[str, Place], finite: set[str]) -> bool:
    schema = place.schema
    if "$ref" in schema:
        return known[schema["$ref"]].pointer in finite
    if "anyOf" in schema:
        return any(place.at("anyOf", number).pointer in finite for number in range(len(schema["anyOf"])))
    if "enum" in schema or "const" in schema or any(one not in ("array", "object") for one in types_of(schema)):
        return True
    if "object" in types_of(schema) and all(
        place.at("properties", name).pointer in finite
        for name in schema.get("required", ())
        if name in schema.get("properties", {})
    ):
        return True
    if "array" not in types_of(schema):
        return False
    first = len(schema.get("prefixItems", ()))
    wanted = schema.get("minItems", 0)
    parts = [place.at("prefixItems", number).pointer for number in range(min(first, wanted))]
    parts += [f"{place.pointer}/items"] if wanted > first else []
    return all(one in finite for one in parts)


def types_of(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The types that a schema allows by its keyword `type`."""
    given = schema.get("type", ())
    return (given,) if isinstance(given, str) else tuple(given)


def inside(place: Place) -> Iterator[Place]:
    """A schema and all that stand inside it."""
    yield place
    for one in children(place):
        yield from inside(one)


def _reachable(place: Place, known: Mapping[str, Place]) -> Iterator[Place]:
    """A schema and all that it contains or refers to, each once."""
    seen, waiting = set[str](), [place]
    while waiting:
        one = waiting.pop(0)
        if one.pointer in seen:
            continue
        seen.add(one.pointer)
        yield one
        waiting += [known[one.schema["$ref"]]] if "$ref" in one.schema else children(one)


def _walk(place: Place, known: Mapping[str, Place], depth: int) -> list[Problem]:
    """The problems of a schema and of those inside it."""
    schema = place.schema
    if not isinstance(schema, Mapping):
        return [Problem(f"a schema is an object, not {schema!r:.60}", place.pointer, 'write {"type": …}')]
    if depth > MAX_DEPTH:
        return [Problem(f"more than {MAX_DEPTH} schemas stand inside one another", place.pointer, "write it flatter")]
    problems = [*_keyword_problems(place), *_open_problems(place, known)]
    if problems:
        return problems
    return [problem for one in children(place) for problem in _walk(one, known, depth + 1)]


def _keyword_problems(place: Place) -> Iterator[Problem]:
    """Keywords that are unknown, that no grammar is made of, or that stand where they do not count."""
    for key in place.schema:
        if key in _UNSUPPORTED:
            yield Problem(f'an answer cannot be held to "{key}"', place.pointer, _UNSUPPORTED[key])
        elif key in _ROOT_NOTES and key != "$comment" and place.pointer != "#":
            yield Problem(f'"{key}" stands inside another schema', place.pointer, "put it at the top of the schema")
        elif key not in _KNOWN and not str(key).startswith("x-"):
            fix = f"leave it out; {did_you_mean(str(key), _KNOWN)}"
            yield Problem(f'an answer cannot be held to "{key}"', place.pointer, fix)
    given = place.schema.get("format")
    if given is not None and given not in FORMATS:
        fix = f"{did_you_mean(str(given), FORMATS)} Or leave it out"
        yield Problem(f'an answer cannot be held to the format "{given}"', place.pointer, fix)


def _open_problems(place: Place, known: Mapping[str, Place]) -> Iterator[Problem]:
    """References that lead nowhere, and schemas that leave the form of an answer open."""
    schema, pointer = place.schema, place.pointer
    if "$ref" in schema:
        target = schema["$ref"]
        if target not in known:
            is_local = str(target).startswith("#")
            what = f'no definition "{target}"' if is_local else f'"{target}" is in another document, which is not read'
            yield Problem(what, pointer, 'put it into "$defs", and refer to it by "#/$defs/NAME"')
        if beside := [key for key in schema if key in _RULES and key != "$ref"]:
            yield Problem(f'beside "$ref" stands "{beside[0]}"', pointer, "put it into what is referred to")
        return
    if not any(key in schema for key in ("type", "enum", "const", "anyOf")):
        yield Problem("it allows anything", pointer, f'add "type": one of {", ".join(TYPES)}')
    types = types_of(schema)
    if "object" in types:
        names = schema.get("properties") or {}
        if not names and not isinstance(schema.get("additionalProperties"), Mapping):
            yield Problem("an object without properties", pointer, "name its properties")
        for name in schema.get("required", ()):
            if name not in names:
                yield Problem(f'"{name}" is required and is none of the properties', pointer, "add it to properties")
        if schema.get("additionalProperties") is True:
            yield Problem("additionalProperties allows anything", pointer, "give it a schema, or leave it out")
    if "array" in types and "items" not in schema and "prefixItems" not in schema:
        yield Problem("an array without items", pointer, 'add "items", the schema of each of them')
    if schema.get("items") is True:
        yield Problem("items allows anything", pointer, "give it a schema")


def _escaped(key: str | int) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")
