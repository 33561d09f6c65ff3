import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from rolesum.errors import (
    SHOWN_PROBLEMS,
    DataError,
    ModelError,
    Problem,
    ResourceError,
    RolesumError,
    UsageError,
    did_you_mean,
    error_summary,
    quoted,
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


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no such file\nTraceback: …"), "no such file"),
        (ValueError("\n  no GPU  \nmore"), "no GPU"),
        (ValueError("2 problems:\n  no config\n  no weights"), "2 problems: no config"),
        (ValueError(), "ValueError"),
        (KeyError(" \n "), "' \\n '"),
    ],
)
def test_error_summary_is_the_first_line_or_the_type(error, line):
    assert error_summary(error) == line


class Size(BaseModel):
    model_config = ConfigDict(extra="forbid")

    width: int

    @field_validator("width")
    @classmethod
    def _positive(cls, value):
        if value <= 0:
            raise ValueError("must be positive")
        return value


class Box(BaseModel):
    sizes: list[Size]


def problems_of(sizes, *args, **options):
    with pytest.raises(ValidationError) as caught:
        Box.model_validate({"sizes": sizes})
    return [Problem.from_pydantic(detail, *args, **options) for detail in caught.value.errors()]


def test_from_pydantic_in_a_file_names_file_and_key():
    found = problems_of([{"width": "x"}, {}, {"width": 1, "hight": 2}, {"width": 0}], "box.yaml", "see the docs")
    assert found == [
        Problem(
            "sizes.0.width: Input should be a valid integer, unable to parse string as an integer",
            "box.yaml",
            "see the docs",
        ),
        Problem('the key "sizes.1.width" is missing', "box.yaml", "see the docs"),
        Problem('unknown key "sizes.2.hight"', "box.yaml", "see the docs"),
        Problem("sizes.3.width: must be positive", "box.yaml", "see the docs"),
    ]


def test_from_pydantic_without_a_file_takes_the_key_for_the_place():
    found = problems_of([{"width": 0}, {"width": 1, "widht": 2}], fix="see the docs", known=("width", "height"))
    assert found == [
        Problem("must be positive", "sizes.0.width", "see the docs"),
        Problem('unknown key "widht"', "sizes.1.widht", 'did you mean "width"?'),
    ]


def test_from_pydantic_shows_a_long_key_in_part():
    (found,) = problems_of([{"width": 1, "x" * 1000: 2}])
    assert len(found.where) == 300 and len(found.what) < 400 and found.fix == "remove it"


def test_from_pydantic_of_a_whole_value_names_no_key():
    with pytest.raises(ValidationError) as caught:
        Box.model_validate(3)
    (detail,) = caught.value.errors()
    assert Problem.from_pydantic(detail, "box.yaml").what.startswith("Input should be a valid dictionary")


def test_a_quoted_text_is_cut_and_shows_its_control_characters():
    assert (quoted(" short "), quoted("a\x00b"), quoted("abcdef", 3)) == ("'short'", r"'a\x00b'", "'abc'…")
