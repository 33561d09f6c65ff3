"""The Engine protocol, the one list of decoding options, and what engines share."""

from dataclasses import fields

import pytest

from helpers.echo_engine import EchoEngine, dialogue
from rolesum.errors import UsageError
from rolesum.generation import Decoding, Generation
from rolesum.generation.engine import DECODING_OPTIONS, check_decoding
from rolesum.generation.engines.collector import IncrementalDetokenizer, ResultCollector


def test_decoding_options_lists_every_field_with_help_and_default():
    assert [one.name for one in DECODING_OPTIONS] == [one.name for one in fields(Decoding)]
    for one in DECODING_OPTIONS:
        assert one.help.endswith(".") and one.default == getattr(Decoding(), one.name)


def test_decoding_takes_keywords_only():
    with pytest.raises(TypeError):
        Decoding(12)


@pytest.mark.parametrize(
    ("values", "fix"),
    [
        ({"max_new_tokens": 0}, "--max-new-tokens: at least 1"),
        ({"temperature": float("nan")}, "--temperature: 0 to 100"),
        ({"temperature": 0.5, "top_p": 0.0}, "--top-p: over 0, at most 1"),
        ({"beams": 65}, "--beams: 1 to 64"),
        ({"max_new_tokens": 4, "min_new_tokens": 5}, "--min-new-tokens: 0 to 4"),
    ],
)
def test_decoding_refuses_values_out_of_range_with_the_range(values, fix):
    with pytest.raises(UsageError) as caught:
        Decoding(**values)
    assert caught.value.problems[0].fix == fix


@pytest.mark.parametrize(("decoding", "flag"), [({"beams": 2}, "--beams"), ({"min_new_tokens": 2}, "--min-new-tokens")])
def test_check_decoding_refuses_what_an_engine_does_not_support(decoding, flag):
    check_decoding(EchoEngine(), Decoding(temperature=0.7, top_p=0.9))
    with pytest.raises(UsageError, match=f"the engine echo does not support {flag}"):
        check_decoding(EchoEngine(), Decoding(**decoding))


def test_result_collector_orders_texts_by_prompt_and_branch():
    engine, done, told = EchoEngine(), [], []
    prompts = [engine.layout.prompt(dialogue(name), ("user", "agent")) for name in ("a", "b")]
    collector = ResultCollector(prompts, done.append, lambda *one: told.append(one))
    collector.update(1, 1, " hal\ufffd")
    collector.update(1, 1, " half")
    for place, text in (((1, 1), "b agent"), ((0, 0), "a user"), ((1, 0), "b user"), ((0, 1), "a agent")):
        assert not collector.is_complete
        collector.add(*place, Generation(text, 1, "stop"))
    assert collector.is_complete and done == [1, 1] and told == [(1, 1, "half")]
    assert [[one.text for one in texts] for texts in collector.results()] == [
        ["a user", "a agent"],
        ["b user", "b agent"],
    ]


def test_incremental_detokenizer_emits_only_what_is_certain():
    detokenizer = IncrementalDetokenizer()
    assert [detokenizer.update(text) for text in (" Hi", " Hi th\ufffd", "Hi there ", "Ho")] == ["Hi", "", " there", ""]
