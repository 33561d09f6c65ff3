from collections import Counter

import pytest

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import UsageError
from rolesum.roles import ALIASES, BUILT_IN, default_roles, resolve_role, role_of_speaker, roles_of_speakers


def played_by(**roles):
    return Dialogue("1", tuple(Turn(label, "hello") for label in roles), roles=roles)


@pytest.mark.parametrize("role", BUILT_IN)
def test_every_alias_resolves_to_its_role_in_any_case_and_with_spaces_around(role):
    for alias in (role, *ALIASES[role]):
        assert resolve_role(f" {alias.upper()} ") == role


def test_no_alias_stands_for_two_roles():
    counts = Counter(alias for aliases in ALIASES.values() for alias in set(aliases))
    assert [alias for alias, count in counts.items() if count > 1] == []


def test_an_unknown_role_is_a_usage_error_with_the_nearest_name():
    with pytest.raises(UsageError, match='unknown role "usr"') as caught:
        resolve_role("usr")
    assert 'did you mean "user"?' in str(caught.value)
    assert "custom_roles" in str(caught.value)


def test_an_unknown_role_is_told_the_custom_roles_too():
    with pytest.raises(UsageError, match='did you mean "interpreter"'):
        resolve_role("interpretor", {"interpreter": ()})


def test_a_custom_role_is_found_by_its_name_and_its_aliases():
    custom = {"interpreter": ("翻译", "Translator")}
    assert resolve_role("Interpreter", custom) == "interpreter"
    assert resolve_role("translator", custom) == "interpreter"
    assert resolve_role("翻译", custom) == "interpreter"


def test_a_custom_alias_wins_over_a_built_in_one():
    assert resolve_role("nurse") == "agent"
    assert resolve_role("nurse", {"carer": ("nurse",)}) == "carer"


@pytest.mark.parametrize(
    ("label", "role"),
    [
        ("Customer", "user"),
        ("客服", "agent"),
        ("客服8106", "agent"),
        ("Agent 2", "agent"),
        ("Front desk", "agent"),
        ("Hannah", None),
        ("10", None),
        ("Summary", None),  # the overall summary is nobody's part in a dialogue
        ("Brief", None),
        ("The tour operator", "agent"),
        ("Tour Operator 2", "agent"),
        ("Customer service", "agent"),
        ("Customer Support #3", "agent"),
        ("Hotel receptionist", "agent"),
        ("Reception", "agent"),
        ("客人", "user"),
        ("the customer", "user"),
        ("Elderly patient", "user"),
        ("Staff member", "agent"),
        ("Team member", None),  # of whichever side
        ("Christopher Guest", None),
        ("Judy Clerk", None),
        ("Patient care team", None),
    ],
)
def test_a_speaker_plays_the_role_that_the_label_names(label, role):
    assert role_of_speaker(label) == role


def test_a_custom_alias_with_a_number_is_not_taken_for_the_alias_without_it():
    custom = {"supervisor": ("Agent 2",)}
    assert role_of_speaker("Agent 2", custom) == "supervisor"
    assert role_of_speaker("Agent 1", custom) == "agent"


def test_labels_that_name_no_role_are_left_out():
    assert roles_of_speakers(["Customer", "Hannah", "客服"]) == {"Customer": "user", "客服": "agent"}


def test_by_default_overall_comes_first_then_user_agent_and_custom_roles_that_are_played():
    assert default_roles(played_by(Ivo="interpreter", Tom="agent", Ann="user", Bea="user")) == (
        *("overall", "user", "agent", "interpreter"),
    )


def test_by_default_a_role_that_nobody_plays_is_not_summarized():
    assert default_roles(played_by(Tom="agent")) == ("overall", "agent")
    assert default_roles(played_by()) == ("overall",)


def test_a_role_that_no_turn_speaks_is_not_summarized_by_default():
    alone = Dialogue("1", (Turn("Customer", "Hello?"),), roles={"Customer": "user", "Agent": "agent"})
    assert default_roles(alone) == ("overall", "user")


def test_brief_is_a_summary_of_the_whole_dialogue_that_is_written_when_asked_for():
    dialogue = played_by(Anna="user", Tom="agent", Eve="brief")
    assert default_roles(dialogue) == ("overall", "user", "agent")
    assert resolve_role("一句话摘要") == "brief"
