"""Fields that a model fills in: valid whatever the model, refused where they are cut off, with turns and support."""

import json
from dataclasses import replace

import pytest

from helpers.scripted_engine import CHAT, OTHER, ScriptedEngine
from helpers.tiny import model_dir
from helpers.verify_runs import answer_set, verify_adapter
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError, UsageError
from rolesum.generation import Decoding, Generation
from rolesum.generation.async_engine import AsyncEngine
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.extraction import extract_fields
from rolesum.generation.factory import EngineSpec
from rolesum.generation.field_output import field_record, format_field_blocks, format_field_lines
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.instructions import load_fields, load_instruction_set
from rolesum.models.loading import load_model

SCHEMA = {
    "type": "object",
    "properties": {
        "matter": {"type": "string", "maxLength": 12},
        "state": {"enum": ["solved", "open"], "x-statement": {"solved": "It is solved.", "open": "It is open."}},
        "calls": {
            "type": "array",
            "maxItems": 2,
            "items": {
                "type": "object",
                "properties": {
                    "who": {"type": "string", "maxLength": 4, "x-statement": "{who} sends {what}."},
                    "what": {"type": ["string", "null"], "maxLength": 9},
                },
                "required": ["who", "what"],
            },
        },
        "pieces": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 99}, {"type": "null"}]},
        "day": {"type": "string", "format": "date"},
        "urgent": {"type": "boolean"},
    },
    "required": ["matter", "state", "calls", "pieces", "day", "urgent"],
}
FIELDS = load_fields(SCHEMA)
ANSWER = {
    "matter": "lamp broke",
    "state": "open",
    "calls": [{"who": "Tom", "what": "a new one"}],
    "pieces": 45,
    "day": "2026-01-02",
    "urgent": False,
}
LOOSE = load_fields({"type": "object", "properties": {name: {"type": "string"} for name in ("a", "b")}})


@pytest.fixture(scope="module")
def engine():
    return TransformersEngine(load_model(model_dir("llama"), dtype="float32", device="cpu"))


class AnsweringEngine(ScriptedEngine):
    """Writes a given answer to every question for fields."""

    def __init__(self, answer, metadata=None, finish_reason="stop"):
        super().__init__({}, metadata)
        self.answer, self.finish_reason = answer, finish_reason

    def generate(self, prompts, decoding, on_done=None, on_text=None):
        return [[Generation(self.answer, 5, self.finish_reason, -0.5, -1.0)] for _ in prompts]


def extracted(answer, dialogue=CHAT, metadata=None, finish_reason="stop", fields=FIELDS, **config):
    engine = AnsweringEngine(answer if isinstance(answer, str) else json.dumps(answer), metadata, finish_reason)
    return Summarizer(SummarizerConfig(EngineSpec(), fields=fields, **config), engine).extract_fields([dialogue])[0]


@pytest.mark.parametrize("decoding", [Decoding(max_new_tokens=400), Decoding(max_new_tokens=400, temperature=3.0)])
def test_whatever_a_model_of_random_weights_writes_fits_the_schema(engine, decoding):
    found = extract_fields([CHAT, OTHER], engine, FIELDS, decoding)
    for one in found:
        assert one.problem == "" and FIELDS.problems(json.loads(one.text)) == [] and one.finish_reason == "stop"
        assert json.loads(one.text) == one.fields
    assert found[0].text != found[1].text


@pytest.mark.parametrize("kind", ["gemma3", "bloom", "chatglm3-6b"])
def test_so_it_is_for_other_families_and_what_has_no_fast_tokenizer_is_refused(kind):
    try:
        engine = TransformersEngine(load_model(model_dir(kind), dtype="float32", device="cpu"))
        (found,) = extract_fields([CHAT], engine, FIELDS, Decoding(max_new_tokens=400))
    except UsageError as error:
        assert kind == "chatglm3-6b" and "no fast tokenizer" in str(error)
    else:
        assert FIELDS.problems(found.fields) == []


