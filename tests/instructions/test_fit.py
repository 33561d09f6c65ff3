import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolesum.dialogue import Dialogue, Turn
from rolesum.instructions.fit import drop_middle


def of(count):
    return Dialogue("1", tuple(Turn("Anna", str(number)) for number in range(count)))


def at_most(limit):
    return lambda dialogue: len(dialogue.turns) <= limit


def numbers(dialogue):
    return [int(turn.text) for turn in dialogue.turns]


@pytest.mark.parametrize(
    ("turns", "limit", "kept"),
    [
        (6, 5, [0, 1, 2, 4, 5]),
        (6, 4, [0, 1, 4, 5]),
        (7, 3, [0, 1, 6]),
        (7, 2, [0, 6]),
        (3, 2, [0, 2]),
    ],
)
def test_turns_are_dropped_from_the_middle_and_counted(turns, limit, kept):
    shorter, dropped = drop_middle(of(turns), at_most(limit))
    assert numbers(shorter) == kept
    assert dropped == turns - len(kept)


@pytest.mark.parametrize("turns", [2, 3, 8])
def test_a_dialogue_that_fits_loses_nothing(turns):
    assert drop_middle(of(turns), at_most(turns)) == (of(turns), 0)


@pytest.mark.parametrize(("turns", "limit"), [(5, 1), (2, 1), (1, 0)])
def test_where_not_even_the_first_and_the_last_turn_fit_there_is_no_shorter_dialogue(turns, limit):
    assert drop_middle(of(turns), at_most(limit)) is None


def test_the_rest_of_the_dialogue_is_kept():
    dialogue = Dialogue("9", of(4).turns, roles={"Anna": "user"}, summaries={"user": ("A.",)}, source="chats.jsonl:1")
    shorter, _ = drop_middle(dialogue, at_most(2))
    assert (shorter.id, shorter.roles, shorter.summaries, shorter.source) == (
        *("9", dialogue.roles, dialogue.summaries, dialogue.source),
    )


@settings(deadline=None, derandomize=True, database=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=30), st.integers(1, 120))
def test_as_few_turns_are_dropped_as_it_takes(lengths, budget):
    dialogue = Dialogue("1", tuple(Turn(str(place), "x" * length) for place, length in enumerate(lengths)))

    def fits(shorter):
        return sum(len(turn.text) for turn in shorter.turns) <= budget

    def without(dropped):
        kept = len(lengths) - dropped
        first = kept - kept // 2  # the odd turn stands in front
        return dialogue.with_turns([*dialogue.turns[:first], *dialogue.turns[first + dropped :]])

    fitting = [(without(dropped), dropped) for dropped in range(len(lengths) - 1) if fits(without(dropped))]
    assert drop_middle(dialogue, fits) == (fitting[0] if fitting else None)
