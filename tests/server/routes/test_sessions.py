"""/v1/sessions on a real server: a dialogue that grows gives the summaries of the dialogue sent at once."""

import json

import pytest

from helpers.served import TURNS, events_of, serving
from helpers.served_engine import serving_engine
from helpers.tiny import model_dir
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.models.loading import load_model

SHORT = {"max_new_tokens": 8}


@pytest.fixture(scope="module")
def service():
    with serving("--model", model_dir("llama"), "--dtype", "float32") as running:
        yield running


def begin(service, **body):
    answer = service.post("/v1/sessions", **body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/v1/sessions/{answer.json()['id']}"
    return answer.headers["Location"]


def append(service, path, *turns, **more):
    return service.post(f"{path}/turns", turns=list(turns), **more)


def summarize(service, path, **body):
    answer = service.post(f"{path}/summaries", options=SHORT, **body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def texts(found):
    return [(one["role"], one["text"], one["tokens"]) for one in found["summaries"]]


def test_summaries_at_any_moment_are_those_of_the_dialogue_sent_at_once(service):
    (dialogue,) = read_dialogues("sample:dialogues-en-test", ReadOptions(limit=1))
    turns = [{"speaker": turn.speaker, "text": turn.text} for turn in dialogue.turns]
    roles = dict(dialogue.roles)
    path = begin(service)
    reused = []
    for number, turn in enumerate(turns):
        named = {turn["speaker"]: roles[turn["speaker"]]} if turn["speaker"] in roles else {}
        state = append(service, path, turn, roles=named)
        assert state.status_code == 200 and state.json()["turns"] == number + 1, state.text
        if number in (1, 4, len(turns) - 1):
            found = summarize(service, path)
            said = {turn["speaker"] for turn in turns[: number + 1]}
            sent = {"turns": turns[: number + 1], "roles": {who: role for who, role in roles.items() if who in said}}
            at_once = service.post("/v1/summaries", dialogue=sent, options=SHORT).json()
            assert texts(found) == texts(at_once)
            assert [one["sentences"] for one in found["summaries"]] == [
                one["sentences"] for one in at_once["summaries"]
            ]
            reused.append(found["reused_tokens"])
    assert reused[0] == 0 < reused[1] < reused[2]


def test_a_session_may_begin_with_turns_and_is_asked_for_roles(service):
    path = begin(service, dialogue={"id": "c-1", "turns": TURNS[:2]})
    found = summarize(service, path, roles=["agent"])
    assert (found["id"], found["turns"]) == ("c-1", 2) and [one["role"] for one in found["summaries"]] == ["agent"]
    again = summarize(service, path, roles=["user", "客服"])
    assert [one["role"] for one in again["summaries"]] == ["user", "agent"]
    assert again["computed_tokens"] == 0  # the dialogue is known
    state = service.client.get(path).json()
    assert state["turns"] == 2 and state["cached_bytes"] > 0 and state["suggested"] == ["overall", "user", "agent"]


def test_a_summary_may_be_streamed(service):
    path = begin(service, dialogue={"turns": TURNS})
    with service.client.stream("POST", f"{path}/summaries", json={"stream": True, "options": SHORT}) as answer:
        events = [(name, json.loads(data)) for name, data in events_of(answer)]
    assert events[-1][0] == "done"
    assert texts(events[-1][1]) == texts(summarize(service, path))


def test_an_empty_body_asks_for_the_default_summaries(service):
    path = begin(service, dialogue={"turns": TURNS[:2]})
    answer = service.client.post(f"{path}/summaries", content=b"", headers={"Content-Type": "application/json"})
    assert answer.status_code == 200 and len(answer.json()["summaries"]) == 3


def test_a_request_that_is_sent_again_appends_nothing_twice(service):
    path = begin(service)
    assert append(service, path, TURNS[0], after=0).status_code == 200
    again = append(service, path, TURNS[0], after=0)
    assert again.status_code == 409 and "1 turn, not 0" in again.json()["detail"]
    assert service.client.get(path).json()["turns"] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"turns": []}, 422),
        ({"turns": [{"speaker": "Anna", "text": " "}]}, 422),
        ({"turns": [{"speaker": "Anna", "txt": "Hello"}]}, 422),
        ({"turns": [{"speaker": "Anna", "text": "Hello"}], "roles": {"Anna": "usr"}}, 422),
        ({"turns": [{"speaker": "Anna", "text": "x" * 20_001}]}, 422),
    ],
)
def test_bad_turns_are_refused_and_nothing_is_appended(service, body, status):
    path = begin(service, dialogue={"turns": TURNS[:1]})
    answer = service.post(f"{path}/turns", **body)
    assert answer.status_code == status and answer.json()["fix"], answer.text
    assert service.client.get(path).json()["turns"] == 1


def test_a_summary_of_nothing_and_of_a_role_without_a_speaker_are_errors(service):
    path = begin(service)
    answer = service.post(f"{path}/summaries")
    assert answer.status_code == 422 and "no turn yet" in answer.json()["detail"]
    append(service, path, TURNS[0])
    assert service.post(f"{path}/summaries", roles=["agent"]).status_code == 422
    assert service.post(f"{path}/summaries", roles=["user"], options=SHORT).status_code == 200


def test_a_deleted_session_is_gone(service):
    path = begin(service, dialogue={"turns": TURNS})
    assert service.client.delete(path).status_code == 204
    for answer in (service.client.get(path), service.client.delete(path), append(service, path, TURNS[0])):
        assert answer.status_code == 404 and "no session" in answer.json()["detail"]


def test_wrong_models_and_sections_are_refused(service):
    assert service.post("/v1/sessions", model="nosuch").status_code == 404
    assert service.post("/v1/sessions", sections="nosuch").status_code == 422
    assert service.post("/v1/sessions", dialog={}).status_code == 422


def test_sections_are_summarized_as_of_the_dialogue_sent_at_once(service):
    path = begin(service, sections="meeting-recap", dialogue={"turns": TURNS[:2]})
    append(service, path, *TURNS[2:])
    at_once = service.post("/v1/summaries", dialogue={"turns": TURNS}, sections="meeting-recap", options=SHORT).json()
    assert texts(summarize(service, path)) == texts(at_once)


def test_without_memory_and_beyond_the_limits_of_a_dialogue(tmp_path):
    engine = TransformersEngine(load_model(model_dir("llama"), dtype="float32", device="cpu"))
    with serving_engine(engine, tmp_path, max_sessions=1, session_memory=0, max_turns=3) as service:
        path = begin(service, dialogue={"turns": TURNS[:2]})
        first = summarize(service, path)
        again = summarize(service, path)
        assert texts(again) == texts(first)
        assert again["reused_tokens"] == 0 and service.client.get(path).json()["cached_bytes"] == 0
        assert service.post("/v1/sessions").status_code == 429
        assert append(service, path, *TURNS[2:]).status_code == 413
        assert append(service, path, TURNS[2]).json()["turns"] == 3
