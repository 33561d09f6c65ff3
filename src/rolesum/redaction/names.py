"""Names of people, taken from the speakers' labels, and where they stand in a text."""

import re
from collections.abc import Iterable, Iterator

from rolesum.redaction.find import PATTERN_KINDS, find_personal_data
from rolesum.roles import role_of_speaker

_HAN = re.compile(r"[\u3400-\u9fff]")
_LETTER = r"[^\W\u3400-\u9fff]"
_WORD = re.compile(rf"{_LETTER}(?:(?:{_LETTER}|['’·-])*{_LETTER})?|[\u3400-\u9fff]+(?:·[\u3400-\u9fff]+)*")
_LETTERS = re.compile(rf"{_LETTER}+")
_HEAD = re.compile(rf"{_LETTER}+|.", re.S)
_POSSESSIVE = re.compile(r"['’]s$", re.I)

# Words of labels that are not names: terms for unknown speakers, relatives, titles, particles.
_NOBODY = re.compile(
    r"(?:speaker|person|participant|unknown|moderator|host|chair|interviewer|interviewee|narrator|system|bot|spk|male|"
    r"female|man|woman|说话人|发言人|主持人|参与者|未知)?[_-]?\d*|\w|"
    r"mom|mum|mother|dad|father|grandma|grandpa|uncle|aunt|auntie|son|daughter|sister|brother|妈妈|爸爸|奶奶|爷爷|"
    r"mr|mrs|ms|miss|dr|prof|sir|madam|the|of|and|de|van|von|der|den|la|le|el|al|bin|from|先生|女士|小姐|老师",
    re.I,
)

_SHORTEST_CAPITALS = 3  # letters of a name that is also looked for in capitals


def names_in(labels: Iterable[str]) -> list[str]:
    """The words of speakers' labels that are names, in order of appearance."""
    names: dict[str, None] = {}
    for label in labels:
        if role_of_speaker(label) is not None:
            continue
        letters = list(label)
        for span in find_personal_data(label, PATTERN_KINDS):  # parts of an e-mail address are not names
            letters[span.start : span.end] = " " * (span.end - span.start)
        for word in _WORD.findall("".join(letters)):
            name = _POSSESSIVE.sub("", word)
            if not _NOBODY.fullmatch(name) and role_of_speaker(name) is None:
                names[name] = None
    return list(names)


def with_capitals(names: Iterable[str]) -> tuple[str, ...]:
    """The names as they are searched: as written, and in capitals."""
    forms = [name.strip() for name in names if name.strip()]
    return tuple(dict.fromkeys((*forms, *(name.upper() for name in forms if len(name) >= _SHORTEST_CAPITALS))))


class NameMatcher:
    """Searches for many names at once, by their first word, or by their first character in Chinese."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names: dict[str, dict[int, set[str]]] = {}  # first word -> length of a name -> names
        for name in names:
            self._names.setdefault(_HEAD.findall(name)[0], {}).setdefault(len(name), set()).add(name)
        single = "".join(re.escape(head) for head in self._names if not _LETTERS.match(head))
        self._heads = re.compile(f"{_LETTERS.pattern}|[{single}]") if single else _LETTERS

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """The spans where names stand as whole words; they may overlap."""
        for head in self._heads.finditer(text):
            start = head.start()
            for length, names in self._names.get(head[0], {}).items():
                end = start + length
                if text[start:end] not in names or _joined(text[end - 1], text[end : end + 1]):
                    continue
                if text[end : end + 2].lower() not in ("'t", "’t"):  # Don is not in "Don't"
                    yield start, end


def _joined(left: str, right: str) -> bool:
    """Whether two characters are of one word: Chinese is written without spaces, so its characters never are."""
    return all(one.isalnum() or one == "_" for one in (left, right)) and not _HAN.search(left + right)
