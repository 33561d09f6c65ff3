"""Statements and their support in the API: at once, as a stream and in batches, and what cannot be verified."""

import json
import threading

import pytest

from helpers.scripted_engine import CHAT, WritingEngine
from helpers.served import TEXT, TURNS, events_of, serving
from helpers.served_engine import serving_engine
from helpers.tiny import model_dir
from helpers.verify_runs import verify_adapter
from helpers.waiting import wait_until
from rolesum.dialogue import Dialogue, Turn
from rolesum.generation import Decoding
from rolesum.generation.factory import EngineSpec
from rolesum.generation.statement_notes import statement_record
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.generation.support import VERIFY_MODES
from rolesum.generation.verification import Verifier
from rolesum.server.schemas import GenerationParameters

PLAIN = model_dir("llama")
SHORT = {"max_new_tokens": 24}
MARKED = {**SHORT, "verify": "flag"}
CHAT_TURNS = [{"speaker": turn.speaker, "text": turn.text} for turn in CHAT.turns]
FIRST, SECOND = "The customer has a broken lamp.", "Tom sends 45 new ones on Monday."
TEXTS = {"overall": f"{FIRST} {SECOND}", "user": "The lamp broke.", "agent": "Tom is sorry."}


@pytest.fixture(scope="module")
def service():
    """A model that was trained to verify, and one that was not."""
    with serving("--adapter", verify_adapter(), "--extra-model", PLAIN, "--dtype", "float32") as running:
        yield running


@pytest.fixture(scope="module")
def threshold():
    """One under which only the less supported of the two statements is doubtful."""
    return sum(Verifier(WritingEngine(TEXTS)).verify(CHAT, [FIRST, SECOND])) / 2


@pytest.fixture(scope="module")
def writing(threshold, tmp_path_factory):
    """A service whose texts are known."""
    engine = WritingEngine(TEXTS, {"verify": {"weight": 1, "threshold": threshold}})
    with serving_engine(engine, tmp_path_factory.mktemp("writing")) as running:
        yield running


def statements_of(answer):
    return {one["role"]: one["statements"] for one in answer["summaries"]}


def assert_close(ours, theirs):
    """Statements are equal, and their support but for noise."""
    assert [{**one, "support": None} for one in ours] == [{"times": [], **one, "support": None} for one in theirs]
    expected = pytest.approx([one["support"] for one in theirs], abs=1.5e-4)
    assert [one["support"] for one in ours] == expected


def test_statements_have_the_support_that_they_have_on_the_command_line(service):
    dialogue = Dialogue("d", tuple(Turn(**turn) for turn in TURNS), {"Customer": "user", "Agent": "agent"})
    spec = EngineSpec(adapter=verify_adapter(), device="cpu", dtype="float32")
    config = SummarizerConfig(spec, decoding=Decoding(max_new_tokens=24), verify="flag")
    (expected,) = Summarizer(config).summarize([dialogue])
    found = service.post("/v1/summaries", dialogue={"id": "d", "turns": TURNS}, options=MARKED).json()
    assert any(one["statements"] for one in found["summaries"])
    for one, role in zip(found["summaries"], expected, strict=True):
        assert (one["role"], one["text"], one["support_threshold"]) == (role.role, role.text, 0.5)
        assert_close(one["statements"], [statement_record(each, role.support_threshold) for each in role.statements])
        assert one["dropped"] == [] and one["sentences"]  # what was there before stays


def test_times_are_read_sent_back_and_stand_beside_the_turns(writing):
    text = "".join(f"[0{n}:05] {turn['speaker']}: {turn['text']}\n" for n, turn in enumerate(CHAT_TURNS, 1))
    (read,) = writing.post("/v1/dialogues", text=text).json()["dialogues"]
    assert [(turn["time"], turn["shown_time"]) for turn in read["turns"]] == [("01:05", "01:05"), ("02:05", "02:05")]
    flag = {"verify": "flag"}
    plain = writing.post("/v1/summaries", text=text, roles=["overall"], options=flag).json()
    turns = [{key: turn[key] for key in ("speaker", "text", "time")} for turn in read["turns"]]
    sent = writing.post("/v1/summaries", dialogue={"turns": turns}, roles=["overall"], options=flag).json()
    for answer in (plain, sent):
        (summary,) = answer["summaries"]
        assert [one["times"] for one in summary["statements"]] == [["01:05"], ["02:05"]]
        assert [one["times"] for one in summary["sentences"]] == [["01:05"], ["02:05"]]
    untimed = [{**turn, "time": " "} for turn in turns]
    untimed = {"dialogue": {"turns": untimed}, "roles": ["overall"]}
    (summary,) = writing.post("/v1/summaries", **untimed, options=flag).json()["summaries"]
    assert [one["times"] for one in summary["statements"]] == [[], []]
    (quoted,) = writing.post("/v1/summaries", dialogue={"turns": turns}, roles=["overall"]).json()["summaries"]
    assert [one["time"] for one in quoted["quotes"]] == [f"0{one['turn'] + 1}:05" for one in quoted["quotes"]]
    (quoted,) = writing.post("/v1/summaries", **untimed).json()["summaries"]
    assert {one["time"] for one in quoted["quotes"]} == {""}


