"""Find names in English sentences, and decide whether the dialogue contains them."""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher

from rolesum.checks.sentences import Sentence
from rolesum.checks.words import stem

_WORD = re.compile(r"[^\W\d_]+(?:[-&'’.][^\W\d_]+)*")
_CLOSE = 0.75  # of SequenceMatcher: Wokingham and Workingham, Gabi and Gaby

# Written with a capital and no name of somebody: days, months, languages' "I", and how sentences of summaries begin.
_CAPITALISED = frozenset(
    re.findall(
        r"\S+",
        """
        i i'm i'll i've i'd monday tuesday wednesday thursday friday saturday sunday january february march april may
        june july august september october november december mr mrs ms dr ok okay mum mom dad tv pm am id url dm link
        christmas easter xmas god asap direct finally english internet customer customers agent agents user users
        """,
    )
)
# At the beginning of a sentence a capital tells nothing; a verb after the word does, unless the word is one of these.
_OPENERS = frozenset(
    re.findall(
        r"\S+",
        """
        a an the he she it they we you his her its their our your this that these those there here both all some one
        two three four five everyone everybody someone somebody nobody none each other others another who what when
        where why how if as after before while although though because since then so also not no at in on for from to
        by with of and or but neither either according many most few several people tomorrow today tonight yesterday
        later next now once only even eventually finally unfortunately apparently maybe it's he's she's they're
        """,
    )
)
_VERB_AFTER = re.compile(
    r"\s+(?:is|was|has|had|will|would|can|can't|could|does|doesn't|did|didn't|isn't|won't|wants|needs|asks|thinks|"
    r"says|tells|told|asked|said|likes|loves|got|bought|and\s+[A-Z]|[a-z]{2,}(?:ed|[^s\W]s))\b"
)


def find_names(sentence: Sentence) -> Iterator[tuple[int, int, str]]:
    """(start, end, name) of the words that are names: a capital inside the sentence, or at its head before a verb."""
    words = list(_WORD.finditer(sentence.text))
    for place, word in enumerate(words):
        name = re.sub(r"['’]s?$", "", word.group())
        plain = name.lower().replace("’", "'")
        if not name[0].isupper() or len(name) < 2 or plain in _CAPITALISED:
            continue
        if plain.endswith("ing") or sentence.text[word.start() - 1 : word.start()] == ",":  # shouted or misspelt
            continue
        if place == 0 and (plain in _OPENERS or not _VERB_AFTER.match(sentence.text, word.end())):
            continue
        start = sentence.start + word.start()
        yield start, start + len(name), name


def dialogue_words(text: str) -> frozenset[str]:
    """The dialogue's words in lower case, against which names are looked up."""
    return frozenset(_WORD.findall(text.lower().replace("’", "'")))


def is_known_name(words: frozenset[str], name: str, text: str) -> bool:
    """Whether the dialogue contains the name, a longer or shorter form of it, or a similar spelling.

    `text` is the dialogue in lower case. A name in parts (Coca-Cola) is known where one part is.
    """
    whole = name.lower().replace("’", "'")
    if (
        whole in words
        or whole in text.replace("’", "'")
        or any(part in words for part in re.split(r"[-&'.]", whole) if len(part) > 2)
    ):
        return True
    root = stem(whole)
    for word in words:
        if word[0] != whole[0]:
            continue
        if (len(word) > 2 and whole.startswith(word)) or (len(root) > 3 and word.startswith(root)):
            return True
        if len(whole) > 3 and _is_close(whole, word):
            return True
    return len(whole) <= 4 and whole.isalpha() and name.isupper() and _spelt(whole, text)


def _is_close(name: str, word: str) -> bool:
    matcher = SequenceMatcher(None, name, word)  # the two bounds cost far less than the ratio
    return all(of() >= _CLOSE for of in (matcher.real_quick_ratio, matcher.quick_ratio, matcher.ratio))


def _spelt(letters: str, text: str) -> bool:
    """Whether successive words begin with the letters: "frequently asked questions" for FAQ."""
    return letters in "".join(word[0] for word in re.findall(r"[^\W\d_]+", text))
