"""What is masked in one turn must not be readable in another: random dialogues, read back by rules of their own."""

import re
import unicodedata

from helpers.private_dialogues import HAN, WORDS, private_dialogue
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
