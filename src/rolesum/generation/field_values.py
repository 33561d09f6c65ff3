"""The values of extracted fields, each with the sentence by which it is verified."""

from collections.abc import Iterator, Mapping
from typing import Any

from rolesum.dialogue import FieldValue
from rolesum.instructions import FieldSchema, InstructionSet
from rolesum.instructions.fields import fill_template
from rolesum.instructions.schema_rules import STATEMENT, Place, definitions, resolve, types_of

_Found = tuple[FieldValue, str]  # a value, and the words by which its turns are found

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def field_values(
    fields: Mapping[str, Any], schema: FieldSchema, wording: InstructionSet
) -> list[tuple[FieldValue, str]]:
    """The texts, numbers and truth values of the fields, each with its statement; null and empty texts are none.

    Each comes with the words by which its turns are found; none for a choice, whose words the dialogue need not have.
    """
    known = definitions(schema.in_language(wording.language))
    return list(_Values(known, wording).walk(fields, known["#"], "", {}))


class _Values:
    """Walks fields and their schema side by side."""

    def __init__(self, known: Mapping[str, Place], wording: InstructionSet) -> None:
        self.known, self.wording = known, wording

    def walk(self, value: Any, place: Place | None, path: str, siblings: Mapping[str, Any]) -> Iterator[_Found]:
        place = place and chosen_schema(value, place, self.known)
        if isinstance(value, dict):
            for name, one in value.items():
                yield from self.walk(one, property_of(place, name), f"{path}/{_escaped(name)}", value)
        elif isinstance(value, list):
            for number, one in enumerate(value):
                yield from self.walk(one, item_of(place, number), f"{path}/{number}", {})
        elif value is not None and value != "":
            yield self.found(value, place.schema if place else {}, path, siblings)

    def found(self, value: Any, schema: Mapping[str, Any], path: str, siblings: Mapping[str, Any]) -> _Found:
        """A value with the sentence that says it, by its schema's own template or the wording's, and its words."""
        is_choice = isinstance(value, bool) or "enum" in schema or "const" in schema
        template = schema.get(STATEMENT)
        if isinstance(template, Mapping):
            template = template.get(str(value))
        if template is not None:
            statement = fill_template(template, str(value), siblings)
            with_others = any(f"{{{name}}}" in template for name in siblings)
            return FieldValue(path, value, statement), "" if is_choice else statement if with_others else str(value)
        names = [one for one in path.split("/") if one and not one.isdigit()]
        field = schema.get("title") or " ".join(names).replace("_", " ")
        statement = self.wording.field_statement(field, str(value))
        return FieldValue(path, value, statement), "" if is_choice else str(value)


def chosen_schema(value: Any, place: Place, known: Mapping[str, Place]) -> Place | None:
    """The schema that a value was written by: what is referred to, and the first of several that it fits."""
    found = resolve(place, known)
    if found is None or "anyOf" not in found.schema:
        return found
    options = [chosen_schema(value, found.at("anyOf", number), known) for number in range(len(found.schema["anyOf"]))]
    return next((one for one in options if one and _may_be(value, one.schema)), None)


def _may_be(value: Any, schema: Mapping[str, Any]) -> bool:
    if "enum" in schema or "const" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kinds = [kind for one in types_of(schema) for kind in ((bool,) if one == "boolean" else _PYTHON_TYPES[one])]
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, dict) and not set(schema.get("required", ())) <= set(value):
        return False
    if isinstance(value, dict) and "additionalProperties" not in schema and set(value) - set(schema["properties"]):
        return False
    return isinstance(value, tuple(kinds))


def property_of(place: Place | None, name: str) -> Place | None:
    """The schema of a property."""
    if place is None:
        return None
    if name in place.schema.get("properties", {}):
        return place.at("properties", name)
    return place.at("additionalProperties") if isinstance(place.schema.get("additionalProperties"), Mapping) else None


def item_of(place: Place | None, number: int) -> Place | None:
    """The schema of an item."""
    if place is None:
        return None
    if number < len(place.schema.get("prefixItems", ())):
        return place.at("prefixItems", number)
    return place.at("items") if isinstance(place.schema.get("items"), Mapping) else None


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
