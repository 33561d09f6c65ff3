"""Instructions and sections that a request words itself, over HTTP, on an engine that tells what it was asked."""

import json

import pytest

from helpers.echo_engine import EchoEngine
from helpers.served import TEXT, TURNS
from helpers.served_engine import serving_engine
from helpers.waiting import wait_until
from rolesum.generation import Generation

OWN = "List what the customer complains about."


class AskedEngine(EchoEngine):
    """Answers with the instruction of each branch."""

    def generate(self, prompts, decoding, on_done=None, on_text=None):
        return [[Generation(branch[0].text, 5, "stop") for branch in prompt.branches] for prompt in prompts]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with serving_engine(AskedEngine(), tmp_path_factory.mktemp("store")) as running:
        yield running


def texts(answer):
    assert answer.status_code == 200, answer.text
    return {one["role"]: one["text"] for one in answer.json()["summaries"]}


def test_a_request_words_its_instructions_for_roles_and_new_names(service):
    asked = {"customer": OWN, "mood": "How do they feel?"}
    assert texts(service.post("/v1/summaries", text=TEXT, ask=asked)) == {"user": OWN, "mood": "How do they feel?"}
    some = texts(service.post("/v1/summaries", text=TEXT, ask=asked, roles=["agent", "mood"]))
    assert some["mood"] == "How do they feel?" and set(some) == {"agent", "mood"} and OWN not in some.values()


def test_a_request_defines_its_sections(service):
    sections = {"complaints": {"definition": "What went wrong."}, "next": {"title": "next steps"}}
    made = service.post("/v1/summaries", dialogue={"turns": TURNS}, sections=sections)
    found = texts(made)
    assert set(found) == {"complaints", "next"}
    assert "What went wrong." in found["complaints"] and "next steps" in found["next"]
    assert [one["title"] for one in made.json()["summaries"]] == ["complaints", "next steps"]


def test_a_form_holds_them_as_json(service):
    for fields in ({"ask": json.dumps({"mood": OWN})}, {"sections": json.dumps({"mood": {"definition": OWN}})}):
        made = service.client.post("/v1/summaries", files={"file": ("a.txt", TEXT)}, data=fields)
        assert OWN in texts(made)["mood"]


def test_a_batch_asks_each_dialogue(service):
    dialogues = [{"id": name, "turns": TURNS} for name in ("a", "b")]
    batch = service.post("/v1/batches", dialogues=dialogues, ask={"mood": OWN}).json()["id"]
    wait_until(lambda: service.client.get(f"/v1/batches/{batch}").json()["done"] == 2)
    results = service.client.get(f"/v1/batches/{batch}/results").json()["results"]
    assert [one["result"]["summaries"][0]["text"] for one in results] == [OWN, OWN]


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ({"ask": {"mood": "x" * 2001}}, 422, "2000"),
        ({"ask": {"mood": " "}}, 422, "at least 1"),
        ({"ask": {"a,b": OWN}}, 422, "cannot be the name"),
        ({"ask": {"user": OWN, "customer": OWN}}, 422, "two instructions for user"),
        ({"ask": {f"n{at}": OWN for at in range(17)}}, 413, "at most 16"),
        ({"sections": {f"n{at}": {} for at in range(17)}}, 413, "at most 16"),
        ({"sections": {"user": {"definition": OWN}}}, 422, "already means user"),
        ({"sections": {"mood": {"examples": []}}}, 422, "examples"),
        ({"sections": {}}, 422, "no section"),
        ({"sections": "/etc/passwd"}, 422, "no preset of sections"),
    ],
)
def test_what_is_over_a_limit_or_no_name_is_refused(service, request_, status, words):
    answer = service.post("/v1/summaries", text=TEXT, **request_)
    assert answer.status_code == status and words in answer.text and "--ask" not in answer.text


def test_the_presets_are_listed_with_their_titles(service):
    presets = service.client.get("/v1/info").json()["sections"]
    assert presets["meeting-recap"]["en"]["action-items"] == "action items"
