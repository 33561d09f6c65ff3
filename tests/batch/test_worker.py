"""Summaries of a shard; a dialogue that cannot be summarized fails alone."""

import json
from dataclasses import replace

import pytest

from helpers.echo_engine import EchoEngine, UnreachableEngine, dialogue
from rolesum.batch import Failure, summarize_shard
from rolesum.errors import DataError, ModelError, Problem, ResourceError
from rolesum.evaluation.predictions import read_system_outputs
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.generation.summary_output import summary_record
from rolesum.roles import DEFAULT_ROLES

GOOD = [dialogue(f"d{number}") for number in range(5)]


def summarize(dialogues, engine=None, **config):
    return summarize_shard(dialogues, Summarizer(SummarizerConfig(**config), engine or EchoEngine()))


def ids(result):
    return [of_dialogue[0].dialogue_id for of_dialogue in result.summaries]


def test_each_dialogue_has_its_roles_in_order_and_all_go_to_the_engine_together():
    engine = EchoEngine()
    result = summarize(GOOD, engine)
    assert ids(result) == ["d0", "d1", "d2", "d3", "d4"]
    assert [one.role for one in result.summaries[3]] == list(DEFAULT_ROLES)
    assert result.summaries[3][1].text == "user of d3: This is d3."
    assert result.failures == ()
    assert engine.calls == [["d0", "d1", "d2", "d3", "d4"]]


def test_a_dialogue_that_does_not_fit_fails_alone_with_its_reason():
    long = replace(dialogue("x", "LONG"), source="in.jsonl:7")
    result = summarize([*GOOD[:2], long, *GOOD[2:]])
    assert result.summaries == summarize(GOOD).summaries
    (failure,) = result.failures
    assert (failure.id, failure.where, failure.reason) == ("x", "in.jsonl:7", "too many tokens")
    assert "split the dialogue" in failure.fix and "--long-dialogues" in failure.fix


def test_a_dialogue_in_which_nobody_plays_an_asked_role_fails_alone():
    stranger = dialogue("x", speakers=("Anna", "Tom"))
    result = summarize([stranger, *GOOD], roles=("user",))
    assert ids(result) == [one.id for one in GOOD]
    assert [(one.id, one.reason) for one in result.failures] == [("x", "no speaker plays user; speakers: Anna, Tom")]


def test_the_faulty_one_is_found_when_the_engine_does_not_say_which_it_was():
    class Mute(EchoEngine):
        def generate(self, prompts, *rest):
            if any(prompt.dialogue.id in ("d1", "d4") for prompt in prompts):
                raise DataError("one of them is no good")
            return super().generate(prompts, *rest)

    result = summarize(GOOD, Mute())
    assert ids(result) == ["d0", "d2", "d3"]
    assert result.failures == tuple(Failure(name, "", "one of them is no good") for name in ("d1", "d4"))


def test_what_is_no_fault_of_a_dialogue_stops_the_shard():
    with pytest.raises(ResourceError, match="does not answer"):
        summarize(GOOD, UnreachableEngine())


def test_what_the_model_must_not_see_is_in_the_summary_all_the_same():
    secret = dialogue("x", "Where do I write to?", "To ann@example.com please.")

    class Nosy(EchoEngine):
        def generate(self, prompts, *rest):
            assert all("@" not in turn.text for prompt in prompts for turn in prompt.dialogue.turns)
            return super().generate(prompts, *rest)

    result = summarize([*GOOD, secret], Nosy(), redact=True)
    assert result.summaries[5][0].text == "overall of x: To ann@example.com please."


def test_a_dialogue_whose_language_the_model_does_not_read_fails_alone():
    class EnglishModel:
        def __init__(self):
            self.metadata = {}

        def check_languages(self, dialogues):
            if unread := [one for one in dialogues if one.language == "zh"]:
                raise ModelError([Problem("it reads no Chinese", unread[0].location, "use another base")])

    class EnglishEcho(EchoEngine):
        text_model = EnglishModel()

    engine = EnglishEcho()
    result = summarize([GOOD[0], dialogue("x", "你好，我的包裹在哪里？"), GOOD[1]], engine)
    assert ids(result) == ["d0", "d1"]
    assert result.failures == (Failure("x", "", "it reads no Chinese", "use another base"),)


def test_a_shard_of_bad_dialogues_only_is_no_error():
    result = summarize([dialogue("x", "LONG"), dialogue("y", "LONG")])
    assert result.summaries == () and [one.id for one in result.failures] == ["x", "y"]


def test_records_are_outputs_that_can_be_scored(tmp_path):
    references = [replace(one, summaries={"overall": ("A reference.",)}) for one in GOOD]
    records = [summary_record(one) for one in summarize(GOOD).summaries]
    (tmp_path / "shard.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    read = read_system_outputs([str(tmp_path / "shard.jsonl")], references, roles=["overall"])
    assert [one.id for one in read] == ["d0", "d1", "d2", "d3", "d4"]