def test_a_stream_brings_the_statements_with_the_finished_summary(service):
    body = {"text": TEXT, "options": SHORT, "stream": True}
    with service.client.stream("POST", "/v1/summaries", json=body) as answer:
        events = [(name, json.loads(data)) for name, data in events_of(answer)]
    assert all(data.keys() == {"role", "text"} for name, data in events if name == "text")
    summaries = [data for name, data in events if name == "summary"]
    plain = service.post("/v1/summaries", text=TEXT, options=MARKED).json()
    assert events[-1][1]["summaries"] == summaries and any(one["statements"] for one in summaries)
    for one, other in zip(summaries, plain["summaries"], strict=True):
        assert one["text"] == other["text"]
        assert_close(one["statements"], other["statements"])


def test_a_batch_keeps_the_statements_of_its_summaries(service):
    sent = {"dialogues": [{"id": "d", "turns": TURNS}], "options": {**MARKED, "support_threshold": 0.25}}
    identity = service.post("/v1/batches", **sent).json()["id"]
    wait_until(lambda: service.client.get(f"/v1/batches/{identity}").json()["done"] == 1)
    (found,) = service.client.get(f"/v1/batches/{identity}/results").json()["results"]
    expected = service.post("/v1/summaries", dialogue=sent["dialogues"][0], options=MARKED).json()
    for one, other in zip(found["result"]["summaries"], expected["summaries"], strict=True):
        assert (one["text"], one["support_threshold"]) == (other["text"], 0.25)
        assert_close(one["statements"], other["statements"])


def test_off_verifies_nothing_and_neither_does_a_model_that_cannot(service):
    for body in ({"options": {**SHORT, "verify": "off"}}, {"options": SHORT, "model": PLAIN.name}):
        for one in service.post("/v1/summaries", text=TEXT, **body).json()["summaries"]:
            assert one["support_threshold"] is None and one["statements"] == one["dropped"] == []


@pytest.mark.parametrize(
    "options", [{"verify": "flag"}, {"verify": "quote"}, {"verify": "drop"}, {"support_threshold": 0.4}]
)
def test_what_a_model_cannot_verify_is_refused_before_it_begins(service, options):
    key = f"options.{next(iter(options))}"
    body = {"model": PLAIN.name, "options": options}
    for path, input_of in (
        ("/v1/summaries", {"text": TEXT}),
        ("/v1/summaries", {"text": TEXT, "stream": True}),
        ("/v1/batches", {"dialogues": [{"turns": TURNS}]}),
    ):
        answer = service.post(path, **body, **input_of)
        problem = answer.json()
        assert answer.status_code == 422 and problem["where"] == key
        assert "does not verify statements" in problem["detail"]
        assert f"leave {key} out" in problem["fix"] and "/v1/info" in problem["fix"]


def test_options_that_do_not_go_together_are_named_by_their_keys(service):
    for options, words in (
        ({"verify": "rerank"}, "add options.samples 4 options.temperature 0.7"),
        ({"verify": "off", "support_threshold": 0.4}, "leave options.support_threshold or options.verify off out"),
        ({"verify": "flagg"}, "flag"),
        ({"support_threshold": 1.5}, "support_threshold"),
    ):
        for path, input_of in (("/v1/summaries", {"text": TEXT}), ("/v1/batches", {"dialogues": [{"turns": TURNS}]})):
            answer = service.post(path, **input_of, options=options)
            assert answer.status_code == 422 and words in answer.text, answer.text


def test_info_says_which_models_verify_and_by_which_threshold(service):
    able, plain = service.client.get("/v1/info").json()["models"]
    assert (able["verifies"], able["support_threshold"]) == (True, 0.5)
    assert (plain["name"], plain["verifies"], plain["support_threshold"]) == (PLAIN.name, False, None)


def test_the_document_describes_the_statements(service):
    schemas = service.client.get("/openapi.json").json()["components"]["schemas"]
    names = {"text", "start", "end", "support", "turns", "times", "flags"}
    assert set(schemas["StatementOut"]["properties"]) == names
    assert {"statements", "dropped", "quotes", "support_threshold"} <= set(schemas["SummaryOut"]["properties"])
    assert set(schemas["QuoteOut"]["properties"]) == {"start", "end", "turn", "time"}
    kinds = schemas["GenerationParameters"]["properties"]["verify"]["anyOf"]
    assert kinds == [{"enum": list(VERIFY_MODES), "type": "string"}, {"type": "null"}]
    assert GenerationParameters().verify is None


