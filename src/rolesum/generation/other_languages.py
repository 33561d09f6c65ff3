"""Tells dialogues that are neither in English nor in Chinese, the languages that models are asked in.

Such a dialogue is asked about in English or Chinese, and what is written for it may be in that language, in its own, or
wrong.
"""

import re
from functools import cache
from typing import TYPE_CHECKING

from rolesum.dialogue import HAN_SHARE, Dialogue

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# With fewer letters, the identifier takes "ok" for Serbian.
LEAST_LETTERS = 20
# The first characters of a dialogue tell its language.
READ_CHARACTERS = 2000
LEAST_CONFIDENCE = 0.8
# Words that few other languages have, and their least share in a text that is taken for English without a model, which
# takes a second to load. In the English dialogues of rolesum, SAMSum and TweetSumm it is about a fifth.
_ENGLISH = frozenset(
    ("the", "and", "you", "to", "of", "it", "my", "is", "that", "for", "have", "your", "be", "this", "we")
)
_ENGLISH_SHARE = 0.1
_KANA_OR_HANGUL = re.compile("[\u3040-\u30ff\uac00-\ud7af]")
_HAN = re.compile("[\u4e00-\u9fff]")


def other_language(dialogue: Dialogue) -> str | None:
    """The English name of a dialogue's language; None for English, for Chinese, and where it cannot be told.

    Example:
        >>> other_language(Dialogue("1", (Turn("Kunde", "Guten Tag, mein Paket ist nicht angekommen."),)))
        'German'
    """
    text = " ".join(turn.text for turn in dialogue.turns)[:READ_CHARACTERS]
    letters = sum(character.isalpha() for character in text)
    if letters < LEAST_LETTERS or _is_chinese(text, letters) or _is_english(text):
        return None
    code, confidence = _identifier().classify(text)
    return None if code in ("en", "zh") or confidence < LEAST_CONFIDENCE else _name(code)


def _is_chinese(text: str, letters: int) -> bool:
    return len(_HAN.findall(text)) >= HAN_SHARE * letters and not _KANA_OR_HANGUL.search(text)


def _is_english(text: str) -> bool:
    words = re.findall(r"[^\W\d_]+", text.lower())
    return sum(word in _ENGLISH for word in words) >= _ENGLISH_SHARE * len(words)


def _name(code: str) -> str:
    from babel import Locale, UnknownLocaleError  # here, as below: most dialogues need neither

    try:
        return Locale(code).get_language_name("en") or code
    except (UnknownLocaleError, ValueError):
        return code


@cache
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
