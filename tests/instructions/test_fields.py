"""Schemas of fields: which are refused, where in them, and what answers and prompts are made of the others."""

import json
import pickle

import pytest

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import UsageError
from rolesum.instructions import ChatFormat, PromptLayout, load_fields
from rolesum.instructions.fields import field_presets, make_fields

TEXT = {"type": "string"}


def fields_of(**properties):
    return {"type": "object", "properties": properties, "required": list(properties)}


@pytest.mark.parametrize(
    ("schema", "place", "what"),
    [
        (fields_of(a={**TEXT, "not": {}}), "#/properties/a", '"not"'),
        (fields_of(a={"oneOf": [TEXT]}), "#/properties/a", "write anyOf"),
        (fields_of(a={**TEXT, "nullable": True}), "#/properties/a", '["string", "null"]'),
        (fields_of(a={**TEXT, "maxlength": 3}), "#/properties/a", 'did you mean "maxLength"'),
        (fields_of(a={**TEXT, "format": "phone"}), "#/properties/a", 'the format "phone"'),
        (fields_of(a={"type": "array", "items": TEXT, "uniqueItems": True}), "#/properties/a", "uniqueItems"),
        (fields_of(a={"$ref": "https://example.com/a.json"}), "#/properties/a", "another document"),
        (fields_of(a={"$ref": "#/$defs/b"}), "#/properties/a", 'no definition "#/$defs/b"'),
        (fields_of(a={"$ref": "#"}), "#", "contains itself without end"),
        (fields_of(a={"type": "array", "minItems": 1, "items": {"$ref": "#"}}), "#", "contains itself without end"),
        ({**fields_of(a={"$ref": "#/$defs/b"}), "$defs": {"b": {"$ref": "#/$defs/b"}}}, "#", "without end"),
        (fields_of(a={}), "#/properties/a", "it allows anything"),
        (fields_of(a={"type": "object"}), "#/properties/a", "without properties"),
        (fields_of(a={"type": "array"}), "#/properties/a", "without items"),
        (fields_of(a={"type": "strin"}), "#/properties/a/type", "no JSON schema"),
        (fields_of(a={**TEXT, "pattern": "(?=b)a"}), "#/properties/a", "look"),
        ({"type": "object", "properties": {"a": {**TEXT, "minLength": 5, "maxLength": 2}}}, "#/properties/a", "(5)"),
        ({"type": "object", "properties": {"a": TEXT}, "required": ["b"]}, "#", '"b" is required'),
        ({"type": "array", "items": TEXT}, "#", "no object"),
        (fields_of(a={**TEXT, "x-statement": "{value.real}"}), "#/properties/a", "{value.real}"),
        (fields_of(a={**TEXT, "x-statement": {"en": "{value}", "zh": "{c}"}}), "#/properties/a", "{c}"),
    ],
)
def test_a_schema_that_no_answer_can_be_held_to_is_refused_with_the_place(schema, place, what):
    with pytest.raises(UsageError) as caught:
        load_fields(schema)
    (problem, *_) = caught.value.problems
    assert problem.where == f"schema {place}" and what in f"{problem.what} {problem.fix}"


def test_a_schema_inside_thousands_of_others_is_refused():
    schema = fields_of(a=TEXT)
    for _ in range(2000):
        schema = fields_of(a=schema)
    with pytest.raises(UsageError, match="inside one another"):
        load_fields(schema)
    with pytest.raises(UsageError, match="501 schemas"):
        load_fields(fields_of(**{f"a{number}": TEXT for number in range(500)}))


def test_addresses_in_a_schema_are_never_fetched():
    found = load_fields({"$schema": "http://127.0.0.1:9/x", "$id": "http://127.0.0.1:9/y", **fields_of(a=TEXT)})
    assert "$schema" not in found.schema and "$id" not in found.schema


def test_a_schema_that_contains_itself_and_ends_is_taken():
    tree = fields_of(name=TEXT, parts={"type": "array", "items": {"$ref": "#/$defs/tree"}})
    found = load_fields({"$ref": "#/$defs/tree", "$defs": {"tree": tree}})
    assert found.problems({"name": "a", "parts": [{"name": "b", "parts": []}]}) == []
    assert found.problems({"name": "a", "parts": [{"name": "b"}]}) == ['#/parts/0: "parts" is a required property']


def test_an_object_has_no_other_properties_than_those_that_it_names():
    found = load_fields(fields_of(properties=fields_of(enum=TEXT), description={"const": {"x-a": 1}}))
    assert found.problems({"properties": {"enum": "a"}, "description": {"x-a": 1}}) == []
    assert found.problems({"properties": {"enum": "a"}, "description": {"x-a": 1}, "more": 1})
    assert found.problems({"properties": {"enum": "a", "more": 1}, "description": {"x-a": 1}})


def test_the_prompt_shows_the_schema_in_its_language_and_ends_with_it():
    layout, preset = PromptLayout(ChatFormat()), load_fields("call-outcome")
    for said, word, other in (
        ("Hello there", "Why the customer", "客户为什么"),
        ("你好，请问", "客户为什么", "Why the"),
    ):
        prompt = layout.fields_prompt(Dialogue("d", (Turn("Ann", said),)), preset)
        text = "".join(segment.text for segment in (*prompt.prefix, *prompt.branches[0]))
        assert text.index(said) < text.index(word) and other not in text
        assert "maxLength" not in text and "x-statement" not in text
        assert json.loads(prompt.json_schema) == preset.schema


def test_presets_files_and_mappings_are_loaded_and_travel_between_processes(tmp_path):
    assert field_presets() == ("call-outcome",)
    schema = fields_of(a={**TEXT, "description": {"en": "Letter", "zh": "字母"}})
    (tmp_path / "mine.json").write_text(json.dumps(schema), encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(json.dumps(schema), encoding="utf-8")
    for found in (load_fields(tmp_path / "mine.json"), load_fields(str(tmp_path / "mine.yaml"))):
        assert found == make_fields("mine", schema) and "字母" in found.shown("zh") and "Letter" in found.shown("fr")
        assert found.problems({"a": 1}) and pickle.loads(pickle.dumps(found)) == found


def test_a_file_that_is_missing_or_no_schema_is_an_error_with_its_name(tmp_path):
    with pytest.raises(UsageError, match='did you mean "call-outcome"'):
        load_fields("call-outcom")
    broken = tmp_path / "broken.json"
    for content, what in ((b"{", "no JSON"), (b"\xff\xfe\x00", "UTF-8"), (b"[]", "a schema is an object")):
        broken.write_bytes(content)
        with pytest.raises(UsageError, match=r"broken\.json") as caught:
            load_fields(broken)
        assert what in str(caught.value)
