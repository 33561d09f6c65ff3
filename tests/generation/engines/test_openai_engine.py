"""The endpoint engine against a server on this machine that answers by rule, is busy, slow, or talks nonsense."""

import json
import pickle
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from helpers.http_server import http_server
from helpers.tiny import model_dir, tokenizer
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError, ModelError, ResourceError, UsageError
from rolesum.generation import Decoding, summarize
from rolesum.generation.engines.openai import OpenAIEngine
from rolesum.generation.engines.openai_client import OpenAIClient
from rolesum.generation.extraction import extract_fields
from rolesum.generation.factory import EngineSpec
from rolesum.instructions import ChatFormat, PromptLayout, load_fields

pytest.importorskip("openai", reason="the extra openai is not installed")

KEY = "sk-a-secret-that-nobody-may-see"
DIALOGUES = [Dialogue(f"d{at}", (Turn("Ann", f"Where is parcel {at}?"), Turn("Bob", "On its way."))) for at in range(6)]
SHORT = Decoding(max_new_tokens=8)


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)


def chat(text, tokens=2, **choice):
    logprobs = {"content": [{"token": "x", "logprob": -0.5 * at} for at in range(1, tokens + 1)]}
    message = {"role": "assistant", "content": text}
    told = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs, **choice}
    return {"choices": [told], "usage": {"completion_tokens": tokens}}


def error(status, message, **headers):
    return status, headers, {"error": {"message": message}}


@contextmanager
def server(rule, served=("tiny",)):
    """An endpoint whose answers are `rule(request, number)`: a body, bytes, or a status, headers and a body."""
    seen, lock, at_once = [], threading.Lock(), [0, 0]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(200, {}, {"object": "list", "data": [{"id": name, "object": "model"} for name in served]})

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self.path.startswith("/v1/"):  # what other servers tell beside OpenAI's API
                return self.answer(404, {}, {})
            with lock:
                number = len(seen)
                seen.append(
                    {
                        **request,
                        "path": self.path,
                        "headers": {name.lower(): value for name, value in self.headers.items()},
                    }
                )
                at_once[0] += 1
                at_once[1] = max(at_once)
            try:
                said = rule(request, number)
            finally:
                with lock:
                    at_once[0] -= 1
            return self.answer(*(said if isinstance(said, tuple) else (200, {}, said)))

        def answer(self, status, headers, body):
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            kind = "text/event-stream" if text.startswith(b"data:") else "application/json"
            try:
                self.send_response(status)
                for name, value in {"Content-Type": kind, "Content-Length": len(text), **headers}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(text)
            except OSError:
                pass  # the client hung up

        def log_message(self, *_):
            pass

    with http_server(Handler) as address:
        yield f"{address}/v1", seen, at_once


def engine(url, **options):
    client = OpenAIClient(url, "MY_KEY", timeout=options.pop("timeout", 10), retries=options.pop("retries", 3))
    return OpenAIEngine(client, PromptLayout(ChatFormat()), **options)


def question(request):
    return request["messages"][0]["content"]


def test_texts_come_in_input_order_and_no_more_are_asked_at_once_than_was_said():
    def rule(request, number):
        time.sleep(0.05 * (number % 3))
        return chat(" About " + question(request).split("parcel ")[1][0] + ". ")

    done = []
    with server(rule) as (url, seen, at_once):
        found = summarize(DIALOGUES, engine(url, concurrency=3), ("overall",), SHORT, on_done=done.append)
    assert [one.text for (one,) in found] == [f"About {at}." for at in range(6)]
    assert done == [1] * 6 and 1 < at_once[1] <= 3
    (first,) = found[0]
    assert (first.tokens, first.finish_reason, first.mean_logprob, first.lowest_logprob) == (2, "stop", -0.75, -1.0)
    assert {one["path"] for one in seen} == {"/v1/chat/completions"} and seen[0]["model"] == "tiny"


def test_what_leaves_is_the_question_its_numbers_and_the_key_and_nothing_of_this_machine():
    with server(lambda *_: chat("Hi")) as (url, seen, _):
        asking = engine(url)
        summarize(DIALOGUES[:1], asking, ("overall",), SHORT)
    (request,) = seen
    assert question(request).startswith("Ann: Where is parcel 0?\nBob: On its way.\n\n")
    assert {key for key in request if key not in ("path", "headers")} == {
        *("model", "messages", "max_tokens", "temperature", "logprobs")
    }
    assert request["headers"]["authorization"] == f"Bearer {KEY}"
    assert request["headers"].keys() <= {
        *("host", "accept", "accept-encoding", "connection", "user-agent", "content-type", "content-length"),
        *("authorization", "x-stainless-retry-count", "x-stainless-raw-response", "x-stainless-read-timeout"),
    }
    assert KEY not in repr(asking.client)