def test_other_texts_of_the_batch_are_what_they_are_alone(engine):
    decoding = Decoding(max_new_tokens=24)
    summaries = engine.layout.prompt(CHAT, ["overall"])
    fields = engine.layout.fields_prompt(OTHER, FIELDS)
    together = engine.generate([summaries, fields], decoding)
    assert [together[0][0].text] == [one.text for one in engine.generate([summaries], decoding)[0]]
    assert [together[1][0].text] == [one.text for one in engine.generate([fields], decoding)[0]]


def test_an_answer_that_the_limit_cuts_off_is_no_fields_and_says_so(engine):
    (found,) = extract_fields([CHAT], engine, FIELDS, Decoding(max_new_tokens=4))
    assert found.fields is None and found.finish_reason == "length" and "--max-new-tokens" in found.problem
    record = json.loads(format_field_lines([found]))
    assert record["fields"] is None and record["problem"] == found.problem and record["values"] == []
    assert format_field_blocks([found]) == "null\n"


@pytest.mark.parametrize(
    ("answer", "what"), [("Sure!", "no JSON"), ('{"a": 1}', "does not fit"), ("[]", "does not fit")]
)
def test_an_answer_that_is_not_held_to_the_schema_is_no_fields(answer, what):
    found = extracted(answer, metadata={}, fields=LOOSE)
    assert found.fields is None and what in found.problem


def test_each_value_has_its_turns_and_a_statement_and_its_support():
    found = extracted(ANSWER)
    values = {one.path: one for one in found.values}
    assert found.fields == ANSWER and found.support_threshold == 0.5
    assert values["/matter"].turns == (0,) and values["/calls/0/who"].turns == (1,)
    assert values["/state"].turns == values["/urgent"].turns == ()  # no words of the dialogue
    assert values["/calls/0/who"].statement == "Tom sends a new one."
    assert values["/state"].statement == "It is open." and values["/pieces"].statement == "pieces: 45."
    assert values["/calls/0/what"].statement == "calls what: a new one."
    asked = Summarizer(SummarizerConfig(EngineSpec()), AnsweringEngine(""))._verifier
    expected = asked.verify(CHAT, [one.statement for one in found.values])
    assert [one.support for one in found.values] == pytest.approx(expected, abs=1e-5)
    record = field_record(found)
    assert [one["path"] for one in record["values"]] == list(values) and record["fields"] == ANSWER


def test_without_a_verifier_values_have_turns_alone():
    for found in (extracted(ANSWER, metadata={}), extracted(ANSWER, verify="off")):
        assert found.values and found.support_threshold is None and found.doubtful == ()
        assert all("support" not in one for one in field_record(found)["values"])


def test_null_and_empty_texts_are_no_values():
    found = extracted({**ANSWER, "matter": "", "calls": [], "pieces": None})
    assert [one.path for one in found.values] == ["/state", "/day", "/urgent"]


def test_statements_are_in_the_language_of_the_dialogue():
    chinese = Dialogue("z", (Turn("客户", "我的灯坏了，请换一个。"), Turn("客服", "好的，周一寄出。")))
    engine = AnsweringEngine('{"a": "灯坏了"}', {})
    engine.layout = engine.loaded.layout()
    (found,) = Summarizer(SummarizerConfig(EngineSpec(), fields=LOOSE), engine).extract_fields([chinese])
    assert found.values[0].statement == "a：灯坏了。" and found.values[0].turns == (0,)


