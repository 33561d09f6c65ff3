"""Doubtful statements are replaced by what the dialogue says, word for word."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesum.checks.statements import split_statements
from rolesum.dialogue import Dialogue, RoleSummary, SummaryStatement, Turn
from rolesum.generation.excerpts import excerpt
from rolesum.generation.key_turns import TurnReading
from rolesum.generation.quoting import quote_doubtful
from rolesum.redaction import redact, restore_summaries

DELIVERY = Dialogue(
    "c",
    (
        Turn("Customer", "My lamp is broken. I want the 40 dollars back.", "09:03"),
        Turn("Jana", "I can send a new lamp on Tuesday.", "09:04"),
        Turn("Customer", "Tuesday is fine. And the 40 dollars?", "09:05"),
        Turn("Jana", "Those I can't refund, as the lamp is replaced.", "09:06"),
    ),
    language="en",
    roles={"Customer": "user", "Jana": "agent"},
)


def summary(text, *doubtful, role="overall", language="en"):
    """A summary in which the statements at the places `doubtful` have a support of 0.1, and the others of 0.9."""
    statements = [
        SummaryStatement(one.start, one.end, one.text, 0.1 if place in doubtful else 0.9)
        for place, one in enumerate(split_statements(text, language))
    ]
    return RoleSummary("c", role, text, 9, "stop", statements=tuple(statements), support_threshold=0.5)


def quoted(before, dialogue=DELIVERY, readings=None):
    after = quote_doubtful(before, dialogue, readings)
    labels = [f"{turn.speaker}{mark}" for turn in dialogue.turns for mark in (": ", "：")]
    for one in after.quotes:
        words = after.text[one.start : one.end]
        words = next((words.removeprefix(label) for label in labels if words.startswith(label)), words)
        assert (words[0], words[-1]) == ("“", "”")
        said = " ".join(dialogue.turns[one.turn].text.split())
        assert words[1:-1].removeprefix("… ").removesuffix(" …") in said
    for one in after.statements:
        assert not after.is_doubtful(one) and 0 <= one.start < one.end <= len(after.text)
    return after


def test_the_key_turn_stands_where_a_doubtful_sentence_stood():
    after = quoted(summary("A lamp broke. Jana refunded the 40 dollars. A new lamp comes.", 1))
    assert after.text == ("A lamp broke. Customer: “My lamp is broken. I want the 40 dollars back.” A new lamp comes.")
    assert [(one.text, one.start, one.end) for one in after.dropped] == [("Jana refunded the 40 dollars.", 13, 13)]
    assert [(one.turn, one.time) for one in after.quotes] == [(0, "09:03")]


def test_a_side_is_quoted_with_its_own_turns():
    user = quoted(summary("The customer asked for a lamp. The customer took 40 dollars.", 0, 1, role="user"))
    assert user.text == "Customer: “My lamp is broken. I want the 40 dollars back.”"
    agent = quoted(summary("Jana is kind. Jana refunded the 40 dollars.", 1, role="agent"))
    assert agent.text == "Jana is kind. Jana: “Those I can't refund, as the lamp is replaced.”"


def test_where_no_sentence_stays_the_users_matter_stands_before_the_agents_answer():
    after = quoted(summary("Jana refunded the 40 dollars.", 0, role="agent"))
    assert after.text == (
        "Customer: “My lamp is broken. I want the 40 dollars back.” "
        "Jana: “Those I can't refund, as the lamp is replaced.”"
    )


def test_a_dialogue_that_does_not_say_who_plays_the_role_is_quoted_as_a_whole():
    nobody = Dialogue("c", DELIVERY.turns, language="en")
    after = quoted(summary("A lamp broke. Jana took it back. Jana paid. She wept.", *range(4), role="agent"), nobody)
    assert after.text == (
        "Customer: “Tuesday is fine. And the 40 dollars?” Jana: “Those I can't refund, as the lamp is replaced.”"
    )


def test_a_sentence_goes_as_a_whole():
    after = quoted(summary("A lamp broke. Jana sends a new lamp on Tuesday, and refunded the 40 dollars.", 2))
    assert after.text.startswith("A lamp broke. ") and len(after.dropped) == 2 and len(after.quotes) == 2


def test_a_sentence_with_a_pronoun_goes_with_the_one_that_it_needs():
    text = "Jana paid 40 dollars. She sent a lamp, too. A customer thanked."
    before = summary(text, 0)
    assert before.statements[1].text.startswith("Jana paid 40 dollars.")
    after = quoted(before)
    assert len(after.dropped) == 2 and after.text.endswith(" A customer thanked.")


@pytest.mark.parametrize(
    ("turns", "stay", "doubtful", "number"), [(3, 0, 9, 1), (9, 0, 9, 4), (40, 0, 1, 5), (40, 3, 2, 2)]
)
def test_at_most_half_of_the_turns_are_quoted_and_as_many_as_statements_went_where_some_stay(
    turns, stay, doubtful, number
):
    said = tuple(Turn("A", f"Matter number{n} concerns item{n} of shelf{n}.") for n in range(turns))
    text = " ".join(f"Matter number{n} concerned item{n}." for n in range(stay + doubtful))
    after = quoted(summary(text, *range(stay, stay + doubtful)), Dialogue("c", said, language="en"))
    assert len(after.quotes) == number and len(after.dropped) == doubtful
    assert after.text.count("A: ") == 1  # a speaker is named once


def test_the_users_matter_comes_beside_five_others_and_its_length_counts_once():
    greeting = Turn("Tom", "Hello.")
    said = (Turn("Ann", "My parcel is late."), *(Turn("Tom", f"Item{n} comes from shelf{n}.") for n in range(12)))
    roles = {"Ann": "user", "Tom": "agent"}
    after = quoted(summary("A parcel came.", 0), Dialogue("c", (greeting, *said), roles=roles, language="en"))
    assert len(after.quotes) == 6 and after.quotes[0].turn == 1
    said = tuple(Turn("Ann", f"Matter{n} {'concerns the same item ' * 6}here.") for n in range(8))
    after = quoted(summary("A parcel came.", 0), Dialogue("c", said, roles={"Ann": "user"}, language="en"))
    assert after.quotes[0].turn == 0 and len(after.quotes) == 3


def test_long_turns_are_fewer():
    said = tuple(Turn("A", f"Matter number{n} {'concerns the very same item ' * 7}here.") for n in range(40))
    after = quoted(summary("Matter number0 concerned item0.", 0), Dialogue("c", said, language="en"))
    assert len(after.quotes) == 2 and len(after.text) < 500


def chat(*texts):
    """A dialogue in which Ann, the user's side, and Tom speak in turn."""
    turns = tuple(Turn(("Ann", "Tom")[place % 2], text) for place, text in enumerate(texts))
    return Dialogue("c", turns, roles={"Ann": "user", "Tom": "agent"}, language="en")


