"""What is masked in one turn must not be readable in another: random dialogues, read back by rules of their own."""

import re
import unicodedata

import pytest

from helpers.private_dialogues import HAN, WORDS, private_dialogue
from rolesum.dialogue import Dialogue, Pair, Statement, Turn
from rolesum.redaction import redact

DIALOGUES = 3000
PLACEHOLDER = re.compile(r"\[[A-Z]+_\d+\]")
NUMBER_WORD = {word: str(digit) for words in WORDS.values() for digit, word in enumerate(words)}


def plain(text):
    """The text in small letters and compatible characters, with § for placeholders."""
    return unicodedata.normalize("NFKC", PLACEHOLDER.sub("§", text)).lower()


def all_digits(text):
    """The digits of a text, and those that are spelled out, with nothing between them; § where something is masked."""
    text = re.sub(r"[^\W\d_]+", lambda word: NUMBER_WORD.get(word[0], word[0]), plain(text))
    text = text.translate({ord(han): str(digit) for digit, han in enumerate(HAN)} | {ord("幺"): "1"})
    return "".join(letter for letter in text if letter.isdecimal() or letter == "§")


def letters(text):
    return "".join(letter for letter in plain(text) if letter.isalnum() or letter == "§")


def readable(planted, masked):
    """The planted values that the masked dialogue still says, in a turn or in turns that follow each other."""
    turns = masked.turns
    texts = [turn.text for turn in turns] + [text for several in masked.summaries.values() for text in several]
    texts += masked.speakers()
    by_speaker = [" ".join(turn.text for turn in turns if turn.speaker == label) for label in masked.speakers()]
    joined = [*texts, *by_speaker, " ".join(turn.text for turn in turns)]
    in_digits, in_letters = " ".join(map(all_digits, joined)), " ".join(map(letters, joined))
    alone, written = [all_digits(text) for text in texts], "\n".join(map(plain, texts))
    found = []
    for number in planted.digits:
        if len(number) >= 7:
            found += [number] if number in in_digits else []
        else:
            spelled = r"[ .,-]*".join(number)
            found += [number] if number in alone or re.search(rf"(?<![\w.,:]){spelled}(?![\w:])", written) else []
    for words in planted.words:
        bounds = "" if re.search(r"[\u3400-\u9fff]", words) else r"\b"
        long = len(letters(words)) >= 8
        is_said = (
            letters(words) in in_letters if long else re.search(bounds + re.escape(plain(words)) + bounds, written)
        )
        found += [words] if is_said else []
    return found


def test_no_masked_value_is_readable_anywhere_in_random_dialogues_and_the_rest_stays():
    leaks, lost, counts = [], [], 0
    for seed in range(DIALOGUES):
        planted = private_dialogue(seed)
        seen = redact(planted.dialogue)
        leaks += [(seed, leak) for leak in readable(planted, seen.dialogue)]
        texts = [turn.text for turn in seen.dialogue.turns]
        lost += [(seed, text, texts) for text in planted.public if text not in texts]
        counts += len(planted.digits) + len(planted.words)
        assert seen.restored_dialogue() == planted.dialogue
    assert counts > 2 * DIALOGUES
    assert not leaks, f"{len(leaks)} leaks, the first: {leaks[:8]}"
    assert not lost, f"{len(lost)} texts masked that are not private, the first: {lost[:8]}"


AGAIN = [
    *(
        "2125550123",
        "2 1 2 5 5 5 0 1 2 3",
        "+1 (212) 555.0123",
        "0012125550123",
        "(212)5550123",
        "２１２５５５０１２３",
    ),
    *(
        "two one two five five five zero one two three",
        "二一二五五五零一二三",
        "212 triple 5 0123",
        "call2125550123now",
    ),
    *(
        "212–555–0123",
        "212\u200b5550123",
        "2, 1, 2, 5, 5, 5, 0, 1, 2, 3",
        "https://x.example/?p=2125550123",
        "212*555*0123",
    ),
    *("dos uno dos cinco cinco cinco cero uno dos tres", "area code 212, then 555 and 0123", "555-0123", "2️⃣125550123"),
]


