"""OpenAI's API by OpenAI's own client, on a real server; and our endpoint engine against our own service."""

import openai
import pytest

from helpers.served import TEXT, TURNS, events_of, serving
from helpers.tiny import model_dir
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding, summarize
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.factory import EngineSpec
from rolesum.models.loading import load_model
from rolesum.server.openai_schemas import ChatRequest

NAME = model_dir("llama").name


@pytest.fixture(scope="module")
def service():
    with serving("--model", model_dir("llama"), "--dtype", "float32") as running:
        yield running


@pytest.fixture(scope="module")
def client(service):
    return openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0)


def test_the_models_are_listed_by_name_and_role(client):
    names = [one.id for one in client.models.list()]
    assert names == [NAME, f"{NAME}:overall", f"{NAME}:user", f"{NAME}:agent", f"{NAME}:all"]
    assert client.models.retrieve(f"{NAME}:user").id == f"{NAME}:user"
    with pytest.raises(openai.NotFoundError, match="no model"):
        client.models.retrieve("gpt-5")


def test_a_transcript_sent_to_a_role_is_summarized_for_it(client, service):
    expected = service.post("/v1/summaries", dialogue={"turns": TURNS}, options={"max_new_tokens": 16}).json()
    for one in expected["summaries"]:
        made = client.chat.completions.create(
            model=f"{NAME}:{one['role']}", messages=[{"role": "user", "content": TEXT}], max_tokens=16
        )
        assert made.choices[0].message.content == one["text"]
        assert made.choices[0].finish_reason == one["finish_reason"]
        assert made.usage.completion_tokens == one["tokens"] and made.usage.prompt_tokens > 20
    every = client.chat.completions.create(
        model=f"{NAME}:all", messages=[{"role": "user", "content": TEXT}], max_tokens=16
    )
    assert all(one["text"] in every.choices[0].message.content for one in expected["summaries"])


def test_a_chat_that_goes_on_is_about_its_last_transcript(client):
    answered = [{"role": "user", "content": "Anna: hello"}, {"role": "assistant", "content": "She greets."}]
    last = {"role": "user", "content": TEXT}
    texts = [
        client.chat.completions.create(model=f"{NAME}:user", messages=messages, max_tokens=16).choices[0]
        for messages in ([last], [*answered, last])
    ]
    assert texts[0].message.content == texts[1].message.content
    with pytest.raises(openai.BadRequestError, match="an earlier answer"):
        client.chat.completions.create(model=NAME, messages=[*answered, last], max_tokens=4)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=f"{NAME}:user", messages=answered[1:], max_tokens=4)


def test_messages_sent_to_the_model_itself_are_answered(client):
    loaded = load_model(model_dir("llama"), dtype="float32", device="cpu")
    engine = TransformersEngine(loaded)
    dialogue = read_dialogues("sample:en-test")[0]
    instructions = engine.layout.instruction_set_for(dialogue)
    text = instructions.dialogue_text(dialogue) + "\n\n" + instructions.instruction("user", dialogue)
    made = client.chat.completions.create(
        model=NAME, messages=[{"role": "user", "content": text}], max_completion_tokens=16, temperature=0
    )
    assert (
        made.choices[0].message.content
        == summarize([dialogue], engine, ("user",), Decoding(max_new_tokens=16))[0][0].text
    )


