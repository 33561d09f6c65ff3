"""Names of people behind titles and words that introduce them, which are masked on request."""

import re

import pytest

from rolesum.dialogue import Dialogue, Turn
from rolesum.redaction import redact

FOUND = [
    *(
        "Ask for Miss Renfro.",
        "My neighbor is called Whitney Soto.",
        "my sister Kia pays",
        "His name is Otto, green van",
    ),
    *(
        "It was Jennifer White who signed",
        "Dr. Osei-Bonsu is on call",
        "a young guy called Lionel",
        "my wife, Maria Aalto",
    ),
    *("我邻居叫李建国。", "李建国先生会来", "请王师傅来", "他名叫欧阳文", "是徐荣签收的。"),
]
ANSWERS = [("Who took the parcel?", "Paula Powell"), ("What's his name?", "Thomas."), ("包裹是谁收的？", "王桂英")]
LEFT = [
    *(
        "It's called Netflix",
        "I called Amazon Support",
        "my brother is here",
        "the doctor said No",
        "Dr. No One? My God",
    ),
    *("谢谢老师", "工程主管来了", "到那边护士站要", "换老师了", "我叫车了", "名字叫什么", "周末先生不在", "高兴先生"),
]


def masked(*texts, people=True):
    speakers = ("Agent", "Customer")
    turns = tuple(Turn(speakers[number % 2], text) for number, text in enumerate(texts))
    return [turn.text for turn in redact(Dialogue("1", turns), people=people).dialogue.turns]


@pytest.mark.parametrize("text", FOUND)
def test_a_name_is_masked_behind_a_title_or_words_that_introduce_it(text):
    assert "[NAME_1]" in masked(text)[0]
    assert masked(text, people=False) == [text]


@pytest.mark.parametrize(("question", "answer"), ANSWERS)
def test_a_name_is_masked_where_it_answers_who(question, answer):
    assert re.fullmatch(r"(\[NAME_\d\] ?)+\.?", masked(question, answer)[1])
    assert masked("Hello.", answer)[1] == answer


@pytest.mark.parametrize("text", LEFT)
def test_companies_and_common_words_are_no_names(text):
    assert masked(text) == [text]


def test_a_name_that_is_introduced_once_is_masked_in_every_turn_its_words_too():
    texts = masked("I spoke to Mrs Edith Pugh.", "Edith? No, Pugh is next door.", "EDITH PUGH!")
    assert not any(re.search("edith|pugh", text, re.I) for text in texts)
    assert texts[0] == "I spoke to Mrs [NAME_1]."


def test_redaction_of_people_does_no_more_the_second_time():
    turns = (Turn("Anna", "my brother Tom Berg, and Dr. Lee"), Turn("Customer", "Tom? 王小明先生"))
    seen = redact(Dialogue("1", turns), people=True)
    assert redact(seen.dialogue, people=True).dialogue == seen.dialogue
    assert seen.restored_dialogue().turns == turns