@pytest.mark.parametrize("again", AGAIN)
def test_a_number_said_again_in_another_form_has_the_placeholder_of_the_first(again):
    seen = redact(chat("My number is 212-555-0123.", again))
    assert seen.values == {"[PHONE_1]": "212-555-0123"}
    text = seen.dialogue.turns[1].text
    assert "[PHONE_1]" in text and not re.search(r"\d|five|五|cinco", text.replace("[PHONE_1]", ""))
    assert seen.restore("[PHONE_1]").text == "212-555-0123"


def test_a_value_may_be_said_again_before_it_is_found_and_in_parts_with_turns_between():
    seen = redact(chat("4155", "Yes?", "551234", "Sorry?", "My number is 4155551234.", "Noted: 415 555 1234"))
    assert seen.values == {"[PHONE_1]": "4155551234"}
    assert [turn.text for turn in seen.dialogue.turns[:3]] == ["[PHONE_1]", "Yes?", "[PHONE_1]"]


def test_the_end_of_a_number_is_not_taken_for_the_begin_of_the_same_one_in_the_next_turn():
    seen = redact(chat("You can call me on +45 34 41 23 45.", "3 4 4 1 2 3 4 5"))
    assert [turn.text for turn in seen.dialogue.turns] == ["You can call me on [PHONE_1].", "[PHONE_1]"]


def test_two_values_have_two_placeholders_and_a_longer_number_is_another():
    texts = ("My account is 12345678.", "And 123456789?", "No, my account is 12345679.", "12345678, 12345679")
    seen = redact(chat(*texts))
    assert [turn.text for turn in seen.dialogue.turns] == [
        *("My account is [ACCOUNT_1].", "And 123456789?", "No, my account is [ACCOUNT_2].", "[ACCOUNT_1], [ACCOUNT_2]"),
    ]


def test_one_number_that_is_found_as_two_kinds_has_one_placeholder():
    seen = redact(chat("My cell is 2125550123.", "And the order number?", "It is 2125550123.", "Phone +1 212 555 0123"))
    assert len(seen.values) == 1


def test_values_are_looked_for_in_the_meta_and_masked_there():
    meta = {"phone_number": "4155551234", "title": "Call about 415-555-1234", "calls": ["+14155551234", 5]}
    seen = redact(Dialogue("1", (Turn("Customer", "it is 415 555 1234"),), meta=meta))
    assert seen.values == {"[PHONE_1]": "415 555 1234"}
    assert seen.dialogue.turns[0].text == "it is [PHONE_1]"
    assert seen.dialogue.meta == {
        "phone_number": "[PHONE_1]",
        "title": "Call about [PHONE_1]",
        "calls": ["[PHONE_1]", 5],
    }


def test_names_are_masked_in_small_letters_and_spelled_and_words_that_are_names_too_stay():
    seen = redact(chat("Hi Tom!", "hi anna", "A-N-N-A", "Annabel", "I will, ROSE", speakers=("Anna", "Rose Will")))
    assert [turn.text for turn in seen.dialogue.turns] == [
        *("Hi Tom!", "hi [NAME_1]", "[NAME_1]", "Annabel", "I will, [NAME_2]"),
    ]


def chat(*texts, speakers=("Customer", "Agent")):
    return Dialogue("1", tuple(Turn(speakers[number % 2], text) for number, text in enumerate(texts)))


def test_both_texts_of_a_pair_are_masked():
    said = Pair("user", "Anna gave anna.berg@example.com.", "Tom gave anna.berg@example.com.")
    masked = redact(Dialogue("1", (Turn("Anna", "write to anna.berg@example.com"),), pairs=(said,))).dialogue
    (pair,) = masked.pairs
    assert "[EMAIL_1]" in pair.chosen and "[EMAIL_1]" in pair.rejected and "anna.berg" not in pair.chosen


def test_statements_are_masked_as_the_turns_are_and_times_stay():
    turns = (Turn("Anna", "write to anna.berg@example.com", "10:30"), Turn("Tom", "done"))
    said = Statement("Anna gave anna.berg@example.com.", "user", True, (0,))
    masked = redact(Dialogue("1", turns, statements=(said,))).dialogue
    assert "[EMAIL_1]" in masked.statements[0].text and "anna.berg" not in masked.statements[0].text
    assert (masked.statements[0].turns, masked.turns[0].time) == ((0,), "10:30")