def test_a_busy_server_is_given_the_time_that_it_asks_for():
    def rule(_, number):
        return error(429, "slow down", **{"Retry-After": "1"}) if number == 0 else chat("At last")

    started = time.monotonic()
    with server(rule) as (url, seen, _):
        ((found,),) = summarize(DIALOGUES[:1], engine(url), ("overall",), SHORT)
    assert len(seen) == 2 and found.text == "At last" and found.seconds >= 1 and time.monotonic() - started < 8


def test_a_server_that_fails_or_hangs_is_asked_again():
    asked_again = threading.Event()

    def rule(_, number):
        if number == 1:
            asked_again.wait(60)
        elif number == 2:
            asked_again.set()
        return error(503, "down", **{"retry-after-ms": "10"}) if number == 0 else chat("Here")

    with server(rule) as (url, seen, _):
        ((found,),) = summarize(DIALOGUES[:1], engine(url, timeout=2), ("overall",), SHORT)
    assert len(seen) == 3 and found.text == "Here"


@pytest.mark.parametrize(
    "nonsense",
    [b"<html>", {"choices": []}, {"choices": [{"message": 7}]}, [], error(500, "dead", **{"retry-after-ms": "1"})],
)
def test_an_endpoint_that_gives_no_answer_is_an_error_that_names_the_dialogue(nonsense):
    with server(lambda *_: nonsense) as (url, _, _), pytest.raises(ResourceError, match="no answer to dialogue d0"):
        summarize(DIALOGUES[:1], engine(url, retries=1), ("overall",), SHORT)


@pytest.mark.parametrize(("status", "what"), [(401, "refuses the key"), (404, "does not know tiny")])
def test_a_refused_key_or_unknown_model_ends_the_run_without_showing_the_key(status, what):
    with server(lambda *_: error(status, f"no, {KEY}")) as (url, seen, _):
        with pytest.raises(ModelError, match=what) as caught:
            summarize(DIALOGUES, engine(url, concurrency=1), ("overall",), SHORT)
        assert len(seen) <= 2
    assert KEY not in str(caught.value) and url in str(caught.value)


def test_nobody_at_the_url_is_said_soon():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ResourceError, match=r"127\.0\.0\.1.*no answer.*\n.*start the server"):
        summarize(DIALOGUES, engine(url), ("overall",), SHORT)


def test_a_dialogue_that_the_server_finds_too_long_is_named():
    said = "This model's maximum context length is 2048 tokens. However, you requested 2100 tokens"
    with server(lambda *_: error(400, said)) as (url, _, _), pytest.raises(DataError, match="d0: the endpoint says"):
        summarize(DIALOGUES[:1], engine(url), ("overall",), SHORT)


def test_with_a_context_long_dialogues_are_refused_before_anything_leaves():
    long = Dialogue("long", (Turn("Ann", "on and on " * 100),))
    with server(lambda *_: chat("x")) as (url, seen, _):
        asking = engine(url, context=300)
        with pytest.raises(DataError, match="dialogue long"):
            summarize([*DIALOGUES, long], asking, ("overall",), SHORT)
        assert not seen
        assert asking.fits(asking.layout.prompt(DIALOGUES[0], ["overall"]), 8)


def test_what_an_endpoint_does_not_have_is_refused_or_left_out_never_passed_over():
    def rule(request, _):
        return error(400, "logprobs are not supported") if "logprobs" in request else chat("Hi", logprobs=None)

    with server(rule) as (url, seen, _):
        asking = engine(url)
        with pytest.raises(UsageError, match="--beams"):
            summarize(DIALOGUES[:1], asking, ("overall",), Decoding(beams=2))
        with pytest.raises(UsageError, match="passes over min_tokens"):
            summarize(DIALOGUES[:1], asking, ("overall",), Decoding(max_new_tokens=8, min_new_tokens=5))
        ((found,),) = summarize(DIALOGUES[:1], asking, ("overall",), SHORT)
    assert found.mean_logprob is None and len(seen) == 3
    filtering = server(lambda *_: chat("", finish_reason="content_filter"))
    with filtering as (url, _, _), pytest.raises(DataError, match="content_filter"):
        summarize(DIALOGUES[:1], engine(url), ("overall",), SHORT)


def test_sampled_texts_have_seeds_of_their_own_dialogue():
    with server(lambda *_: chat("Hi")) as (url, seen, _):
        for chosen in (DIALOGUES[:2], DIALOGUES[1:2]):
            summarize(chosen, engine(url), ("overall",), Decoding(temperature=0.7, top_p=0.9, top_k=5))
    seeds = {question(one): one["seed"] for one in seen[:2]}
    assert len(set(seeds.values())) == 2 and seen[2]["seed"] == seeds[question(seen[2])]
    assert (seen[0]["temperature"], seen[0]["top_p"], seen[0]["top_k"]) == (0.7, 0.9, 5)


