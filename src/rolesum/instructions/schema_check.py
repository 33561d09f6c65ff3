"""Checks JSON schemas, and answers against them, with jsonschema-rs and llguidance (extra: fields).

jsonschema-rs knows JSON Schema's own rules and validates in linear time whatever the patterns are; llguidance makes
the grammars that hold an answer to a schema.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rolesum import strict_json
from rolesum.errors import Problem, UsageError, error_summary
from rolesum.instructions.schema_rules import definitions, inside, rule_problems

# JSON as json.dumps writes it: models have seen most of that, and none can write spaces without end.
_GRAMMAR_OPTIONS = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}

_REFUSED_FIX = "change it, or leave it out; patterns can neither look ahead or back nor refer back"


class Validator:
    """Validates answers by one schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        rules = _rules()
        options = {"pattern_options": rules.RegexOptions(), "validate_formats": True, "offline": True}
        self._validator = rules.Draft202012Validator(dict(schema), **options)

    def problems(self, value: Any) -> list[str]:
        """Why a JSON value does not fit the schema, each with its place; empty if it does."""
        return [f"{_pointer(one.instance_path)}: {one.message}" for one in self._validator.iter_errors(value)]


def without_address(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without the addresses of its dialect and of its own: jsonschema-rs would fetch them."""
    return {key: one for key, one in schema.items() if key not in ("$schema", "$id")}


def schema_problems(schema: Any) -> list[Problem]:
    """Everything for which an answer cannot be held to a schema, each with its place; empty if it can be.

    Raises UsageError where the extra is not installed.
    """
    rules, _ = _rules(), _grammars()
    if isinstance(schema, Mapping):
        schema = without_address(schema)
    try:
        strict_json.dumps(schema)
        if isinstance(schema, Mapping):
            rules.meta.validate(schema)
    except rules.ValidationError as error:
        return [Problem(f"it is no JSON schema: {error.message}", _pointer(error.instance_path), "correct it")]
    except (TypeError, ValueError) as error:
        return [Problem(f"it is no JSON: {error_summary(error)}", "#", "write texts, numbers, lists and objects")]
    return rule_problems(schema) or list(_library_problems(schema))


def json_grammar(schema: str) -> str:
    """The grammar of a schema, for llguidance."""
    grammar: str = _grammars().LLMatcher.grammar_from_json_schema(schema, overrides=_GRAMMAR_OPTIONS)
    return grammar


def _library_problems(schema: Mapping[str, Any]) -> Iterator[Problem]:
    """What the libraries refuse of a schema, at the innermost place that they refuse.

    Each schema inside it is tried alone: of an optional property that nothing fits, the whole schema says nothing.
    """
    named = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    places = {one.pointer: one for root in definitions(schema).values() for one in inside(root)}
    for place in sorted(places.values(), key=lambda one: -one.pointer.count("/")):
        alone = {**place.schema, **named}
        if said := _validator_refusal(alone) or _grammar_refusal(alone):
            yield Problem(f"an answer cannot be held to it: {said}", place.pointer, _REFUSED_FIX)
            return


def _validator_refusal(schema: Mapping[str, Any]) -> str:
    rules = _rules()
    try:
        Validator(schema)
    except (rules.ValidationError, rules.ReferencingError, ValueError) as error:
        return str(getattr(error, "message", "") or error_summary(error))
    return ""


def _grammar_refusal(schema: Mapping[str, Any]) -> str:
    try:
        grammar = json_grammar(strict_json.dumps(schema))
    except ValueError as error:
        return error_summary(error)
    is_error, said = _grammars().LLMatcher.validate_grammar_with_warnings(grammar)
    return " ".join(str(said[0]).split()) if is_error else ""


def _rules() -> Any:
    try:
        import jsonschema_rs
    except ImportError:
        raise _missing("jsonschema-rs") from None
    return jsonschema_rs


def _grammars() -> Any:
    try:
        import llguidance
    except ImportError:
        raise _missing("llguidance") from None
    return llguidance


def _missing(package: str) -> UsageError:
    return UsageError(f"filling in fields needs {package}, which is not installed", fix="pip install 'rolesum[fields]'")


def _pointer(path: Sequence[str | int]) -> str:
    return "#" + "".join(f"/{str(one).replace('~', '~0').replace('/', '~1')}" for one in path)
