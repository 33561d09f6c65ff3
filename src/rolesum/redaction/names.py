"""Names by the list of speakers: the words of their labels that are nobody's role, and where they stand in a text."""

import re
from collections.abc import Iterable, Iterator

from rolesum.redaction.find import FORMS, find
from rolesum.roles import role_of_speaker

_HAN = re.compile(r"[\u3400-\u9fff]")
_LETTER = r"[^\W\u3400-\u9fff]"
_WORD = re.compile(rf"{_LETTER}(?:(?:{_LETTER}|['’·-])*{_LETTER})?|[\u3400-\u9fff]+(?:·[\u3400-\u9fff]+)*")
_POSSESSIVE = re.compile(r"['’]s$", re.I)

# Words of labels that tell no person: what recorders call unknown speakers, relatives, titles, particles.
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
        for span in find(label, FORMS):  # of an address, no part is a name that may stand elsewhere
            label = label[: span.start] + " " * (span.end - span.start) + label[span.end :]
        for word in _WORD.findall(label):
            name = _POSSESSIVE.sub("", word)
            if not _NOBODY.fullmatch(name) and role_of_speaker(name) is None:
                names[name] = None
    return list(names)


def with_capitals(names: Iterable[str]) -> tuple[str, ...]:
    """The names as they are looked for: as they are written, and in capitals."""
    forms = [name.strip() for name in names if name.strip()]
    return tuple(dict.fromkeys((*forms, *(name.upper() for name in forms if len(name) >= _SHORTEST_CAPITALS))))


def name_places(text: str, names: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Where names stand as whole words; places may overlap."""
    for name in names:
        start = text.find(name)
        while start >= 0:
            end = start + len(name)
            joined = _joined(text[start - 1 : start], name[0]) or _joined(name[-1], text[end : end + 1])
            if not joined and text[end : end + 2].lower() not in ("'t", "’t"):  # Don is not in "Don't"
                yield start, end
            start = text.find(name, start + 1)


def _joined(left: str, right: str) -> bool:
    """Whether two characters are of one word: Chinese is written without spaces, so its characters never are."""
    return all(one.isalnum() or one == "_" for one in (left, right)) and not _HAN.search(left + right)