def test_a_stream_adds_up_to_the_text():
    pieces = [" An", "n", " asks. "]
    events = [{"choices": [{"index": 0, "delta": {"content": one}, "finish_reason": None}]} for one in pieces]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    events.append({"choices": [], "usage": {"completion_tokens": 4}})
    stream = "".join(f"data: {json.dumps(one)}\n\n" for one in events) + "data: [DONE]\n\n"
    told = []
    with server(lambda *_: stream.encode()) as (url, seen, _):
        ((found,),) = summarize(DIALOGUES[:1], engine(url), ("overall",), SHORT, on_text=lambda *one: told.append(one))
    assert told == [(0, 0, "An"), (0, 0, "n"), (0, 0, " asks.")] and seen[0]["stream"] is True
    assert (found.text, found.tokens, found.mean_logprob) == ("Ann asks.", 4, None)


def test_a_stream_that_breaks_off_is_no_text():
    event = {"choices": [{"index": 0, "delta": {"content": "An"}, "finish_reason": None}]}
    breaking = server(lambda *_: f"data: {json.dumps(event)}\n\n".encode())
    with breaking as (url, _, _), pytest.raises(ResourceError, match="broke off"):
        summarize(DIALOGUES[:1], engine(url), ("overall",), SHORT, on_text=lambda *_: None)


def test_with_the_models_tokenizer_prompts_are_its_ids_and_texts_are_read_by_it():
    new = [*tokenizer().encode("Ann asks.", add_special_tokens=False), tokenizer().eos_token_id]

    def rule(request, _):
        told = {"token_logprobs": [-1.0] * len(new)}
        choice = {"index": 0, "text": "else", "token_ids": new, "finish_reason": "stop", "logprobs": told}
        return {"choices": [choice], "usage": {"completion_tokens": len(new)}}

    with server(rule) as (url, seen, _):
        asking = EngineSpec("openai", url=url, model=str(model_dir("llama"))).open()
        found = summarize(DIALOGUES[:2], asking, ("overall",), SHORT)
    side = asking.text_model
    prompt = side.layout().prompt(DIALOGUES[0], ["overall"])
    ids = side.encoder.encode([*prompt.prefix, *prompt.branches[0]])
    assert any(one["prompt"] == ids for one in seen) and {one["path"] for one in seen} == {"/v1/completions"}
    assert tokenizer().eos_token_id in seen[0]["stop_token_ids"] and seen[0]["repetition_penalty"] == 1
    assert (found[0][0].text, found[0][0].tokens, found[0][0].mean_logprob) == ("Ann asks.", len(new), -1.0)


def test_the_model_is_named_where_there_are_several():
    with server(lambda *_: chat("Hi"), served=("a", "b")) as (url, seen, _):
        with pytest.raises(UsageError, match="--served-model NAME; there are: a, b"):
            summarize(DIALOGUES[:1], engine(url), ("overall",), SHORT)
        summarize(DIALOGUES[:1], engine(url, served_model="b"), ("overall",), SHORT)
    assert [one["model"] for one in seen] == ["b"]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"engine": "vlm"}, 'did you mean "vllm"'),
        ({"engine": "openai"}, "add --url"),
        ({"engine": "openai", "url": "localhost:8000"}, "not the URL"),
        ({"engine": "openai", "url": f"https://me:{KEY}@example.com/v1"}, "holds a password"),
        ({"engine": "openai", "url": "http://localhost/v1", "dtype": "float32"}, "--dtype is not for"),
        ({"engine": "llamacpp"}, "add --gguf FILE"),
        ({"gguf": "x.gguf"}, "--gguf is not for the engine transformers"),
        ({"engine": "vllm", "concurrency": 4}, "--concurrency is not for the engine vllm"),
        ({"language": "fr"}, "no instructions in"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_anything_is_loaded(options, what):
    with pytest.raises(UsageError, match=what) as caught:
        EngineSpec(**options)
    assert KEY not in str(caught.value)


def test_a_spec_travels_to_another_process():
    spec = EngineSpec("openai", url="http://localhost/v1", served_model="x", api_key_env="MY_KEY")
    assert pickle.loads(pickle.dumps(spec)) == spec and KEY.encode() not in pickle.dumps(spec)


def test_a_schema_is_sent_as_a_response_format_and_an_answer_that_passes_over_it_is_refused():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    answers = ('{"a": "parcel"}', "Here it is.", '{"a": 1}')
    with server(lambda request, number: chat(answers[int(question(request).split("parcel ")[1][0])])) as (url, seen, _):
        found = extract_fields(DIALOGUES[:3], engine(url), load_fields(schema), SHORT)
        optional = {**schema, "required": []}
        extract_fields(DIALOGUES[:1], engine(url), load_fields(optional), SHORT)
    assert [one.fields for one in found] == [{"a": "parcel"}, None, None]
    assert "no JSON" in found[1].problem and "does not fit the schema" in found[2].problem
    asked = [one["response_format"]["json_schema"] for one in seen]
    assert [one["strict"] for one in asked] == [True, True, True, False]
    assert asked[0]["schema"] == load_fields(schema).schema and seen[0]["response_format"]["type"] == "json_schema"
    assert all("json_schema" not in one for one in seen)  # that is llama.cpp's, for prompts of token ids