def test_hidden_values_are_put_back_and_must_fit_the_schema():
    found = extracted({"a": "call [PHONE_1]"}, metadata={}, fields=LOOSE, redact=True)
    assert found.fields == {"a": "call 020 7946 0958"} and found.values[0].value == "call 020 7946 0958"
    assert found.values[0].turns == (0,)
    short = load_fields({"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}}})
    found = extracted({"a": "[PHONE_1]"}, metadata={}, fields=short, redact=True)
    assert found.fields is None and found.values == () and "put back" in found.problem


def test_a_dialogue_that_does_not_fit_is_refused_or_shortened(engine):
    long = Dialogue("long", tuple(Turn("Ann" if at % 2 else "Ben", "word " * 30) for at in range(80)))
    with pytest.raises(DataError, match="drop-middle") as caught:
        extract_fields([CHAT, long], engine, LOOSE, Decoding(max_new_tokens=8))
    assert [one.where for one in caught.value.problems] == [long.location]
    found = extract_fields([CHAT, long], engine, LOOSE, Decoding(max_new_tokens=8), long_dialogues="drop-middle")
    assert found[0].coverage is None and 1 < found[1].coverage.read < 80


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"roles": ("user",)}, "--roles"),
        ({"verify": "quote"}, "--verify quote"),
        ({"verify": "drop"}, "--verify drop"),
        ({"long_dialogues": "refine"}, "not read in parts"),
        ({"decoding": Decoding(beams=2)}, "--beams"),
        ({"decoding": Decoding(min_new_tokens=2)}, "--min-new-tokens"),
    ],
)
def test_options_that_fields_cannot_have_are_refused_before_a_model_is_loaded(change, what):
    with pytest.raises(UsageError, match=what):
        SummarizerConfig(EngineSpec(), fields=FIELDS, **change)


def test_an_engine_that_holds_to_no_schema_is_refused(engine):
    class Free(AnsweringEngine):
        features = replace(AnsweringEngine.features, json_schema=False)

    with pytest.raises(UsageError, match="does not fill in fields"):
        extract_fields([CHAT], Free("{}"), FIELDS, Decoding())


def test_extract_takes_one_dialogue_or_a_list_and_the_same_arguments_as_a_call(engine):
    layout = engine.loaded.layout(instructions=load_instruction_set(answer_set()))
    summarizer = Summarizer(engine=TransformersEngine(engine.loaded, layout))
    chat = "Ann: My lamp broke.\nBen: A new one is on its way."
    one = summarizer.extract(chat, SCHEMA)
    many = summarizer.extract([chat, [("Ann", "Hello")]], SCHEMA, temperature=0.5)
    assert FIELDS.problems(one.fields) == [] and [each.dialogue_id for each in many] == ["dialogue-1", "dialogue-2"]
    assert all(FIELDS.problems(each.fields) == [] for each in many)
    assert summarizer.extract(chat, LOOSE.schema, max_new_tokens=3).tokens == 3
    refused = (
        ({"sections": "meeting-recap"}, "--sections"),
        ({"ask": {"complaints": "List the complaints."}}, "--ask"),
        ({"role": "user"}, 'unknown argument "role"'),
    )
    for wrong, what in refused:
        with pytest.raises(UsageError, match=what):
            summarizer.extract(chat, SCHEMA, **wrong)
    with pytest.raises(UsageError, match="no schema at nowhere"):
        summarizer.extract(chat, "nowhere")
    summarizer.close()


def test_values_are_verified_where_quotes_are_the_default_of_summaries_and_quotes_that_are_asked_for_are_refused():
    few = {"device": "cpu", "dtype": "float32", "max_new_tokens": 40}
    chat = "Customer: My lamp broke.\nAgent: A new one is on its way."
    for given, threshold in (({}, 0.5), ({"verify": "flag"}, 0.5), ({"verify": "off"}, None)):
        with Summarizer.from_pretrained(verify_adapter(), **few, **given) as made:
            assert made.extract(chat, SCHEMA).support_threshold == threshold
    with Summarizer.from_pretrained(verify_adapter(), **few) as made:
        assert made.extract(chat, SCHEMA, verify="off").support_threshold is None
        with pytest.raises(UsageError, match="--verify quote"):
            made.extract(chat, SCHEMA, verify="quote")
    config = SummarizerConfig(EngineSpec(adapter=verify_adapter()), fields=FIELDS)
    assert config.resolved().verify == "flag"


def test_fields_are_the_same_where_the_keys_of_the_dialogue_are_kept(engine):
    shared = AsyncEngine(engine)
    client = shared.client()
    client.kept = shared.new_kept_prefix()
    decoding = Decoding(max_new_tokens=300)
    (alone,) = extract_fields([CHAT], engine, FIELDS, decoding)
    assert [extract_fields([CHAT], client, FIELDS, decoding)[0].text for _ in range(2)] == [alone.text] * 2
    assert client.kept.reused > 0 and FIELDS.problems(alone.fields) == []
    shared.close()
