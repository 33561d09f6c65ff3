"""What a Summarizer takes as a dialogue: all forms of one dialogue are the same dialogue, and the rest is an error."""

import pytest

from helpers.echo_engine import EchoEngine
from rolesum import Dialogue, RolesumError, Turn
from rolesum.errors import DataError, UsageError
from rolesum.formats.python_values import is_dialogue, to_dialogue
from rolesum.generation.summarizer import Summarizer

TURNS = (Turn("Customer", "My parcel is late."), Turn("Agent", "I will check."))
PAIRS = [(one.speaker, one.text) for one in TURNS]
JSON = {"turns": [{"speaker": one.speaker, "text": one.text} for one in TURNS]}
TEXT = "Customer: My parcel is late.\r\nAgent: I will check.\n"
EXPECTED = Dialogue("dialogue", TURNS, {"Customer": "user", "Agent": "agent"})


@pytest.mark.parametrize(
    "value",
    [TEXT, PAIRS, tuple(map(list, PAIRS)), list(TURNS), JSON, {**JSON, "id": "dialogue"}, Dialogue("dialogue", TURNS)],
    ids=["text", "pairs", "lists", "turns", "json", "json-with-id", "dialogue"],
)
def test_to_dialogue_takes_every_form_and_resolves_roles_by_label(value):
    assert is_dialogue(value)
    assert to_dialogue(value, "dialogue") == EXPECTED


def test_to_dialogue_reads_a_text_in_any_format_that_files_have():
    cues = "00:01.000 --> 00:02.000\n<v Customer>My parcel is late.\n\n00:03.000 --> 00:04.000\n<v Agent>I will check."
    vtt = f"WEBVTT\n\n{cues}\n"
    found = to_dialogue(vtt, "dialogue")
    assert [(one.speaker, one.text) for one in found.turns] == PAIRS and found.roles == EXPECTED.roles


def test_to_dialogue_lets_given_speakers_and_aliases_name_the_roles():
    found = to_dialogue([("Anna", "Hi."), ("Tom", "Hello.")], "d", speakers={"Anna": "customer", "Tom": "客服"})
    assert found.roles == {"Anna": "user", "Tom": "agent"}
    custom = to_dialogue("Host: Welcome.\nCaller: Hi.", "d", aliases={"presenter": ("host",)})
    assert custom.roles == {"Host": "presenter", "Caller": "user"}


def test_to_dialogue_leaves_a_read_dialogue_without_roles_as_its_file_says():
    read = Dialogue("d", TURNS, {}, source="chats.jsonl:1")
    assert to_dialogue(read, "x").roles == {}


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (None, UsageError, "None is no dialogue but of type NoneType"),
        (b"Customer: Hi", UsageError, "of type bytes"),
        ([("a", "b"), "c"], UsageError, "of type list"),
        ("", DataError, "the text is empty"),
        ("chats.jsonl", DataError, r"rolesum.load_dialogues\(path\)"),
        ("Agent: caf\ud800", DataError, "lone surrogate"),
        ('{"id": "a", "turns": 1}', DataError, "no dialogue of a known format"),
        ({"turns": []}, DataError, "the dialogue has no turns"),
        ({"turn": JSON["turns"]}, DataError, 'did you mean "turns"'),
        ({**JSON, "meta": {"x": object()}}, DataError, "the dict is not JSON"),
        ({**JSON, "roles": {"Customer": "nobody"}}, DataError, 'unknown role "nobody"'),
        ([("", "Hello.")], DataError, "no text under speaker"),
        (Dialogue("d", ()), DataError, "must be one Turn or more"),
        (Dialogue("d", [("a", "b")], language="en"), DataError, "must be one Turn or more"),
    ],
)
def test_to_dialogue_says_what_is_no_dialogue(value, kind, message):
    with pytest.raises(kind, match=message):
        to_dialogue(value, "dialogue")


def test_to_dialogue_refuses_a_text_of_several_dialogues():
    line = '{"id": "%d", "turns": [{"speaker": "A", "text": "Hi."}]}'
    with pytest.raises(DataError, match="the text holds 2 dialogues"):
        to_dialogue("\n".join(line % number for number in range(2)), "dialogue")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"role": "user"}, 'did you mean "roles"'),
        ({"roles": 3}, r"roles is 3, not str \| Sequence\[str\] \| None"),
        ({"roles": "nobody"}, 'unknown role "nobody"'),
        ({"max_new_tokens": "8", "beams": 2.5}, "max_new_tokens is '8', not int(.|\n)*beams is 2.5, not int"),
        ({"max_new_tokens": 0}, "out of its range"),
        ({"samples": 0}, "at least 1"),
        ({"samples": 3}, "need a temperature"),
        ({"choose": "best"}, 'unknown choice "best"'),
        ({"language": "fr"}, 'no instructions in the language "fr"'),
        ({"sections": "none"}, "no sections at none"),
        ({"verify": "flag"}, "trained to verify statements"),
        ({"long_dialogues": "cut"}, 'unknown strategy "cut"'),
        ({"speakers": ["Anna"]}, "speakers is"),
        ({"speakers": {"Anna": "user"}}, "no turn is spoken by Anna"),
    ],
)
def test_a_wrong_argument_of_a_call_is_a_usage_error(arguments, message):
    with pytest.raises(UsageError, match=message):
        Summarizer(engine=EchoEngine())(TEXT, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"adapter": 3}, "adapter is 3"),
        ({"modle": "x"}, 'did you mean "model"'),
        ({"engine": "vlm"}, 'did you mean "vllm"'),
        ({"adapter": "nowhere"}, "no adapter here"),
        ({"url": "http://localhost:1/v1", "gguf": "x"}, "--gguf is not for the engine openai"),
        ({"model": "smollm2-135m", "verify": "flag"}, "trained to verify statements"),
    ],
)
def test_a_wrong_argument_of_from_pretrained_is_an_error_before_loading(arguments, message):
    with pytest.raises(RolesumError, match=message):
        Summarizer.from_pretrained(**arguments)
