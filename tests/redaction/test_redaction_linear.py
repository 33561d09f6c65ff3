"""Dialogues that took time by the square of their length to redact."""

import pytest

from helpers.linear_time import assert_linear
from rolesum.dialogue import Dialogue, Turn
from rolesum.redaction import redact

DIALOGUES = [
    ("digits one by one", lambda n: [Turn("A", "1 " * n)], 10_000),
    ("one address many times", lambda n: [Turn("A", "a@b.co " * n)], 2_000),
    ("many addresses", lambda n: [Turn("A", " ".join(f"a{place}@b.co" for place in range(n)))], 2_000),
    ("many speakers", lambda n: [Turn(f"Anna{place}x", f"hello Anna{place}x") for place in range(n)], 600),
    (
        "many names with one first word",
        lambda n: [Turn(f"Ann-M{place}x", f"Ann-M{place}x!") for place in range(n)],
        600,
    ),
    ("many addresses in a label", lambda n: [Turn(" ".join(["a@b.co"] * n), "hello")], 2_000),
]


@pytest.mark.parametrize(("make", "size"), [one[1:] for one in DIALOGUES], ids=[one[0] for one in DIALOGUES])
def test_a_dialogue_is_redacted_in_time_linear_in_its_length(make, size):
    assert_linear(redact, lambda count: Dialogue("x", tuple(make(count))), size)