def turns_read(number, key, superseded=None):
    """Readings of so many turns: what is wanted is the first, and the turns `key` end a matter with these values."""
    taken = superseded or {}
    return [TurnReading(0.9 * (place == 0), key.get(place, 0.0), taken.get(place, 0.0)) for place in range(number)]


SENTENCE = "The depot says that it is on the way and that nobody knows more."


def test_turns_that_the_model_reads_as_ends_are_as_many_as_a_long_dialogue_needs():
    dialogue = chat(*(f"Number {n}: {SENTENCE}" for n in range(30)))
    ends = dict.fromkeys(range(1, 30, 3), 0.9)
    after = quoted(summary("A parcel came.", 0), dialogue, turns_read(30, ends))
    assert [one.turn for one in after.quotes] == [0, *range(1, 28, 3)]  # 28 has no room: a third of the dialogue
    few = quoted(summary("A parcel came.", 0), dialogue, turns_read(30, {4: 0.9, 7: 0.25}, {7: 0.1}))
    assert [one.turn for one in few.quotes] == [0, 4]  # 7 is less probable, and may have been taken back
    lasting = quoted(summary("A parcel came.", 0), dialogue, turns_read(30, {4: 0.9, 7: 0.25}))
    assert [one.turn for one in lasting.quotes] == [0, 4, 7]


def test_a_short_answer_is_quoted_with_its_question_unless_that_was_taken_back():
    dialogue = chat(
        SENTENCE, SENTENCE, f"Could you pay half of it? {SENTENCE}", "Aye.", SENTENCE, SENTENCE, SENTENCE, SENTENCE
    )
    ends = {3: 0.9, 5: 0.8}
    after = quoted(summary("Tom paid.", 0, role="agent"), dialogue, turns_read(8, ends))
    assert [one.turn for one in after.quotes] == [0, 2, 3, 5]
    assert "nobody knows more.” Tom: “Aye.”" in after.text
    after = quoted(summary("Tom paid.", 0, role="agent"), dialogue, turns_read(8, ends, {2: 0.5}))
    assert [one.turn for one in after.quotes] == [0, 3, 5]
    same = Dialogue("c", tuple(replace(turn, speaker="Tom") for turn in dialogue.turns), language="en")
    after = quoted(summary("Tom paid.", 0), same, turns_read(8, ends))
    assert [one.turn for one in after.quotes] == [0, 3, 5]  # nobody answers himself


