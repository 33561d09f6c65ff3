"""The OpenAPI document: what it promises is kept, whatever is sent that it allows or forbids."""

from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from helpers.served import serving
from helpers.tiny import model_dir

schemathesis = pytest.importorskip("schemathesis", reason="no property test of the API: pip install schemathesis")


@pytest.fixture(scope="module")
def service():
    limits = ("--max-new-tokens", 8, "--max-turns", 50)
    with serving("--model", model_dir("llama"), "--dtype", "float32", *limits) as running:
        yield running


def test_the_document_is_whole(service):
    document = service.client.get("/openapi.json").json()
    assert {
        "/v1/summaries",
        "/v1/documents",
        "/v1/batches",
        "/v1/chat/completions",
        "/v1/models",
        "/health",
        "/ready",
        "/metrics",
    } <= set(document["paths"])
    body = document["paths"]["/v1/summaries"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    text = str(document)
    schemas = document["components"]["schemas"]
    for name in {part.split("'")[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in schemas
    page = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text()
    for path in document["paths"]:
        identity = "session-…" if "/sessions/" in path else "batch-…"
        assert path.replace("{identity}", identity).removesuffix("/{name}") in page.replace(" or /results", "/results")
    assert schemas["DialogueIn"]["properties"]["turns"]["examples"]


def narrowed(document, name):
    """The document with what this service has, so that requests made of it come as far as the model."""
    schemas = document["components"]["schemas"]
    turns = {"type": "array", "minItems": 1, "maxItems": 4, "items": {"$ref": "#/components/schemas/TurnIn"}}
    schemas["TurnIn"]["properties"]["speaker"] = {"enum": ["Customer", "Agent", "\u5ba2\u6237", "Anna"]}
    schemas["DialogueIn"]["properties"] |= {"turns": turns, "roles": {"enum": [{}, {"user": "Anna"}]}}
    own = {
        "model": {"enum": [name]},
        "roles": {"type": "array", "minItems": 1, "items": {"enum": ["overall", "user", "agent"]}},
        "sections": {"enum": ["meeting", None]},
        "format": {"enum": [None]},
        "speakers": {"enum": [{}]},
    }
    for kind in ("SummaryRequest", "ReadRequest", "BatchRequest"):
        schema = schemas[kind]
        schema["properties"] |= {key: value for key, value in own.items() if key in schema["properties"]}
        schema["properties"].pop("text")
        schema["required"] = ["dialogues" if kind == "BatchRequest" else "dialogue"]
        properties = schema["properties"]
        turns_of = properties[schema["required"][0]]
        properties[schema["required"][0]] = next(one for one in turns_of["anyOf"] if one != {"type": "null"})
    options = schemas["GenerationParameters"]["properties"]
    options |= {"max_new_tokens": {"enum": [1, 8]}, "temperature": {"enum": [0.5, 1]}, "choose": {"enum": [None]}}
    options["verify"] = {"enum": ["off", None]}
    for option in ("beams", "samples", "min_new_tokens", "length_penalty", "support_threshold"):
        options.pop(option)
    texts, names = ["Customer: hello", "嗯"], [name, f"{name}:user", f"{name}:overall"]
    for kind, limit, own in (
        ("ChatRequest", "max_completion_tokens", {"n": {"enum": [1, 2]}, "top_logprobs": {"enum": [None]}}),
        (
            "CompletionRequest",
            "max_tokens",
            {"n": {"enum": [1, 2]}, "logprobs": {"enum": [0]}, "prompt": {"enum": texts}},
        ),
        ("ResponseRequest", "max_output_tokens", {"top_logprobs": {"enum": [0]}, "input": {"enum": texts}}),
    ):
        schemas[kind]["properties"] |= {"model": {"enum": names}, limit: {"enum": [1, 8]}, **own}
        schemas[kind]["required"].append(limit)
    schemas["ChatMessage"]["properties"] |= {"role": {"enum": ["user"]}, "content": {"enum": ["Customer: hello", "嗯"]}}
    for path in document["paths"].values():
        for operation in path.values():
            operation.get("requestBody", {}).get("content", {}).pop("multipart/form-data", None)
    return document


def asking(statuses, checks):
    """A test of one request, which counts what comes of it."""
    from schemathesis.checks import not_a_server_error

    def ask(case):
        answer = case.call(timeout=60)
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=[not_a_server_error, *checks])

    return ask


def asked(service, document, mode, *, examples, checks=()):
    """Status -> how often it came, for each path; what is checked holds for every answer."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import Unsatisfiable

    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=service.url)
    told = {}
    how = settings(
        max_examples=examples,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
    )
    for found in schema.get_all_operations():
        operation = found.ok()
        statuses = told[f"{operation.method.upper()} {operation.path}"] = Counter()
        with suppress(Unsatisfiable):  # a path that takes nothing cannot be asked wrongly
            how(given(operation.as_strategy(generation_mode=mode))(asking(statuses, checks)))()
    return told


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_no_request_breaks_the_service(service, mode):
    """Whatever the document allows, and what it forbids."""
    document = service.client.get("/openapi.json").json()
    told = asked(service, document, schemathesis.GenerationMode(mode), examples=20)
    assert sum(told["POST /v1/summaries"].values()) >= 15
    assert service.client.get("/ready").status_code == 200


@pytest.mark.slow
def test_what_is_allowed_is_answered_as_the_document_says(service):
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    name = service.client.get("/v1/models").json()["data"][0]["id"]
    document = narrowed(service.client.get("/openapi.json").json(), name)
    checks = (response_schema_conformance, status_code_conformance, content_type_conformance)
    told = asked(service, document, schemathesis.GenerationMode.POSITIVE, examples=60, checks=checks)
    for path, status in (
        ("POST /v1/summaries", 200),
        ("POST /v1/dialogues", 200),
        ("POST /v1/batches", 202),
        ("POST /v1/chat/completions", 200),
        ("POST /v1/completions", 200),
        ("POST /v1/responses", 200),
    ):
        assert told[path][status] > 5, (path, told[path])
