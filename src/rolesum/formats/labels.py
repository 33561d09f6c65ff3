"""Classification of the words before a colon: the label of a speaker, or the start of a sentence.

The words of a label decide, and where they leave a doubt, how often the label stands in the text. A person is named in
few words: names, a part that somebody plays ("the tour operator"), a number ("Nadia 2203"). What introduces speech
instead is a clause ("I have one question: …") or a word for the thing that follows ("Note: …", "地址：…"); a thing with
a number ("Room 2203: …") does so unless it stands again.
"""

import re
from enum import Enum
from functools import cache
from importlib import resources

import yaml

from rolesum.formats.clock import has_clock
from rolesum.roles import role_of_speaker


class Kind(Enum):
    """Kinds of words before a colon; the values say when such words are a label."""

    NAME = "a label wherever it stands"
    PART = "a label, unless it stands once among speakers who stand more often"
    DOUBTFUL = "a label where it stands more than once"
    TOPIC = "a word for what follows: a label only in a text that uses it as one throughout"
    SENTENCE = "no label"


MAX_LENGTH = 60  # characters of a label

_FEW_WORDS = 3  # that may all be in lower case, as in "the tour operator"
_MOST_WORDS = 8  # of a label that stands more than once
_LONG_HAN = 8  # Han characters in a row; more are rarely a name

_HAN_CLAUSE = re.compile(r"[我您你吗嗎]|^[请請]|这个|這個|那个|那個|如下|以下|可以|需要|没有|沒有")
# A person's label only where it stands more than once: "三件事：…" and "另有：…" are none, "应聘的：…" is one.
_HAN_DOUBT = re.compile(
    r"[是呢吧为為的在到了]$|^[有另分]|请教|請教|[一二两兩三四五六七八九十几幾\d][个個件点點桩樁样樣步条條批笔筆种種项項]"
)

_HAN_TOPIC = re.compile(
    r"(?:.{0,6}(?:地址|电话|電話|手机|手機|姓名|名字|单号|單號|编号|編號|号码|號碼|卡号|账号|帳號|日期|时间|時間|金额|金額|价格|價格|"
    r"链接|鏈接|網址|网址|邮箱|郵箱|密码|密碼|验证码|型号|型號|规格|數量|数量|原因|说明|說明|备注|備註|附件))|"
    r"[^\d一二三四五六七八九十]{1,4}号|邮编|内容|單位|单位|联系方式|入口|路径|另|"
    r"但是|不过|所以|因此|可惜|遗憾的是|抱歉|首先|其次|最后|总之|其实|当然|目前|现在|"
    r"注|注意|提示|提醒|温馨提示|溫馨提示|另外|补充|例如|比如|结论|总结|方法|步骤|第[一二三四五六七八九十\d]+[步点條条]?|[一二三四五六七八九十]"
)

# Adverbs that may begin a sentence ("Unfortunately: …"); no names such as Sally, Kimberly, Clément.
_ADVERB = re.compile(
    r"\w{2,}(?:al|ant|ar|ate|ed|ent|ess|ful|ing|ive|ous|st)ly|\w{4,}mente|\w{3,}(?:am|em|e)ment", re.IGNORECASE
)
_HAN_NUMBERED = re.compile(
    r"(?:房间|房間|房号|航班|车次|車次|登机口|登機口|站台|桌号|桌號|楼层|樓層)\s*[A-Za-z]{0,2}\d+|第?\s*\d+\s*(?:房间?|房間|室|号楼|號樓|楼|樓|层|層|页|頁)"
)
_NUMBER = re.compile(r"[#№]?[A-Za-z]{0,2}-?\d+[A-Za-z]?")  # "2203", "B12", "LH400"
_ENDS_NUMBERED = re.compile(r"[^\W\d_].*\s[#№]?\d{1,6}")
_NUMBERED_SPEAKER = re.compile(r"(?P<word>[^\W\d_]+)[\s_-]*(?:№|#|no\.)?\s*\d{1,3}")  # SPEAKER_00, Sprecher 2
_SPEAKER_WORDS = {
    *("speaker", "spk", "participant", "voice", "person", "sprecher", "locuteur", "intervenant", "orador"),
    *("hablante", "parlante", "spreker", "спикер", "говорящий", "发言人", "说话人", "講者", "話者", "화자", "참석자"),
}
_ENDS_SENTENCE = re.compile(r"[!?;…。！？；、,，]|\.\.|\.\s+[a-zß-ÿ]")
_COMMA = re.compile(r"[,，、]")
_UNNAMED = re.compile(r"[=<>{}]|\w+://")
_HAN = re.compile(r"[\u3400-\u9fff]")
_HAN_RUN = re.compile(r"[\u3400-\u9fff]+")
_PHONE = re.compile(r"\+\d[\d\s().-]{5,20}\d")
_ASIDE = re.compile(r"\s*[(（\[【][^()（）\[\]【】]*[)）\]】]")
_TITLES = re.compile(r"\s*[|/,·•–—]\s*|\s-\s")  # parts a name from what the person is
_DIGIT_COLON_DIGIT = re.compile(r"\d[:：]\d")


@cache
def _lists() -> dict[str, frozenset[str]]:
    """The lists of label_words.yaml, each with the words of all its languages."""
    file = resources.files("rolesum.formats").joinpath("label_words.yaml")
    written = yaml.safe_load(file.read_text(encoding="utf-8"))
    texts = {name: entry.values() if isinstance(entry, dict) else [entry] for name, entry in written.items()}
    return {name: frozenset(" ".join(entries).split()) for name, entries in texts.items()}


