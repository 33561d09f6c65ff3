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
    ("many announced addresses", lambda n: [Turn("A", "my address is 1 Ann Bo Cy, " * n)], 500),
    ("one word in capitals many times", lambda n: [Turn("A", "address is " + "Ann " * n)], 4_000),
    ("many deliveries", lambda n: [Turn("A", "送到" * n + "路8号" * n)], 2_000),
    ("many plates", lambda n: [Turn("A", "plate is " * n + "京A" * n)], 2_000),
    ("many IBANs", lambda n: [Turn("A", "IBAN is GB12" * n + " GB12 ABCD" * n)], 1_000),
    ("many addresses in a label", lambda n: [Turn(" ".join(["a@b.co"] * n), "hello")], 2_000),
]


def test_names_of_people_are_found_in_time_linear_in_the_length():
    def make(count):
        texts = ("my brother called Dr. Ann Bo, " * 5, "他叫王小明先生" * 5)
        return Dialogue("x", tuple(Turn("A", text) for text in texts * count))

    assert_linear(lambda dialogue: redact(dialogue, people=True), make, 150)


@pytest.mark.parametrize(("make", "size"), [one[1:] for one in DIALOGUES], ids=[one[0] for one in DIALOGUES])
def test_a_dialogue_is_redacted_in_time_linear_in_its_length(make, size):
    assert_linear(redact, lambda count: Dialogue("x", tuple(make(count))), size)
