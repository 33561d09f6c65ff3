"""What clients of OpenAI's API expect beside a chat's text, by OpenAI's own client on a service of a tiny model."""

import math

import openai
import pytest

from helpers.served import TEXT
from helpers.served_engine import serving_engine
from helpers.tiny import model_dir
from rolesum.formats import read_dialogues
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.models.loading import load_model
from rolesum.server.answers import StopStrings

ASKED = {"model": "tiny:user", "max_tokens": 12}
CHAT = ASKED | {"messages": [{"role": "user", "content": TEXT}]}
TOOL = {"type": "function", "function": {"name": "refund", "parameters": {}}}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    engine = TransformersEngine(load_model(model_dir("llama"), dtype="float32", device="cpu"))
    with serving_engine(engine, tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module")
def client(service):
    return openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def whole(client):
    return client.chat.completions.create(**CHAT).choices[0].message.content


def inner(text):
    """Two characters from the middle of a text, which end it there, and what stands before them."""
    at = len(text) // 2
    return text[at : at + 2], text[: text.index(text[at : at + 2])]


@pytest.mark.parametrize(
    ("stop", "pieces", "passed", "text"),
    [
        (["END"], ["a E", "N", "D b"], ["a ", "", ""], "a "),
        (["END"], ["a E", "N", "x"], ["a ", "", "ENx"], "a ENx"),
        (["b", "ab"], ["xa", "b"], ["x", ""], "x"),
        (["\n"], ["one\ntwo"], ["one"], "one"),
        ([], ["one"], ["one"], "one"),
    ],
)
def test_a_text_ends_before_a_stop_string_and_shows_no_part_of_one(stop, pieces, passed, text):
    growing = StopStrings(stop)
    assert [growing.add(piece) for piece in pieces] == passed and growing.text == text


def test_a_stop_string_ends_the_answer_whole_and_streamed(client, whole):
    stop, before = inner(whole)
    for given in (stop, ["never said", stop]):
        choice = client.chat.completions.create(**CHAT, stop=given).choices[0]
        assert (choice.message.content, choice.finish_reason) == (before, "stop")
    chunks = list(client.chat.completions.create(**CHAT, stop=stop, stream=True))
    assert "".join(one.choices[0].delta.content or "" for one in chunks) == before
    completion = client.completions.create(**ASKED, prompt=TEXT, stop=stop, logprobs=0)
    assert completion.choices[0].text == before == "".join(completion.choices[0].logprobs.tokens)


def test_several_answers_differ_when_sampled_and_are_equal_when_greedy(client, whole):
    greedy = client.chat.completions.create(**CHAT, n=2)
    assert [one.message.content for one in greedy.choices] == [whole, whole]
    sampled = client.chat.completions.create(**CHAT, n=3, temperature=1.5, seed=7)
    texts = [one.message.content for one in sampled.choices]
    assert len(set(texts)) == 3 and [one.index for one in sampled.choices] == [0, 1, 2]
    assert client.chat.completions.create(**CHAT, temperature=1.5, seed=7).choices[0].message.content == texts[0]
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(**CHAT, n=3, temperature=1.5, seed=7, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts
    every = client.chat.completions.create(**CHAT | {"model": "tiny:all"}, n=2, temperature=1.5)
    assert len({one.message.content for one in every.choices}) == 2
    assert all("[overall]" in one.message.content for one in every.choices)


def test_each_token_has_the_engines_log_probability(client, service, whole):
    choice = client.chat.completions.create(**CHAT, logprobs=True, top_logprobs=1).choices[0]
    tokens = choice.logprobs.content
    assert "".join(one.token for one in tokens) == whole
    assert all(one.top_logprobs[0].token == one.token and one.logprob < 0 for one in tokens)
    asked = {"text": TEXT, "roles": ["user"], "options": {"max_new_tokens": 12}}
    confidence = service.post("/v1/summaries", **asked).json()["summaries"][0]["confidence"]
    assert choice.finish_reason == "length"  # else the stop token counts there, and is no token of the text
    assert math.exp(sum(one.logprob for one in tokens) / len(tokens)) == pytest.approx(confidence, abs=1e-4)
    *_, last = client.chat.completions.create(**CHAT, logprobs=True, stream=True)
    assert last.choices[0].logprobs.content == [one.model_copy(update={"top_logprobs": []}) for one in tokens]


def test_completions_summarize_each_prompt(client, whole):
    other = TEXT.replace("parcel", "lamp")
    made = client.completions.create(**ASKED, prompt=[TEXT, other], n=2, temperature=1.0)
    assert [one.index for one in made.choices] == [0, 1, 2, 3]
    one = client.completions.create(**ASKED, prompt=TEXT)
    assert (one.object, one.choices[0].text) == ("text_completion", whole)
    chunks = list(client.completions.create(**ASKED, prompt=TEXT, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == whole
    assert chunks[-1].usage == one.usage and one.usage.completion_tokens == 12


def test_responses_answer_with_a_message_and_stream_its_events(client, whole):
    asked = {"model": "tiny:user", "max_output_tokens": 12}
    messages = [{"role": "assistant", "content": "An earlier one."}, {"role": "user", "content": TEXT}]
    for given in (TEXT, messages, [{"role": "user", "content": [{"type": "input_text", "text": TEXT}]}]):
        made = client.responses.create(**asked, input=given, include=["message.output_text.logprobs"])
        assert (made.output_text, made.status, made.incomplete_details.reason) == (
            *(whole, "incomplete"),
            "max_output_tokens",
        )
        assert "".join(one.token for one in made.output[0].content[0].logprobs) == whole
        assert made.usage.output_tokens == 12 and made.usage.input_tokens > 20
    events = list(client.responses.create(**asked, input=TEXT, stream=True))
    assert [one.sequence_number for one in events if one.type != "response.output_text.delta"][:4] == [0, 1, 2, 3]
    assert "".join(one.delta for one in events if one.type == "response.output_text.delta") == whole
    assert (events[-1].type, events[-1].response.output_text) == ("response.incomplete", whole)
    alone = client.responses.create(model="tiny", instructions="Summarize.", input=TEXT, max_output_tokens=4)
    message = [{"role": "user", "content": f"Summarize.\n\n{TEXT}"}]
    chat = client.chat.completions.create(model="tiny", messages=message, max_tokens=4)
    assert alone.output_text == chat.choices[0].message.content and alone.usage.input_tokens == chat.usage.prompt_tokens


@pytest.mark.parametrize(
    ("call", "more", "words", "param"),
    [
        ("chat", {"tools": [TOOL]}, "call no functions", "tools"),
        ("chat", {"functions": [TOOL["function"]]}, "call no functions", "functions"),
        ("chat", {"response_format": {"type": "json_object"}}, "plain text", "response_format"),
        ("chat", {"logprobs": True, "top_logprobs": 3}, "top_logprobs is 3", "top_logprobs"),
        ("chat", {"logprobs": True, "top_logprobs": 1, "temperature": 1}, "top_logprobs is 1", "top_logprobs"),
        ("chat", {"logprobs": True, "model": "tiny:all"}, "several summaries", "logprobs"),
        ("completions", {"echo": True}, "echo is not supported", "echo"),
        ("completions", {"prompt": " "}, "no text", "prompt"),
        ("responses", {"previous_response_id": "resp_1"}, "nothing is stored", "previous_response_id"),
        ("responses", {"tools": [TOOL["function"] | {"type": "function"}]}, "call no functions", "tools"),
        ("responses", {"input": [{"type": "item_reference", "id": "a"}]}, "no text", "input"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason_in_openais_form(client, call, more, words, param):
    how = {"chat": client.chat.completions, "completions": client.completions, "responses": client.responses}[call]
    asked = {"chat": CHAT, "completions": ASKED | {"prompt": TEXT}, "responses": {"model": "tiny:user", "input": TEXT}}
    with pytest.raises(openai.BadRequestError, match=words) as caught:
        how.create(**asked[call] | more)
    assert (caught.value.type, caught.value.param) == ("invalid_request_error", param)


def test_errors_have_the_codes_that_clients_look_for(client):
    long = "word " * 5000
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": long}])
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(**CHAT | {"model": "gpt-5"})
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.APIError) as streamed:
        for _ in client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": long}], stream=True
        ):
            pass
    assert streamed.value.code == "context_length_exceeded"
    events = list(client.responses.create(model="tiny", input=long, stream=True))
    assert [one.type for one in events[-2:]] == ["error", "response.failed"]
    assert events[-2].code == "context_length_exceeded"


def test_tokens_are_limited_to_the_room_that_the_context_has(client, service):
    context = client.models.retrieve("tiny").to_dict()["max_model_len"]
    assert context == service.model.engine.engine.loaded.max_length
    words = "word " * (context // 4)
    used = client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": words}], max_tokens=1)
    room = context - used.usage.prompt_tokens
    assert 0 < room < 1024
    made = client.completions.create(model="tiny", prompt=words, max_tokens=5000)
    assert made.usage.completion_tokens <= room


def test_a_long_transcript_has_several_answers_too(client):
    dialogue = read_dialogues("sample:en-test")[0]
    turns = [f"{turn.speaker}: {turn.text}" for turn in dialogue.turns]
    text = "\n".join(turns * 40)
    made = client.chat.completions.create(
        **ASKED | {"model": "tiny:overall"}, messages=[{"role": "user", "content": text}], n=2, temperature=1.0
    )
    assert len({one.message.content for one in made.choices}) == 2
