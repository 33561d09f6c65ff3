import pytest

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem, UsageError
from rolesum.formats.speakers import apply_speaker_rule, parse_speaker_rule


def dialogue(*turns):
    return Dialogue("1", tuple(Turn(*turn) for turn in turns), meta={"start": "10:02"}, source="a.srt")


def named(rule, *turns):
    found = apply_speaker_rule(dialogue(*turns), parse_speaker_rule(rule))
    return [(turn.speaker, turn.text) for turn in found.turns]


def test_a_dialogue_whose_speakers_are_known_is_left_as_it_is():
    known = dialogue(("Anna", "Hi"), ("Anna", "again"))
    assert apply_speaker_rule(known, parse_speaker_rule("name=Tom")) is known


def test_unknown_speakers_are_refused_with_the_remedies_and_those_who_are_known():
    found = apply_speaker_rule(dialogue(("Anna", "Hi"), ("", "hm")), parse_speaker_rule("refuse"))
    assert isinstance(found, Problem)
    assert found.where == "a.srt, id 1"
    assert "1 of 2 turns without a speaker (named: Anna)" in found.what
    for remedy in ("name=", "alternate=", "continue"):
        assert remedy in found.fix


def test_one_label_for_all_unknown_ones():
    turns = [("", "a"), ("", "b"), ("Tom", "c"), ("", "d")]
    assert named("name=Smith, Anna", *turns) == [("Smith, Anna", "a b"), ("Tom", "c"), ("Smith, Anna", "d")]


def test_unknown_ones_alternate():
    assert named("alternate=A,B", ("", "1"), ("", "2"), ("", "3")) == [("A", "1"), ("B", "2"), ("A", "3")]


def test_unknown_ones_go_on_with_the_speaker_before():
    assert named("continue", ("Tom", "a"), ("", "b"), ("Tom", "c"), ("Tom", "d")) == [("Tom", "a b c"), ("Tom", "d")]


def test_nobody_can_go_on_before_the_first_speaker():
    assert isinstance(apply_speaker_rule(dialogue(("", "a"), ("Tom", "b")), parse_speaker_rule("continue")), Problem)


def test_the_rule_is_kept_in_the_meta_and_its_labels_give_roles():
    found = apply_speaker_rule(dialogue(("", "a"), ("", "b")), parse_speaker_rule("alternate=Customer,Agent"))
    assert found.roles == {"Customer": "user", "Agent": "agent"}
    assert found.meta == {"start": "10:02", "speakers": "2 turns named by the rule alternate=Customer,Agent"}


@pytest.mark.parametrize(
    "rule", ["", "guess", "name", "name=", "alternate=A", "alternate=A,A", "continue=Tom", "refuse=1"]
)
def test_what_is_no_rule_is_a_usage_error_with_the_rules(rule):
    with pytest.raises(UsageError, match="write refuse, name=LABEL"):
        parse_speaker_rule(rule)
