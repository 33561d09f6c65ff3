"""Fields in the API: for one dialogue and in batches, and the requests that are refused."""

import json
from dataclasses import replace

import pytest

from helpers.served_engine import serving_engine
from helpers.tiny import model_dir
from helpers.verify_runs import answer_set
from helpers.waiting import wait_until
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.instructions import load_fields, load_instruction_set
from rolesum.models.loading import load_model

TEXT = "Customer: My lamp broke.\nAgent: A new one comes on Monday."
SCHEMA = {
    "type": "object",
    "properties": {
        "matter": {"type": "string", "minLength": 1, "maxLength": 8},
        "solved": {"type": "boolean"},
        "pieces": {"type": ["integer", "null"], "minimum": 0, "maximum": 9},
    },
    "required": ["matter", "solved", "pieces"],
}
LOOSE = {"type": "object", "properties": {"a": {"type": "string", "minLength": 90}}, "required": ["a"]}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    loaded = load_model(model_dir("llama"), dtype="float32", device="cpu")
    loaded = replace(loaded, metadata={"verify": {"weight": 1.0}})
    layout = loaded.layout(instructions=load_instruction_set(answer_set()))
    with serving_engine(TransformersEngine(loaded, layout), tmp_path_factory.mktemp("fields")) as running:
        yield running


def test_the_fields_of_a_dialogue_fit_the_schema_and_have_turns_and_support(service):
    answer = service.post("/v1/summaries", text=TEXT, fields=SCHEMA).json()
    fields = answer["fields"]
    assert load_fields(SCHEMA).problems(fields["content"]) == [] and answer["summaries"] == []
    assert fields["support_threshold"] == 0.5 and fields["tokens"] > 0
    assert {"/matter", "/solved"} <= {one["path"] for one in fields["values"]}
    for one in fields["values"]:
        assert 0 <= one["support"] <= 1 and one["value"] == fields["content"][one["path"][1:]] and one["statement"]
    quiet = service.post("/v1/summaries", text=TEXT, fields=SCHEMA, options={"verify": "off"}).json()["fields"]
    assert quiet["support_threshold"] is None and {one["support"] for one in quiet["values"]} == {None}


def test_the_fields_of_a_batch_are_its_results(service):
    dialogues = [{"id": name, "turns": [{"speaker": "Ann", "text": f"Hello {name}"}]} for name in "ab"]
    batch = service.post("/v1/batches", dialogues=dialogues, fields=SCHEMA).json()["id"]
    wait_until(lambda: service.client.get(f"/v1/batches/{batch}").json()["status"] == "done")
    results = service.client.get(f"/v1/batches/{batch}/results").json()["results"]
    assert [one["id"] for one in results] == ["a", "b"]
    for one in results:
        assert load_fields(SCHEMA).problems(one["result"]["fields"]["content"]) == []


@pytest.mark.parametrize(
    ("change", "status", "what"),
    [
        ({"fields": "call-outcom"}, 422, "no preset of fields"),
        ({"fields": "/etc/passwd"}, 422, "no preset of fields"),
        ({"fields": {**SCHEMA, "not": {}}}, 422, "cannot be held"),
        ({"fields": {**SCHEMA, "description": "x" * 20_000}}, 413, "at most 20,000"),
        ({"roles": ["user"]}, 422, "fields are filled in instead"),
        ({"sections": "meeting-recap"}, 422, "fields are filled in instead"),
        ({"sections": {"refunds": {"title": "Refunds", "definition": "What is paid back."}}}, 422, "instead"),
        ({"ask": {"complaints": "List the complaints."}}, 422, "ask is for summaries"),
        ({"stream": True}, 422, "not streamed"),
        ({"options": {"beams": 2}}, 422, "JSON schema"),
        ({"options": {"verify": "drop"}}, 422, "fields are filled in instead"),
        ({"options": {"long_dialogues": "refine"}}, 422, "not read in parts"),
        ({"fields": LOOSE, "options": {"max_new_tokens": 5}}, 422, "cut the answer off"),
    ],
)
def test_what_cannot_be_filled_in_is_refused(service, change, status, what):
    answer = service.post("/v1/summaries", **{"text": TEXT, "fields": SCHEMA, **change})
    assert answer.status_code == status and what in answer.text, answer.text


def test_a_form_takes_a_preset_or_a_schema_and_the_presets_are_listed(service):
    answer = service.client.post("/v1/summaries", files={"text": (None, TEXT), "fields": (None, json.dumps(SCHEMA))})
    assert answer.json()["fields"]["content"].keys() == SCHEMA["properties"].keys()
    answer = service.client.post("/v1/summaries", files={"text": (None, TEXT), "fields": (None, "nothing")})
    assert "no preset of fields" in answer.text
    assert service.client.get("/v1/info").json()["fields"] == ["call-outcome"]
