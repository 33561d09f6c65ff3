"""Turns that took time by the square of their length to cut."""

import pytest

from helpers.linear_time import assert_linear
from rolesum.dialogue import Dialogue, Turn
from rolesum.generation.long_dialogues.chunking import split_into_chunks, turn_spans


@pytest.mark.parametrize(
    ("make", "room", "size"),
    [
        (lambda n: (Turn("A", "." * n),), lambda length: length // 2, 10_000),
        (lambda n: (Turn("A", ".!" * n),), lambda length: length // 2, 5_000),
        (lambda n: (Turn("A", "a" * 10),) * n, lambda _: 2000, 5_000),
    ],
    ids=["dots", "dots and marks", "turns"],
)
def test_a_dialogue_is_cut_in_time_linear_in_its_length(make, room, size):
    """`room` is what a chunk holds: marks were slow in a large one, turns in many small ones."""

    def cut(turns):
        most = room(sum(len(turn.text) for turn in turns))
        return split_into_chunks(
            turn_spans(Dialogue("x", turns)), lambda pieces: sum(len(one.turn.text) for one in pieces) < most
        )

    assert_linear(cut, make, size)
