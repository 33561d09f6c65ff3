"""The lists of a long dialogue's parts as one: what says the same stands once, and what does not stays."""

import pytest

from rolesum.generation import Generation
from rolesum.generation.long_dialogues.merging import merge_lists


def merged(*texts, language="en"):
    lists = [Generation(text, 4, "stop", -0.5, -1.0, 2.0) for text in texts]
    return merge_lists(lists, language).text.split("\n")


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        (["- A", "* B\n• C", "1. D\n2) E\n(3) F"], ["A", "B", "C", "D", "E", "F"]),
        (["Ben books the room.", "ben books the room"], ["Ben books the room."]),
        (["Send the price list.", "Ben sends the price list today."], ["Ben sends the price list today."]),
        (["Ben sends the price list today.", "Send the price list."], ["Ben sends the price list today."]),
        (["Ben pays 1,200 euros.", "Ben pays 2,400 euros."], ["Ben pays 1,200 euros.", "Ben pays 2,400 euros."]),
        (["They will take the stand.", "They will not take the stand."],
         ["They will take the stand.", "They will not take the stand."]),
        (["Ben calls the printer.", "Anna calls the bank."], ["Ben calls the printer.", "Anna calls the bank."]),
        (["The fair is off. Ben tells the team.", "none"], ["The fair is off.", "Ben tells the team."]),
        (["none", "None.", "No decisions were made."], ["none"]),
        (["2.5 kg of paper are ordered"], ["2.5 kg of paper are ordered"]),
        (["- 14 May: the fair opens."], ["14 May: the fair opens."]),
    ],
)  # fmt: skip
def test_english_lists(lists, expected):
    assert merged(*lists) == expected


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        (["1、小王周三发价目表。", "小王周三发价目表"], ["小王周三发价目表。"]),
        (["无", "小李订三张火车票。"], ["小李订三张火车票。"]),
        (["参加展会。", "不参加展会。"], ["参加展会。", "不参加展会。"]),
        (["无", "无。"], ["无"]),
    ],
)
def test_chinese_lists(lists, expected):
    assert merged(*lists, language="zh") == expected


def test_the_statistics_are_those_of_all_lists():
    lists = [Generation("A.", 10, "stop", -0.2, -1.0, 3.0), Generation("B.", 30, "length", -0.6, -4.0, 2.0)]
    one = merge_lists(lists, "en")
    assert (one.tokens, one.finish_reason, one.lowest_logprob, one.seconds) == (40, "length", -4.0, 3.0)
    assert one.mean_logprob == pytest.approx(-0.5)
    assert merge_lists([Generation("A.", 0, "stop")], "en").mean_logprob is None
