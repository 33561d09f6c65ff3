"""The endpoint engine against a small server that cuts prompts as Ollama does, or reports its context as others do."""

import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from helpers.http_server import http_server
from helpers.tiny import model_dir, tokenizer
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError, UsageError
from rolesum.generation import Decoding, summarize
from rolesum.generation.engines.endpoint_context import ContextWindow, find_context, least_tokens
from rolesum.generation.engines.openai import OpenAIEngine
from rolesum.generation.engines.openai_client import OpenAIClient
from rolesum.generation.factory import EngineSpec
from rolesum.instructions import ChatFormat, PromptLayout

pytest.importorskip("openai", reason="the extra openai is not installed")

SHORT_TEXT = Decoding(max_new_tokens=8)
SHORT = Dialogue("short", (Turn("Ann", "Where is parcel 7?"), Turn("Bob", "On its way.")))
TURNS = tuple(Turn("AnnBob"[at % 2 * 3 :][:3], f"Item {at} was paid in cash, as you know.") for at in range(60))
LONG = Dialogue("long", TURNS)


@contextmanager
def cutting_server(context, reports=(), usage=True, served=None):
    """Reads the last `context` words and marks of a prompt without an error; `reports` maps a path to its answer."""
    seen, reports = [], dict(reports)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            models = {"data": [{"id": "m", "object": "model", **(served or {})}]}
            self.answer(models if self.path == "/v1/models" else reports.get(self.path))

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self.path.startswith("/v1/"):
                return self.answer(reports.get(self.path))
            asked = request["messages"][0]["content"] if "messages" in request else request["prompt"]
            tokens = re.findall(r"\w+|[^\w\s]", asked) if isinstance(asked, str) else asked
            read = tokens[-context:]
            seen.append(read)
            choice = {"index": 0, "finish_reason": "stop", "text": "Paid.", "message": {"content": "Paid."}}
            counts = {"usage": {"prompt_tokens": len(read), "completion_tokens": 2}} if usage else {}
            return self.answer({"choices": [choice], **counts})

        def answer(self, body):
            text = json.dumps(body or {"error": "not found"}).encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    with http_server(Handler) as address:
        yield f"{address}/v1", seen


def engine(url, **options):
    return OpenAIEngine(OpenAIClient(url, timeout=10, retries=0), PromptLayout(ChatFormat()), **options)


def ollama(parameters="", context_length=None):
    running = {"name": "m:latest", "model": "m:latest"} | ({"context_length": context_length} if context_length else {})
    return {
        "/api/show": {"model_info": {"llama.context_length": 131072}, "parameters": parameters},
        "/api/generate": {"done": True, "done_reason": "load"},
        "/api/ps": {"models": [running]},
    }


def test_a_server_that_drops_the_beginning_without_an_error_is_found_out_by_its_own_count():
    with cutting_server(400) as (url, _):
        ((found,),) = summarize([SHORT], engine(url), ("overall",), SHORT_TEXT)
        assert found.text == "Paid."
        with pytest.raises(DataError, match="long: the endpoint has dropped a part of the dialogue: it read 400 of at"):
            summarize([SHORT, LONG], engine(url), ("overall",), SHORT_TEXT)


def test_with_the_models_tokenizer_one_dropped_token_is_found_out():
    model = str(model_dir("llama"))
    prompt = EngineSpec("openai", url="http://localhost/v1", model=model).open().layout.prompt(SHORT, ["overall"])
    side = EngineSpec("openai", url="http://localhost/v1", model=model).open().text_model
    length = len(side.encoder.encode([*prompt.prefix, *prompt.branches[0]]))
    assert tokenizer()
    for context, is_cut in ((length, False), (length - 1, True)):
        with cutting_server(context) as (url, _):
            asking = EngineSpec("openai", url=url, model=model).open()
            if is_cut:
                with pytest.raises(DataError, match=f"it read {length - 1} of {length} tokens"):
                    summarize([SHORT], asking, ("overall",), SHORT_TEXT)
            else:
                summarize([SHORT], asking, ("overall",), SHORT_TEXT)


