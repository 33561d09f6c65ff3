"""Names of people, taken from the speakers' labels, and where they stand in a text."""

import re
from collections.abc import Collection, Iterable, Iterator

from rolesum.redaction.find import PATTERN_KINDS, find_personal_data
from rolesum.redaction.plain import lower
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

_SHORTEST_SPELLED = 3  # letters of a name that is spelled letter by letter
_SPELLED = re.compile(rf"(?<!\w){_LETTER}(?:[ .-]{{1,2}}{_LETTER}(?!\w)){{2,}}")
_BETWEEN = re.compile(r"[ .-]")

# Names that are words too: in small letters they are taken for the word.
_WORDS_TOO = """
    will may mark art guy rose hope bill grace joy faith june april august summer dawn eve ray rob sue pat frank
    dick bob drew gene grant chase miles max rich chuck cliff earnest hunter iris ivy jasmine olive daisy violet ruby
    pearl amber ginger honey angel melody harmony carol crystal destiny heather holly penny robin star sky wade
    ward warren major king judge duke dean baker cook young brown green white black gray grey long short love boss bear
    bell best bird bishop bond booth bush case cash church cross day dear field fish flowers ford fox game gold good
    hall hand hard hill house hunt hale hardy ice keen kind lake lane law little lord low man march mason may mercy
    miller mine moon more nice noble north page park peace pope post potter power price prince queen rain reed reid
    river rivers rock root rush sage saint sand savage sharp shepherd silver singer small snow south star
    stone storm strong sunny sweet wall war water waters way weaver wells west wild winter wise wolf wood woods
    work christian chance art buddy bud candy cherry coco colt cookie daddy daisy dolly dusty echo ever fern flora
    forest gay gem happy jade jet jewel journey justice kit knight legend liberty lucky mint misty
    olive opal paris patience peg petal piper poppy princess pip raven red reign rocket rosy royal sandy saw
    serenity shade skip sterling stormy tab temple tiger trinity true tuesday tucker van viola
    wren anonymous don an so do in see any all one two new old son sister brother boy girl mother father baby
    babe dude friend friends family group team user users chat guest teacher coach driver manager waiter waitress
    professor student neighbor neighbour seller buyer landlord tenant lawyer officer pilot chef barber police reporter
    host expert lady gentleman husband wife child kid kids children people person woman women men parent parents
    cousin niece nephew grandson granddaughter roommate colleague client partner company shop store hotel bank
    restaurant"""
_IS_WORD = frozenset(_WORDS_TOO.split())
HAN_TITLES = re.compile("先生|女士|小姐|老师|医生|大夫|师傅|经理|阿姨|大爷|主任|教授|律师|同学|护士|主管|总监|老板")
# Surnames that a Chinese name of three characters begins with: the other two are a name by themselves.
SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石"
    "姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文"
)


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


def words_of_descriptions(labels: Iterable[str]) -> frozenset[str]:
    """The words of labels that describe a speaker, such as "Bike rental": a name has capitals throughout."""
    found = set[str]()
    for label in labels:
        words = _WORD.findall(label)
        if any(word[0].isupper() for word in words) and any(
            word.islower() and not _NOBODY.fullmatch(word) and role_of_speaker(word) is None for word in words
        ):
            found |= set(words)
    return frozenset(found)


def given_name(name: str) -> str | None:
    """The given name of a Chinese name of three characters."""
    is_whole = len(name) == 3 and name[0] in SURNAMES and all(map(_HAN.match, name))
    return name[1:] if is_whole and not HAN_TITLES.fullmatch(name[1:]) else None


class NameMatcher:
    """Searches for many names at once, by their first word, or by their first character in Chinese.

    A name is found in capital and small letters alike; one that is a word too, or has two letters, not in small ones.
    """

    def __init__(self, names: Collection[str], words: Collection[str] = ()) -> None:
        """`words` are those of `names` that are words too."""
        self._words = frozenset(map(lower, words)) | _IS_WORD
        self._names: dict[str, dict[int, dict[str, tuple[str, frozenset[str]]]]] = {}
        self.spelled: dict[str, str] = {}  # letters of a name that may be spelled one by one -> the name
        for name in dict.fromkeys(name.strip() for name in names):
            if not name:
                continue
            self._add(name, name)
            if len(name) > _SHORTEST_SPELLED and name.isalpha() and not _HAN.search(name):
                self.spelled.setdefault(lower(name), name)
        for name in [name for name in names if given_name(name.strip())]:
            self._add(str(given_name(name.strip())), name.strip())
        single = "".join(re.escape(head) for head in self._names if not _LETTERS.match(head))
        self._heads = re.compile(f"{_LETTERS.pattern}|[{single}]") if single else _LETTERS

    def _add(self, form: str, name: str) -> None:
        low = lower(form)
        is_word = low in self._words or (len(form) <= 2 and not _HAN.search(form))
        others = (form.capitalize(), form.upper()) if len(form) > 2 else () if form.isupper() else (form.capitalize(),)
        exact = (form, *others) if is_word else ()
        by_length = self._names.setdefault(_HEAD.findall(low)[0], {}).setdefault(len(low), {})
        known = by_length.get(low, (name, frozenset(exact)))
        by_length[low] = known[0], (known[1] | frozenset(exact) if is_word else frozenset())

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """The spans where names stand as whole words, with the names; they may overlap."""
        low = lower(text)
        for head in self._heads.finditer(low):
            start = head.start()
            for length, names in self._names.get(head[0], {}).items():
                end = start + length
                found = names.get(low[start:end])
                if (
                    not found
                    or (found[1] and text[start:end] not in found[1])
                    or _joined(low[end - 1], low[end : end + 1])
                ):
                    continue
                if low[end : end + 2] not in ("'t", "’t"):  # Don is not in "Don't"
                    yield start, end, found[0]
        if self.spelled:
            for spelled in _SPELLED.finditer(text):
                letters = lower(_BETWEEN.sub("", spelled[0]))
                if letters in self.spelled:
                    yield *spelled.span(), self.spelled[letters]


def _joined(left: str, right: str) -> bool:
    """Whether two characters are of one word: Chinese is written without spaces, so its characters never are."""
    return all(one.isalnum() or one == "_" for one in (left, right)) and not _HAN.search(left + right)
