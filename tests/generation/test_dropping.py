"""Doubtful statements are left out of a summary, and what remains says what it said before."""

import pytest

from rolesum.checks.statements import split_statements
from rolesum.dialogue import RoleSummary, SummaryStatement
from rolesum.generation.dropping import drop_doubtful


def summary(text, language, doubtful):
    """A summary in which the statements at the places `doubtful` have a support of 0.1, and the others of 0.9."""
    statements = [
        SummaryStatement(one.start, one.end, one.text, 0.1 if place in doubtful else 0.9)
        for place, one in enumerate(split_statements(text, language))
    ]
    return RoleSummary("c", "overall", text, 9, "stop", statements=tuple(statements), support_threshold=0.5)


def dropped(text, *doubtful, language="en"):
    before = summary(text, language, doubtful)
    assert len(before.doubtful) == len(doubtful)
    after = drop_doubtful(before, language)
    for one in after.statements:  # each is where it says it is
        own = after.text[one.start : one.end].rstrip(".。!").casefold()
        assert own and own in one.text.casefold()
    assert all(0 <= one.start == one.end <= len(after.text) for one in after.dropped)
    assert {one.text for one in (*after.statements, *after.dropped)} == {one.text for one in before.statements}
    return after


THREE = "Anna ordered a lamp. The lamp broke on Monday.\nTom sends a new one."


@pytest.mark.parametrize(
    ("doubtful", "left"),
    [
        ((0,), "The lamp broke on Monday.\nTom sends a new one."),
        ((1,), "Anna ordered a lamp.\nTom sends a new one."),
        ((2,), "Anna ordered a lamp. The lamp broke on Monday."),
        ((0, 2), "The lamp broke on Monday."),
    ],
)
def test_whole_sentences_go_with_the_space_before_them(doubtful, left):
    after = dropped(THREE, *doubtful)
    assert after.text == left and len(after.dropped) == len(doubtful) and not after.doubtful


def test_what_was_left_out_names_the_place_where_it_stood():
    after = dropped(THREE, 1)
    assert [(one.text, one.start, one.end) for one in after.dropped] == [("The lamp broke on Monday.", 20, 20)]
    assert after.text[:20] == "Anna ordered a lamp."


def test_a_text_of_which_nothing_would_remain_is_kept_and_its_statements_stay_doubtful():
    before = summary(THREE, "en", (0, 1, 2))
    assert drop_doubtful(before, "en") == before and len(before.doubtful) == 3


def test_a_text_without_a_doubtful_statement_is_kept_to_the_letter():
    before = summary(f"  {THREE}\n--\n", "en", ())
    assert drop_doubtful(before, "en") == before


@pytest.mark.parametrize(
    ("text", "doubtful", "left"),
    [
        ("Jana asked the depot, and explained the refund.", (1,), "Jana asked the depot."),
        ("Jana asked the depot, called Tom, and explained the refund.", (1,), "Jana asked the depot, and explained"),
        ("Jana asked the depot, called Tom, and wrote a letter!", (2,), "Jana asked the depot and called Tom!"),
        ("Jana asked the depot, and Tom refused the refund.", (0,), "Tom refused the refund."),
        ("Jana asked the depot; the refund was sent.", (0,), "The refund was sent."),
    ],
)
def test_a_clause_goes_alone_where_the_rest_is_a_sentence(text, doubtful, left):
    after = dropped(text, *doubtful)
    assert after.text.startswith(left) and len(after.dropped) == len(doubtful)


@pytest.mark.parametrize(
    ("text", "doubtful"),
    [
        ("Jana asked the depot, and explained the refund.", (0,)),  # no subject would be left
        ("Tom called, and Anna said no, and wrote a letter.", (1,)),  # Tom would write the letter
        ("Tom called the depot, and he wrote a letter.", (0,)),  # "he" would be nobody
        ("Jana said that the depot is closed and that the refund was sent.", (0,)),
        ("Renee found and reserved a new pump.", (1,)),  # found what?
    ],
)
def test_the_whole_sentence_goes_where_the_rest_would_say_something_else(text, doubtful):
    clauses = len(split_statements(text, "en"))
    assert clauses > 1
    after = dropped(f"The lamp broke. {text}", *(place + 1 for place in doubtful))
    assert after.text == "The lamp broke." and len(after.dropped) == clauses


def test_a_sentence_with_a_pronoun_goes_with_the_sentence_before_it():
    text = "The lamp broke. Tom called Ann. He was angry. She was not. Ben pays."
    assert dropped(text, 1).text == "The lamp broke. Ben pays."
    assert dropped(text, 2).text == "The lamp broke. Tom called Ann. Ben pays."
    assert dropped(text, 0).text == "Tom called Ann. He was angry. She was not. Ben pays."


def test_chinese_clauses_and_sentences_go_too():
    text = "用户反映灯坏了，要求退款。客服表示明天补发新灯。"
    assert [one.text for one in split_statements(text, "zh")][:2] == ["用户反映灯坏了。", "用户要求退款。"]
    assert dropped(text, 1, language="zh").text == "用户反映灯坏了。客服表示明天补发新灯。"
    assert dropped(text, 0, language="zh").text == "客服表示明天补发新灯。"
    assert dropped(text, 2, language="zh").text == "用户反映灯坏了，要求退款。"


def test_a_statement_that_could_not_be_verified_is_not_doubtful():
    one = SummaryStatement(0, 20, "Anna ordered a lamp.", None)
    found = RoleSummary("c", "overall", "Anna ordered a lamp.", 9, "stop", statements=(one,), support_threshold=1.0)
    assert not found.doubtful and drop_doubtful(found, "en") == found