def test_drop_leaves_the_doubtful_statement_out_and_says_which(writing, threshold):
    asked = {"dialogue": {"turns": CHAT_TURNS}, "roles": ["overall"]}
    (flagged,) = writing.post("/v1/summaries", **asked, options={"verify": "flag"}).json()["summaries"]
    assert flagged["text"] == TEXTS["overall"] and flagged["support_threshold"] == pytest.approx(threshold)
    doubtful, other = sorted(flagged["statements"], key=lambda one: one["support"])
    assert doubtful["support"] < threshold <= other["support"]
    assert [one["flags"] for one in flagged["statements"]] == [[], ["the dialogue does not say 45"]]
    (dropped,) = writing.post("/v1/summaries", **asked, options={"verify": "drop"}).json()["summaries"]
    assert dropped["text"] == other["text"] and [one["text"] for one in dropped["dropped"]] == [doubtful["text"]]
    assert [dropped["text"][one["start"] : one["end"]] for one in dropped["statements"]] == [other["text"]]
    with writing.client.stream(
        "POST", "/v1/summaries", json={**asked, "options": {"verify": "drop"}, "stream": True}
    ) as streamed:
        names = [name for name, _ in events_of(streamed)]
    assert names == ["summary", "done"]  # a text would show what is left out
    assert not writing.model.engine.engine.asked_anew  # all on the prefixes of the texts


def events(service, path="/v1/summaries", **body):
    with service.client.stream("POST", path, json={**body, "stream": True}) as streamed:
        return [(name, json.loads(data)) for name, data in events_of(streamed)]


LAMP = "Customer: “My lamp broke, call 020 7946 0958.”"
MONDAY = "Agent: “Sorry! Tom sends a new one on Monday.”"


def test_unless_told_otherwise_a_turn_is_quoted_in_place_of_the_doubtful_statement(writing):
    asked = {"dialogue": {"id": "c", "turns": CHAT_TURNS}, "roles": ["overall"]}
    (flagged,) = writing.post("/v1/summaries", **asked, options={"verify": "flag"}).json()["summaries"]
    doubtful, other = sorted(flagged["statements"], key=lambda one: one["support"])
    answer = writing.post("/v1/summaries", **asked).json()
    (found,) = answer["summaries"]
    *first, quote = found["quotes"]
    assert [one["turn"] for one in first] in ([], [0])  # the user's turn, where the first sentence is the doubtful one
    assert found["text"] == TEXTS["overall"].replace(doubtful["text"], f"{LAMP} {MONDAY}" if first else MONDAY)
    assert found["text"][quote["start"] : quote["end"]] == MONDAY and quote["turn"] == 1
    assert [one["text"] for one in found["statements"]] == [other["text"]] and flagged["quotes"] == []
    assert [one["text"] for one in found["dropped"]] == [doubtful["text"]]
    written = writing.post("/v1/documents", dialogue=asked["dialogue"], summaries=[found])
    assert "\n> Quotes stand for what the dialogue may not say (1).\n" in written.text and "(?)" not in written.text
    identity = writing.post("/v1/batches", dialogues=[asked["dialogue"]], roles=["overall"]).json()["id"]
    wait_until(lambda: writing.client.get(f"/v1/batches/{identity}").json()["done"] == 1)
    (kept,) = writing.client.get(f"/v1/batches/{identity}/results").json()["results"]
    assert kept["result"]["summaries"][0]["quotes"] == [*first, quote]


def test_checks_flag_no_words_that_are_quoted(writing):
    later = ("Customer", "Thank you."), ("Agent", "45 new lamps are none of Tom's. He sends a new one on Monday")
    turns = [*CHAT_TURNS, *({"speaker": speaker, "text": text} for speaker, text in later)]
    asked = {"dialogue": {"turns": turns}, "roles": ["overall"], "options": {"support_threshold": 1}}
    (found,) = writing.post("/v1/summaries", **asked).json()["summaries"]
    assert found["statements"] == [] and len(found["quotes"]) == 2 and found["flags"] == []


def test_a_stream_marks_unless_it_is_told_to_quote(writing):
    asked = {"dialogue": {"turns": CHAT_TURNS}, "roles": ["overall"]}
    marked = events(writing, **asked)
    (summary,) = [data for name, data in marked if name == "summary"]
    assert "".join(data["text"] for name, data in marked if name == "text") == TEXTS["overall"]
    assert summary["text"] == TEXTS["overall"] and summary["quotes"] == summary["dropped"] == []
    assert sum(one["support"] < summary["support_threshold"] for one in summary["statements"]) == 1
    quoted = events(writing, **asked, options={"verify": "quote"})
    assert [name for name, _ in quoted] == ["summary", "done"]
    (at_once,) = writing.post("/v1/summaries", **asked).json()["summaries"]
    assert quoted[0][1] == at_once and at_once["quotes"][-1]["turn"] == 1


