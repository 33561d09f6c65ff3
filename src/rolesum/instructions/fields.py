"""Schemas of fields: what is to be filled in from a dialogue, as a JSON schema in a file, a mapping or a preset.

Descriptions and `x-statement`, the sentence that is verified for a value, may be a text for each language.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from rolesum import strict_json
from rolesum.errors import Problem, UsageError, did_you_mean
from rolesum.instructions.schema_check import Validator, schema_problems, without_address
from rolesum.instructions.schema_rules import STATEMENT, Place, children, definitions
from rolesum.instructions.sets import LANGUAGES
from rolesum.os_errors import os_error

PRESETS = "field_presets"
# Keywords whose values are values of an answer, and those that map names to schemas.
_VALUES, _NAMES = ("enum", "const", "default", "examples"), ("properties", "$defs", "definitions")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# What the prompt does not show of a schema: the grammar sees to it.
_NOT_SHOWN = (
    "$schema",
    "$id",
    "$comment",
    "title",
    "additionalProperties",
    "required",
    "maxItems",
    "maxLength",
    "examples",
)


@dataclass(frozen=True)
class FieldSchema:
    """The fields to fill in: a checked JSON schema under a name.

    Attributes:
        name: What the schema is called: the preset's name, the file's, or "fields".
        source: The schema as JSON, with the texts of all languages.
    """

    name: str
    source: str

    def __reduce__(self) -> tuple[type["FieldSchema"], tuple[str, str]]:
        return FieldSchema, (self.name, self.source)  # what is kept of it does not travel between processes

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The schema that answers are held to; objects have no other properties than those that it names."""
        own = without_address(_in_language(json.loads(self.source), LANGUAGES[0]))
        closed: dict[str, Any] = _without(own, (), close=True)
        return closed

    @cached_property
    def text(self) -> str:
        """The schema that answers are held to, as JSON."""
        return strict_json.dumps(self.schema, ensure_ascii=False)

    def shown(self, language: str) -> str:
        """The schema as it stands in a prompt: with its descriptions in a language, without limits."""
        return strict_json.dumps(
            _without(_in_language(json.loads(self.source), language), _NOT_SHOWN), ensure_ascii=False
        )

    def in_language(self, language: str) -> dict[str, Any]:
        """The schema with its descriptions and statements in a language."""
        found: dict[str, Any] = _in_language(json.loads(self.source), language)
        return found

    def problems(self, value: Any) -> list[str]:
        """Why a JSON value does not fit the schema, each with its place; empty if it does."""
        return self._validator.problems(value)

    @cached_property
    def _validator(self) -> Validator:
        return Validator(self.schema)


def load_fields(given: str | Path | Mapping[str, Any]) -> FieldSchema:
    """Load a schema: a JSON or YAML file, a preset by its name, or a mapping. Raises UsageError with all problems."""
    if isinstance(given, Mapping):
        return make_fields("fields", given)
    if not isinstance(given, str | Path):
        raise UsageError(f"a schema is {given!r:.60}", fix="give a JSON file, a preset or a mapping")
    place, presets = str(given), field_presets()
    if place in presets:
        return make_fields(place, yaml.safe_load(_preset(place))["schema"])
    path = Path(given)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        fix = f"give a JSON file or a preset; {did_you_mean(place, presets)}"
        if isinstance(error, FileNotFoundError):
            raise UsageError(f"no schema at {place}", fix=fix) from None
        raise os_error(error, "cannot be read", place, fix, kind=UsageError) from None
    except UnicodeDecodeError:
        raise UsageError("it is no text in UTF-8", place, "save it as UTF-8") from None
    try:
        found = yaml.safe_load(text) if path.suffix in (".yaml", ".yml") else json.loads(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"it is no JSON: {error}", place, "write a JSON schema: docs/fields.md") from None
    return make_fields(path.stem, found, place)


def make_fields(name: str, schema: Any, place: str = "") -> FieldSchema:
    """The fields of a JSON schema. Raises UsageError with everything to which an answer cannot be held, and where.

    `place` names the schema's file in the errors.
    """
    where = f"{place} " if place else "schema "
    try:
        problems = schema_problems(_in_language(schema, LANGUAGES[0])) or [
            one
            for language in LANGUAGES
            for root in definitions(_in_language(schema, language)).values()
            for one in _statement_problems(root, ())
        ]
    except RecursionError:
        problems = [Problem("too many schemas stand inside one another", "#", "write it flatter")]
    if problems:
        raise UsageError([Problem(one.what, f"{where}{one.where}", one.fix) for one in problems])
    return FieldSchema(name, strict_json.dumps(schema, ensure_ascii=False))


def field_presets() -> tuple[str, ...]:
    """The names of the bundled schemas."""
    folder = resources.files(__package__).joinpath(PRESETS)
    return tuple(sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")))


def _preset(name: str) -> str:
    return resources.files(__package__).joinpath(PRESETS, f"{name}.yaml").read_text(encoding="utf-8")


def _statement_problems(place: Place, siblings: tuple[str, ...]) -> Iterator[Problem]:
    given = place.schema.get(STATEMENT, "")
    for template in given.values() if isinstance(given, Mapping) else [given]:
        if not isinstance(template, str):
            yield Problem(f"{STATEMENT} is {template!r:.60}, no text", place.pointer, "write a text with {value} in it")
        elif unknown := [name for name in _PLACEHOLDER.findall(template) if name not in ("value", *siblings)]:
            fix = f"one of {', '.join(('value', *siblings))}"
            yield Problem(f"{STATEMENT} names {{{unknown[0]}}}", place.pointer, fix)
    own = tuple(place.schema.get("properties", {}))
    for one in children(place):
        yield from _statement_problems(one, own)


def fill_template(template: str, value: str, siblings: Mapping[str, Any]) -> str:
    """A statement about a value, by a template that may name other fields of the same object."""
    known = {**siblings, "value": value}
    return _PLACEHOLDER.sub(lambda found: "" if known.get(found[1]) is None else str(known[found[1]]), template)


def _in_language(schema: Any, language: str) -> Any:
    """The schema with one text where a description or a statement has one for each language."""
    if isinstance(schema, list):
        return [_in_language(one, language) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    chosen = language if language in LANGUAGES else "en"
    return {
        key: one[chosen]
        if key in ("description", STATEMENT) and isinstance(one, Mapping) and set(one) == set(LANGUAGES)
        else _in_language(one, language)
        for key, one in schema.items()
    }


def _without(schema: Any, left_out: tuple[str, ...], *, close: bool = False, is_name: bool = False) -> Any:
    """The schema without some keywords and our own; `close` ends objects with the properties that they name."""
    if isinstance(schema, list):
        return [_without(one, left_out, close=close) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    kept = {
        key: one
        if key in _VALUES and not is_name
        else _without(one, left_out, close=close, is_name=key in _NAMES and not is_name)
        for key, one in schema.items()
        if is_name or not (key in left_out or str(key).startswith("x-"))
    }
    if close and not is_name and "properties" in kept:
        kept.setdefault("additionalProperties", False)
    return kept
