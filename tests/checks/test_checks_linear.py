"""Dialogues and summaries that took time by the square of their length to check."""

import pytest

from helpers.linear_time import assert_linear
from rolesum.checks import check_summary
from rolesum.dialogue import Dialogue, Turn

ZH, EN = "用户询问。", "The customer asked on Monday for 5 dollars."

# what it is, the dialogue's language, what the agent says, what the summary adds, a size at which the square tells
CASES = [
    ("Chinese numerals", "zh", lambda n: "一" * n, None, 2_000),
    ("Chinese tens", "zh", lambda n: "十一" * n, None, 1_000),
    ("digits in Chinese", "zh", lambda n: "1" * n, None, 10_000),
    ("Chinese numerals in the summary", "zh", None, lambda n: "一" * n, 2_000),
    ("digits before a letter", "en", lambda n: "1" * n + "a", None, 5_000),
    ("dots in the summary", "en", None, lambda n: "." * n + "a", 5_000),
    ("spaces in the summary", "en", None, lambda n: "a" + " " * n + "a", 5_000),
]


@pytest.mark.parametrize(
    ("language", "says", "adds", "size"), [one[1:] for one in CASES], ids=[one[0] for one in CASES]
)
def test_a_summary_is_checked_in_time_linear_in_it_and_the_dialogue(language, says, adds, size):
    labels = ("用户", "客服") if language == "zh" else ("Customer", "Agent")

    def case(count):
        text = says(count) if says else "ok"
        turns = (Turn(labels[0], "你好" if language == "zh" else "hello there"), Turn(labels[1], text))
        roles = {labels[0]: "user", labels[1]: "agent"}
        dialogue = Dialogue("x", turns, roles=roles, language=language)
        return dialogue, (ZH if language == "zh" else EN) + (adds(count) if adds else "")

    assert_linear(lambda given: check_summary(given[0], "user", given[1]), case, size)