def test_the_stream_of_a_session_marks_unless_it_is_told_to_quote(service):
    path = f"{service.post('/v1/sessions', dialogue={'turns': TURNS}).headers['Location']}/summaries"
    names = [name for name, _ in events(service, path, options=SHORT)]
    assert "text" in names and names[-4:] == ["summary"] * 3 + ["done"]
    quoted = events(service, path, options={**SHORT, "verify": "quote"})
    assert [name for name, _ in quoted] == ["summary"] * 3 + ["done"]


# The written tokens are certain: with these weights too, the support is that of the answer.
OWN_TEXT = {"constant": 0.0, "answer": 1.0, "mean_logprob": 1.0, "unlikely_tokens": -1.0, "threshold": 0.5}


@pytest.mark.parametrize("own_text", [None, OWN_TEXT])
def test_rerank_takes_the_best_supported_sample(tmp_path, own_text):
    samples = ["Ann is ill.", "The lamp broke.", "It rained on Monday."]
    engine = WritingEngine({"overall": samples}, {"verify": {"weight": 1, "own_text": own_text}})
    support = Verifier(engine).verify(CHAT, samples)
    options = {"verify": "rerank", "samples": 3, "temperature": 1.0}
    with serving_engine(engine, tmp_path) as service:
        asked = {"dialogue": {"turns": CHAT_TURNS}, "roles": ["overall"], "options": options}
        (found,) = service.post("/v1/summaries", **asked).json()["summaries"]
    assert found["text"] == samples[support.index(max(support))]
    assert found["statements"][0]["support"] == pytest.approx(max(support), abs=1e-4)


def test_what_was_verified_is_counted_and_a_chat_client_pays_for_none(writing):
    def counts():
        lines = writing.client.get("/metrics").text.splitlines()
        found = [line.split() for line in lines if line.startswith("rolesum_statements_total")]
        return {name.split('"')[1]: float(value) for name, value in found}

    asked = {"dialogue": {"turns": CHAT_TURNS}, "roles": ["overall"]}
    before = counts()
    writing.post("/v1/summaries", **asked)
    once = counts()
    assert {name: once[name] - before.get(name, 0) for name in ("dropped", "supported")} == {
        "dropped": 1,
        "supported": 1,
    }
    messages = [{"role": "user", "content": "Customer: My lamp broke.\nAgent: Sorry!"}]
    answer = writing.post("/v1/chat/completions", model="tiny:overall", messages=messages)
    assert answer.json()["choices"][0]["message"]["content"] == TEXTS["overall"] and counts() == once


def held_engine():
    """An engine that answers no question until it is told to, with what tells that it was asked, and what tells it."""
    engine, asked, go_on = WritingEngine(TEXTS), threading.Event(), threading.Event()
    make = engine.new_decoder

    def new_decoder():
        decoder = make()
        answer = decoder.prefill_held

        def prefill_held(*given):
            asked.set()
            go_on.wait(120)
            return answer(*given)

        decoder.prefill_held = prefill_held
        return decoder

    engine.new_decoder = new_decoder
    return engine, asked, go_on


def test_a_request_whose_statements_are_not_verified_in_time_is_ended_and_frees_its_place(tmp_path):
    engine, asked, go_on = held_engine()
    body = {"dialogue": {"turns": CHAT_TURNS}}
    with serving_engine(engine, tmp_path, timeout=5) as service:
        wait_until(lambda: service.post("/v1/summaries", **body).status_code == 504 and asked.is_set())
        go_on.set()
        wait_until(lambda: service.post("/v1/summaries", **body).status_code == 200)
        assert service.model.engine.num_rows == 0


def test_a_client_that_leaves_while_its_statements_are_verified_frees_its_place(tmp_path):
    engine, asked, go_on = held_engine()
    body = {"dialogue": {"turns": CHAT_TURNS}}

    def metric(name):
        lines = service.client.get("/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith(f"rolesum_{name} ")).split()[-1])

    with serving_engine(engine, tmp_path) as service:
        with service.client.stream("POST", "/v1/summaries", json={**body, "stream": True}) as answer:
            events = events_of(answer)
            assert next(events)[0] == "text" and asked.wait(60)
        wait_until(lambda: metric("canceled_requests_total") == 1)
        go_on.set()
        assert service.post("/v1/summaries", **body).status_code == 200