def test_an_answer_of_a_sentence_is_quoted_with_the_question_that_it_answers():
    answer = "Normally yes. Given the reason I'll waive it."
    rest = (SENTENCE,) * 4
    asked = chat(SENTENCE, SENTENCE, f"{SENTENCE} Do I have to pay that?", answer, *rest)
    after = quoted(summary("Tom paid.", 0, role="agent"), asked, turns_read(8, {3: 0.9}))
    assert [one.turn for one in after.quotes] == [0, 2, 3]
    told = chat(SENTENCE, SENTENCE, f"Do I have to pay that? {SENTENCE}", answer, *rest)
    after = quoted(summary("Tom paid.", 0, role="agent"), told, turns_read(8, {3: 0.9}))
    assert [one.turn for one in after.quotes] == [0, 3]  # what comes before does not end with a question
    long = chat(SENTENCE, SENTENCE, "Do I have to pay?", f"{answer} {SENTENCE}", *rest)
    after = quoted(summary("Tom paid.", 0, role="agent"), long, turns_read(8, {3: 0.9}))
    assert [one.turn for one in after.quotes] == [0, 3]  # it can stand alone


def test_without_a_doubtful_statement_or_a_turn_to_quote_the_summary_stays():
    fine = summary("Jana sends a lamp.")
    assert quote_doubtful(fine, DELIVERY) == fine
    wordless = Dialogue("c", (Turn("Anna", "…"), Turn("Tom", "!!")), language="en")
    false = summary("Anna paid.", 0)
    assert quote_doubtful(false, wordless) == false and false.doubtful


def test_chinese_has_its_own_colon_and_no_spaces():
    turns = (Turn("客户", "灯坏了，我要退四十块。"), Turn("小孟", "只能换新灯，不能退钱。"))
    dialogue = Dialogue("c", turns, language="zh", roles={"客户": "user", "小孟": "agent"})
    after = quoted(summary("客户说灯坏了。小孟换新灯退了钱。", 1, language="zh"), dialogue)
    assert after.text == "客户说灯坏了。小孟：“只能换新灯，不能退钱。”"


LONG = (
    "We spoke of rain. " * 12 + "The parcel went to Leeds. It comes back on Friday. " + "Then we spoke of snow. " * 12
)


def test_of_a_long_turn_the_sentences_are_quoted_that_share_most():
    words = excerpt(LONG, "The parcel comes back from Leeds on Friday.", "en")
    assert "The parcel went to Leeds. It comes back on Friday." in words
    assert words.startswith("… ") and words.endswith(" …") and len(words) <= 205


def test_a_long_sentence_in_the_middle_is_cut_and_what_was_before_it_is_marked():
    words = excerpt(
        f"Rain. Snow. The parcel {'went on and on ' * 40}to Leeds. Hail.", "The parcel went to Leeds.", "en"
    )
    assert words.startswith("… The parcel went") and words.endswith(" …")


def test_a_long_turn_without_sentences_is_cut_at_a_word():
    words = excerpt("and so on " * 60, "so on", "en")
    assert words.endswith(" …") and len(words) <= 202 and words[:-2].split()[-1] in ("and", "so", "on")


def test_a_cut_leaves_no_half_placeholder_and_looks_for_no_space_far_back():
    text = f"喂 {'退' * 73}[PHONE_1]{'退' * 200}"
    assert excerpt(text, "退", "zh") == f"喂 {'退' * 73} …"


@pytest.mark.parametrize("language", ["en", "zh"])
@given(data=st.data())
def test_excerpts_are_words_of_the_turn(language, data):
    alphabet = "ab 。.!? \n“”" if language == "en" else "退款。？！ \n“”，"
    text = data.draw(st.text(alphabet, max_size=700))
    words = excerpt(text, data.draw(st.text(alphabet, max_size=30)), language)
    assert words.removeprefix("… ").removesuffix(" …") in " ".join(text.split())


def test_redacted_values_are_restored_in_quotes():
    dialogue = Dialogue(
        "c",
        (Turn("Customer", "Call me at 555-010-4477 about the lamp."), Turn("Jana", "I will.")),
        language="en",
        roles={"Customer": "user", "Jana": "agent"},
    )
    masked = redact(dialogue)
    after = quote_doubtful(summary("Jana refused to call about the lamp.", 0), masked.dialogue)
    assert "555" not in after.text
    [[restored]], left = restore_summaries([[after]], [masked])
    assert not left and restored.text == "Customer: “Call me at 555-010-4477 about the lamp.”"
    assert [(one.start, one.end, one.turn) for one in restored.quotes] == [(0, len(restored.text), 0)]