def label_kind(label: str) -> Kind:
    """The kind of the words before a colon, as far as the words alone decide it."""
    if _PHONE.fullmatch(label):
        return Kind.NAME
    if len(label) > MAX_LENGTH or has_clock(label) or not any(map(str.isalpha, label)):
        return Kind.SENTENCE
    if role_of_speaker(label):
        return Kind.NAME
    if _DIGIT_COLON_DIGIT.search(label) or "://" in label or "\t" in label:
        return Kind.SENTENCE
    name = _ASIDE.sub("", label).strip() or label  # "Oskar (furniture maker)"
    words = name.split()
    if _is_topic(words, name):
        return Kind.SENTENCE if words[0].casefold() in _lists()["possessives"] else Kind.TOPIC
    if _UNNAMED.search(name) or name.count("/") > 1 or _opens(name):
        return Kind.SENTENCE
    if is_numbered_thing(name):
        return Kind.DOUBTFUL
    if _HAN.search(name):
        return _han_kind(name)
    if len(words) == 2 and words[0].casefold() in _lists()["possessives"]:  # "my mum"
        return Kind.DOUBTFUL
    if _is_clause(words) or _ENDS_SENTENCE.search(_COMMA.sub(" ", name, count=1)) or _COMMA.search(name[-1]):
        return Kind.SENTENCE
    lower = [word for word in words[1:] if word[:1].islower() and word not in _lists()["particles"]]
    if len(words) > _MOST_WORDS and lower:
        return Kind.SENTENCE
    few = _FEW_WORDS - (1 if _COMMA.search(name) else 0)
    if len(words) > few and (lower or not any(word[:1].isupper() for word in words)):
        return Kind.DOUBTFUL
    if (_COMMA.search(name) and lower) or words[0].isdigit():
        return Kind.DOUBTFUL
    return Kind.PART if len(words) > 1 and (lower or words[0][:1].islower()) else Kind.NAME


def title_kind(label: str) -> Kind:
    """The kind of a label that may be longer than others, of a name with titles, such as "Ann Lee | Head of Sales"."""
    name, *titles = [part for part in _TITLES.split(_ASIDE.sub("", label).strip()) if part] or [label]
    kinds = [label_kind(title) for title in titles]
    return Kind.SENTENCE if Kind.SENTENCE in kinds or Kind.TOPIC in kinds else label_kind(name)


def is_numbered_thing(label: str) -> bool:
    """Whether a label is a thing with its number: "Room 2203", "our flight LH400", "房间2203"."""
    if _HAN.search(label):
        return _HAN_NUMBERED.fullmatch(label) is not None
    words = label.split()
    kept = [word.strip("\"'()[]*_.,").casefold() for word in words if not _NUMBER.fullmatch(word)]
    things = [word for word in kept if word not in _lists()["fillers"]]
    return (
        len(kept) < len(words)
        and 0 < len(things) <= _FEW_WORDS
        and all(word in _lists()["numbered"] for word in things)
    )


def is_numbered_speaker(label: str) -> bool:
    """Whether a label is a speaker whom a program has numbered: "SPEAKER_00", "Sprecher 2"."""
    found = _NUMBERED_SPEAKER.fullmatch(label)
    return found is not None and found["word"].casefold() in _SPEAKER_WORDS


def ends_with_number(label: str) -> bool:
    """Whether a number ends a label of which nothing else says that it is a speaker's: "Nadia 2203", "Windows 11"."""
    is_known = role_of_speaker(label) is not None or is_numbered_speaker(label)
    return not is_known and _ENDS_NUMBERED.fullmatch(label) is not None


def _opens(name: str) -> bool:
    """Whether a bracket opens in the name that does not close in it, or the other way."""
    return any(name.count(first) != name.count(last) for first, last in ("()", "[]", "（）", "【】"))


def _han_kind(name: str) -> Kind:
    if len(name) > 1 and (_HAN_CLAUSE.search(name) or _ENDS_SENTENCE.search(name)):
        return Kind.SENTENCE
    longest = max(map(len, _HAN_RUN.findall(name)))
    return Kind.DOUBTFUL if longest > _LONG_HAN or _HAN_DOUBT.search(name) else Kind.NAME


def _is_clause(words: list[str]) -> bool:
    """Whether a word of a clause is among them: in lower case, or first in a label that goes on in lower case."""
    plain = [word.strip("\"'“”‘’()[]*_").replace("’", "'") for word in words]
    if len(plain) < 2:
        return False
    goes_on = plain[1][:1].islower() and plain[1] not in _lists()["particles"]
    if plain[0].casefold() in _lists()["clauses"] and (goes_on or "'" in plain[0] or len(plain) > _FEW_WORDS):
        return True
    return plain[-1] in _lists()["clauses"] or any(
        word in _lists()["clauses"] or word == "I" or word.startswith("I'") for word in plain[1:-1]
    )


def _is_topic(words: list[str], name: str) -> bool:
    plain = [word.strip("\"'“”‘’()[]*_#.").casefold() or word for word in words]
    if _HAN.search(name):
        return bool(_HAN_TOPIC.fullmatch(name))
    # "step 2", "my order number"
    kept = [word for word in plain if word not in _lists()["fillers"] and not word.isdigit()]
    topics = _lists()["topics"]
    return (
        bool(kept)
        and len(kept) <= _FEW_WORDS
        and all(word in topics or f"{word}." in topics or _ADVERB.fullmatch(word) for word in kept)
    )