def test_a_streamed_answer_is_the_answer(client):
    asked = {"model": f"{NAME}:agent", "messages": [{"role": "user", "content": TEXT}], "max_tokens": 24}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [one.choices[0].finish_reason for one in chunks if one.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage


def test_what_would_change_the_answer_and_cannot_be_done_is_refused(client):
    asked = {"model": f"{NAME}:user", "messages": [{"role": "user", "content": TEXT}]}
    tool = {"type": "function", "function": {"name": "refund"}}
    for more in ({"n": 0}, {"stop": ["."] * 20}, {"top_logprobs": 2}, {"frequency_penalty": 1}, {"tools": [tool]}):
        with pytest.raises(openai.BadRequestError) as error:
            client.chat.completions.create(**asked, **more)
        assert next(iter(more)) in str(error.value)
        assert "did you mean" not in str(error.value) and "beams" not in str(error.value)
    with pytest.raises(openai.BadRequestError, match="no speaker plays user"):
        client.chat.completions.create(model=f"{NAME}:user", messages=[{"role": "user", "content": "A: b\nC: d"}])
    assert client.chat.completions.create(**asked, max_tokens=2, user="me", metadata={"a": "b"}).choices


# What clients send, and what asks for nothing.
NEUTRAL = [
    *({"stop": None}, {"stop": []}, {"tools": None}, {"tools": []}, {"tool_choice": "none"}, {"functions": None}),
    *({"response_format": {"type": "text"}}, {"response_format": None}, {"modalities": ["text"]}, {"n": 1}),
    *({"logprobs": False}, {"logprobs": None}, {"top_logprobs": None}, {"logit_bias": {}}, {"logit_bias": None}),
    *({"frequency_penalty": 0}, {"presence_penalty": 0.0}, {"user": ""}, {"reasoning_effort": None}, {"audio": None}),
    *({"prediction": None}, {"web_search_options": None}, {"repetition_penalty": 1.0}, {"top_k": -1}, {"seed": -1}),
    *({"seed": 2**40}, {"top_p": 0}, {"stream_options": {"include_usage": True}}, {"parallel_tool_calls": True}),
]
CLAMPED = [{"max_tokens": 4096}, {"max_completion_tokens": 100_000}]


def test_values_that_ask_for_nothing_change_nothing(service):
    asked = {"model": f"{NAME}:user", "messages": [{"role": "user", "content": TEXT}], "max_tokens": 4}
    plain = service.post("/v1/chat/completions", **asked).json()["choices"]
    for more in NEUTRAL:
        answer = service.post("/v1/chat/completions", **asked, **more)
        assert (answer.status_code, answer.json().get("choices")) == (200, plain), more


@pytest.mark.parametrize("more", CLAMPED)
def test_more_tokens_than_the_server_allows_are_its_own_limit(more):
    chat = ChatRequest(model="m", messages=[{"role": "user", "content": "a"}], **more)
    assert chat.parameters(1024).max_new_tokens == 1024
    assert chat.parameters(4096).max_new_tokens == 4096


def test_earlier_messages_may_be_calls_of_tools_and_pictures(client):
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    earlier = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://localhost/a.png"}}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "nothing"},
    ]
    last = {"role": "user", "content": [{"type": "text", "text": TEXT}]}
    texts = [
        client.chat.completions.create(model=f"{NAME}:user", messages=messages, max_tokens=8).choices[0].message.content
        for messages in ([last], [*earlier, last])
    ]
    assert texts[0] == texts[1]
    for messages, words in (([*earlier, {"role": "user", "content": None}], "no text"), (earlier[:1], "image_url")):
        with pytest.raises(openai.BadRequestError, match=words):
            client.chat.completions.create(model=f"{NAME}:user", messages=messages, max_tokens=8)


def test_hints_name_the_keys_of_the_request_that_was_sent(service):
    asked = {"model": f"{NAME}:user", "messages": [{"role": "user", "content": TEXT}]}
    for more, words in (({"max_tokns": 4}, 'did you mean "max_tokens"?'), ({"suffix": "END"}, "leave it out")):
        assert words in service.post("/v1/chat/completions", **asked, **more).json()["fix"]
    nobody = {**asked, "messages": [{"role": "user", "content": "A: b\nC: d"}]}
    fix = service.post("/v1/chat/completions", **nobody).json()["fix"]
    assert "--speaker" not in fix and "of /v1/summaries" in fix
    for path in ("/v1/summaries", "/v1/dialogues"):
        turns = [{"speaker": "A", "text": "b", "tme": "10:00"}]
        problem = service.post(path, dialogue={"turns": turns}).json()
        assert problem["where"].endswith("tme") and "beams" not in problem["fix"], path
    options = service.post("/v1/summaries", text=TEXT, options={"max_tokens": 5}).json()
    assert "max_new_tokens" in options["fix"]


def test_a_models_name_may_hold_a_slash(service):
    answer = service.client.get("/v1/models/Qwen/Qwen3-0.6B")
    assert answer.status_code == 404 and 'no model "Qwen/Qwen3-0.6B"' in answer.json()["detail"]
    ok = service.post(
        "/v1/summaries", dialogue={"id": "support/2024-01-05", "turns": TURNS}, options={"max_new_tokens": 2}
    )
    assert ok.json()["id"] == "support/2024-01-05"


def test_the_endpoint_engine_summarizes_through_the_service(service):
    dialogues = read_dialogues("sample:en-test")[:3]
    loaded = load_model(model_dir("llama"), dtype="float32", device="cpu")
    expected = summarize(dialogues, TransformersEngine(loaded), ("user", "agent"), Decoding(max_new_tokens=12))
    engine = EngineSpec("openai", url=f"{service.url}/v1", served_model=NAME, context=2000).open()
    found = summarize(dialogues, engine, ("user", "agent"), Decoding(max_new_tokens=12))
    assert [[one.text for one in row] for row in found] == [[one.text for one in row] for row in expected]


def test_a_service_may_stand_before_another(service):
    body = {"dialogue": {"turns": TURNS}, "roles": ["user", "agent"], "options": {"max_new_tokens": 12}}
    expected = [one["text"] for one in service.post("/v1/summaries", **body).json()["summaries"]]
    behind = ("--engine", "openai", "--url", f"{service.url}/v1", "--served-model", NAME, "--context", 2000)
    with serving(*behind) as front:
        found = front.post("/v1/summaries", **body).json()
        assert [one["text"] for one in found["summaries"]] == expected
        with front.client.stream("POST", "/v1/summaries", json={**body, "stream": True}) as answer:
            told = [name for name, _ in events_of(answer)]
        assert told[-3:] == ["summary", "summary", "done"]
        refused = front.post("/v1/summaries", **{**body, "options": {"max_new_tokens": 5000}})
        assert refused.status_code == 413
