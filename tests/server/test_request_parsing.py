"""From the parts of a request to its dialogues, without a server."""

import json

import pytest

from rolesum.errors import DataError, UsageError
from rolesum.formats import read_dialogues
from rolesum.server.limits import Limits
from rolesum.server.problems import HTTPProblem
from rolesum.server.request_parsing import RequestBody, Upload, parse_dialogues, parse_json
from rolesum.server.schemas import BatchRequest, DialogueIn, InputOptions, ReadRequest, SummaryRequest

LIMITS = Limits()


def parsed(options=None, limit=10, **given):
    return parse_dialogues(options or InputOptions(), LIMITS, aliases={}, max_dialogues=limit, **given)


def test_dialogues_given_by_turns_are_read_as_detection_would_read_them():
    samples = [*read_dialogues("sample:en-test")[:5], *read_dialogues("sample:zh-test")[:5]]
    for dialogue in samples:
        turns = [{"speaker": turn.speaker, "text": turn.text} for turn in dialogue.turns]
        given = DialogueIn.model_validate({"id": dialogue.id, "turns": turns, "roles": dict(dialogue.roles)})
        line = json.dumps({"id": dialogue.id, "turns": turns, "roles": dict(dialogue.roles)})
        detected = parsed(InputOptions(text=line))
        name, (read,) = parsed(dialogues=[given])
        assert name == detected[0] == "rolesum" and read.turns == detected[1][0].turns
        assert (read.id, read.roles, read.language) == (dialogue.id, dialogue.roles, dialogue.language)


def test_options_of_another_format_are_errors_for_dialogues_given_by_turns():
    given = DialogueIn.model_validate({"turns": [{"speaker": "Anna", "text": "hello"}]})
    with pytest.raises(UsageError, match="unknown format"):
        parsed(InputOptions(format="docx"), dialogues=[given])
    with pytest.raises((UsageError, DataError)):
        parsed(InputOptions(columns={"text": "said"}), dialogues=[given])


def test_exactly_one_input_is_allowed():
    given = DialogueIn.model_validate({"turns": [{"speaker": "Anna", "text": "hello"}]})
    for inputs, what in (
        ({}, "no dialogue"),
        ({"options": InputOptions(text="Anna: hello"), "dialogues": [given]}, "several inputs"),
        ({"upload": Upload("a.txt", b"Anna: hello"), "dialogues": [given]}, "several inputs"),
    ):
        with pytest.raises(HTTPProblem, match=what) as error:
            parsed(**inputs)
        assert error.value.status == 422 and error.value.problem.fix


def test_more_dialogues_than_allowed_are_an_error():
    turns = [{"speaker": "Anna", "text": "hello"}]
    given = [DialogueIn.model_validate({"turns": turns}) for _ in range(3)]
    assert [one.id for one in parsed(dialogues=given)[1]] == ["dialogue-1", "dialogue-2", "dialogue-3"]
    for limit, what in ((1, "more than one dialogue"), (2, "more than 2 dialogues")):
        with pytest.raises(HTTPProblem, match=what) as error:
            parsed(dialogues=given, limit=limit)
        assert error.value.status == 413


def test_other_json_is_read_by_the_paths_of_the_request():
    text = '{"log": [{"who": "Customer", "body": "Hi"}, {"who": "Agent", "body": "Yo"}]}'
    options = InputOptions(text=text, json_path={"turns": "log", "speaker": "who", "text": "body"})
    name, (dialogue,) = parsed(options)
    assert name == "json" and [turn.text for turn in dialogue.turns] == ["Hi", "Yo"]


@pytest.mark.parametrize(
    ("model", "body", "fix"),
    [
        (SummaryRequest, {"rols": ["user"]}, 'did you mean "roles"?'),
        (SummaryRequest, {"options": {"beems": 2}}, 'did you mean "beams"?'),
        (
            SummaryRequest,
            {"dialogue": {"turns": [{"spaeker": "A", "speaker": "A", "text": "b"}]}},
            'did you mean "speaker"',
        ),
        (
            BatchRequest,
            {"dialogues": [{"turns": [{"speaker": "A", "text": "b"}], "rolse": {}}]},
            'did you mean "roles"?',
        ),
        (ReadRequest, {"roles": ["user"]}, "known: columns, dialogue, encoding, format"),  # not the key that was sent
    ],
)
def test_unknown_key_gets_the_nearest_known_one(model, body, fix):
    with pytest.raises(UsageError) as error:
        parse_json(json.dumps(body).encode(), model, LIMITS)
    assert error.value.problems[0].fix.startswith(fix)


def test_mappings_of_a_form_are_written_as_on_the_command_line():
    fields = [("text", "Anna: hi"), ("speakers", "Anna=user，Tom = agent"), ("columns", '{"text": "said"}')]
    asked = RequestBody(fields=fields).parse(ReadRequest, LIMITS)
    assert asked.speakers == {"Anna": "user", "Tom": "agent"} and asked.columns == {"text": "said"}


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("speakers", "Anna", '"Anna" is not NAME=VALUE'),
        ("columns", "text=", '"text=" is not NAME=VALUE'),
        ("json_path", "text=body,text=words", '"text" has two values'),
    ],
)
def test_a_mapping_of_a_form_that_says_nothing_is_told_with_its_name_and_an_example(name, text, what):
    with pytest.raises(UsageError) as error:
        RequestBody(fields=[("text", "Anna: hi"), (name, text)]).parse(ReadRequest, LIMITS)
    (problem,) = error.value.problems
    assert (problem.where, problem.what) == (name, what) and problem.fix.startswith(f"write {name} ")


def test_references_and_meta_are_not_kept():
    record = {"id": 1, "turns": [{"speaker": "Anna", "text": "hello"}], "summaries": {"user": "x"}, "meta": {"n": [0]}}
    _, (read,) = parsed(InputOptions(text=json.dumps(record)))
    assert not read.summaries and not read.meta and read.turns[0].text == "hello"
