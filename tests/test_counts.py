"""Numbers with their nouns."""

from rolesum.counts import counted


def test_one_thing_has_the_singular_and_all_other_numbers_the_plural():
    said = [counted(number, "dialogue") for number in (0, 1, 2, 1234)]
    assert said == ["0 dialogues", "1 dialogue", "2 dialogues", "1,234 dialogues"]


def test_a_plural_that_is_no_s_is_given():
    assert [counted(number, "batch", "batches") for number in (1, 3)] == ["1 batch", "3 batches"]