@pytest.mark.parametrize(
    ("reports", "served", "context"),
    [
        ({}, {"max_model_len": 700}, ContextWindow(700)),
        ({}, {"context_window": 700}, ContextWindow(700)),
        ({"/props": {"default_generation_settings": {"n_ctx": 700}}}, {"owned_by": "llamacpp"}, ContextWindow(700)),
        (ollama("stop    <|im_end|>\nnum_ctx    700"), {}, ContextWindow(700)),
        (ollama(context_length=700), {}, ContextWindow(700)),
        (ollama(), {}, ContextWindow(2048, is_reported=False)),
        ({"/api/v0/models": {"data": [{"id": "m", "loaded_context_length": 700}]}}, {}, ContextWindow(700)),
        ({"/api/v0/models": {"data": [{"id": "m", "max_context_length": 700}]}}, {}, None),
        ({"/props": {"default_generation_settings": {"n_ctx": "700"}}, "/api/ps": [], "/api/show": {}}, {}, None),
    ],
)
def test_each_kind_of_server_is_asked_for_its_context(reports, served, context):
    with cutting_server(700, reports, served=served) as (url, seen):
        client = OpenAIClient(url, timeout=10, retries=0)
        assert find_context(client, "m", client.list_models()) == context
    assert not seen


def test_a_dialogue_longer_than_the_reported_context_is_refused_before_it_is_sent_or_read_in_parts():
    with cutting_server(700, ollama(context_length=700)) as (url, seen):
        with pytest.raises(DataError, match=r"long: about \d+ tokens, for a context of 700"):
            summarize([LONG], engine(url), ("overall",), SHORT_TEXT)
        assert not seen
        ((found,),) = summarize([LONG], engine(url), ("overall",), SHORT_TEXT, long_dialogues="map-reduce")
        assert found.coverage.read == found.coverage.turns == 60 and found.coverage.chunks > 1
        ((short,),) = summarize([LONG], engine(url), ("overall",), SHORT_TEXT, long_dialogues="drop-middle")
        assert 0 < short.coverage.read < 60
    assert all(len(read) < 700 for read in seen)


def test_the_models_own_length_is_lowered_to_what_the_server_reads():
    with cutting_server(60, served={"max_model_len": 60}) as (url, seen):
        asking = EngineSpec("openai", url=url, model=str(model_dir("llama"))).open()
        with pytest.raises(DataError, match=r"long: .* at most 60 are read"):
            summarize([LONG], asking, ("overall",), SHORT_TEXT)
    assert not seen


def test_a_full_context_after_the_answer_is_a_cut_that_the_estimate_missed():
    dense = Dialogue("dense", tuple(Turn("A", "1 2 3 4 5 6 7 8 9 0 " * 2) for _ in range(30)))  # a token per 2 bytes
    with cutting_server(600, served={"max_model_len": 600}) as (url, _):
        asking = engine(url)
        assert asking.fits(asking.layout.prompt(dense, ["overall"]), 8)
        with pytest.raises(DataError, match="dense: the endpoint has dropped a part of the dialogue"):
            summarize([dense], asking, ("overall",), SHORT_TEXT)


def test_a_context_given_by_hand_is_lowered_never_raised_above_a_reported_one():
    with cutting_server(700, ollama(context_length=700)) as (url, _):
        with pytest.raises(UsageError, match="--context 900 is more than the 700 tokens that m reads there"):
            summarize([SHORT], engine(url, context=900), ("overall",), SHORT_TEXT)
        with pytest.raises(DataError, match="context of 300"):
            summarize([LONG], engine(url, context=300), ("overall",), SHORT_TEXT)
    with cutting_server(4000, ollama()) as (url, _):  # an old Ollama, with a context that only its owner knows
        summarize([LONG], engine(url, context=4000), ("overall",), SHORT_TEXT)


def test_a_server_that_tells_nothing_is_said_once_and_for_long_dialogues_only(capsys):
    longer = Dialogue("longer", TURNS * 6)
    with cutting_server(9000, usage=False) as (url, _):
        asking = engine(url)
        summarize([SHORT], asking, ("overall",), SHORT_TEXT)
        assert not capsys.readouterr().err
        summarize([longer, longer], asking, ("overall",), SHORT_TEXT)
    assert capsys.readouterr().err.count("does not say how much it reads") == 1


@pytest.mark.parametrize(
    "text",
    [
        "Customer: I don't know (see order #4417-b), it's 12:30!\nAgent: Okay... I'll check https://a.example/x?y=1 😀",
        "顾客：我的包裹还没到，订单号是4417。\n客服：您好，我帮您查一下，请稍等。",
        "お荷物はまだ届いていません。\n확인해 보겠습니다.",
    ],
)
def test_the_least_number_of_tokens_is_under_that_of_a_tokenizer(text):
    assert 0 < least_tokens(text) <= len(tokenizer().encode(text, add_special_tokens=False))
