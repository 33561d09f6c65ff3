"""Turns that took time by the square of their length to cut."""

import pytest

from linear import assert_linear
from rolesum.dialogue import Dialogue, Turn
from rolesum.generation.chunks import chunks_of, pieces_of


def cut(turns):
    return chunks_of(pieces_of(Dialogue("x", turns)), lambda pieces: sum(len(one.turn.text) for one in pieces) < 4000)


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda n: (Turn("A", "." * n),), 4_000),
        (lambda n: (Turn("A", ".!" * n),), 2_000),
        (lambda n: (Turn("A", "a" * 10),) * n, 10_000),
    ],
    ids=["dots", "dots and marks", "turns"],
)
def test_a_dialogue_is_cut_in_time_linear_in_its_length(make, size):
    assert_linear(cut, make, size)
