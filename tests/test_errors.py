import pytest

from rolesum.errors import (
    SHOWN_PROBLEMS,
    DataError,
    ModelError,
    Problem,
    ResourceError,
    RolesumError,
    UsageError,
    did_you_mean,
)


@pytest.mark.parametrize(
    ("kind", "code"), [(RolesumError, 1), (UsageError, 2), (DataError, 3), (ModelError, 4), (ResourceError, 5)]
)
def test_each_kind_of_error_has_its_exit_code_and_is_caught_as_one_of_ours(kind, code):
    with pytest.raises(RolesumError) as caught:
        raise kind("it broke")
    assert caught.value.exit_code == code


def test_an_error_says_where_what_and_the_fix():
    assert str(DataError("no id", "chats.jsonl:3", "add one")) == "chats.jsonl:3: no id\n  → add one"


def test_an_error_without_place_or_fix_is_one_plain_line():
    assert str(DataError("no id")) == "no id"


def test_an_error_keeps_all_of_its_problems_and_shows_each():
    problems = [Problem("no id", f"chats.jsonl:{line}") for line in (3, 9)]
    error = DataError(problems)
    assert error.problems == tuple(problems)
    assert str(error) == "chats.jsonl:3: no id\nchats.jsonl:9: no id"


def test_many_problems_are_shown_in_part_and_the_rest_counted():
    error = DataError([Problem(f"fault {number}") for number in range(SHOWN_PROBLEMS + 3)])
    lines = str(error).splitlines()
    assert lines[SHOWN_PROBLEMS - 1 :] == [f"fault {SHOWN_PROBLEMS - 1}", "… and 3 more problems"]
    assert len(error.problems) == SHOWN_PROBLEMS + 3


def test_exactly_as_many_problems_as_are_shown_leave_nothing_to_count():
    error = DataError([Problem(f"fault {number}") for number in range(SHOWN_PROBLEMS)])
    assert str(error).splitlines()[-1] == f"fault {SHOWN_PROBLEMS - 1}"


def test_a_misspelt_word_gets_the_nearest_known_one():
    assert did_you_mean("epohcs", ["epochs", "seed"]) == 'did you mean "epochs"?'


def test_a_word_near_to_none_gets_all_known_ones_in_order():
    assert did_you_mean("xyz", ["seed", "epochs"]) == "known: epochs, seed"
