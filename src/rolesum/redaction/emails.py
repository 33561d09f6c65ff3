"""E-mail addresses: also those with letters of any script, and those that are spoken ("anna at mail dot com")."""

import contextlib
import re
from collections.abc import Iterator

_HAN = r"\u3400-\u9fff"
_LOCAL = rf"(?:[^\W{_HAN}]|[.%+-])"
_LABEL = r"(?:[^\W_]|-)+"
_HAN_TOP = (
    "公司|中国|中國|网络|網絡|网址|在线|中文网|香港|台湾|台灣|我爱你|商城"
    "|商店|集团|政务|公益|新加坡|网站|企业|移动|世界|测试"
)
_TOP = rf"(?:[^\W\d_{_HAN}]{{2,24}}|xn--[a-z0-9-]{{2,59}}|{_HAN_TOP})(?![A-Za-z0-9])"
_DOMAIN = rf"(?:(?:{_LABEL}\.)+{_TOP}|(?:{_LABEL}。)+(?:com|net|org|cn|de|edu|gov|io)(?![A-Za-z0-9]))"
_EMAIL = re.compile(rf"(?<!{_LOCAL}){_LOCAL}+@{_DOMAIN}", re.I)
_HAN_EMAIL = re.compile(rf"(?<![{_HAN}])[{_HAN}]{{1,30}}@{_DOMAIN}", re.I)
_HAN_BEFORE = re.compile(r"^.*(?:是|为|到|至|给|箱|址|件)(?=.)")
_SPACED = re.compile(
    rf"(?<!{_LOCAL}){_LOCAL}+ @ ?(?:{_LABEL}\.)+{_TOP}|(?<!{_LOCAL}){_LOCAL}+@ (?:{_LABEL}\.)+{_TOP}", re.I
)

_AT = r"(?: ?(?:\(at\)|\[at\]|\{at\}|艾特) ?| (?:at|ät) )"
_DOT = r"(?: ?(?:\(dot\)|\[dot\]|\{dot\}|点) ?| (?:dot|punkt) )"
_WORD = r"[A-Za-z0-9_+-]+"
_SPOKEN = re.compile(
    rf"(?<![\w.+-]){_WORD}(?:(?:\.|{_DOT}){_WORD}){{0,4}}{_AT}{_WORD}(?:(?:\.|{_DOT}){_WORD}){{0,3}}?(?:\."
    rf"|{_DOT})[A-Za-z]{{2,12}}(?![A-Za-z0-9])",
    re.I,
)
_HINT = re.compile(rf"{_DOT}|\(at\)|\[at\]|\{{at\}}|艾特", re.I)
_BRACKETED_AT = re.compile(r"\(at\)|\[at\]|\{at\}|艾特", re.I)
_SPOKEN_DOT = re.compile(_DOT, re.I)


def find_emails(text: str) -> Iterator[tuple[int, int]]:
    """The spans of e-mail addresses; they may overlap."""
    if "@" in text:
        yield from (found.span() for pattern in (_EMAIL, _SPACED) for found in pattern.finditer(text))
        for found in _HAN_EMAIL.finditer(text):
            local = found[0].split("@")[0]
            before = _HAN_BEFORE.match(local)
            yield found.start() + (before.end() if before else 0), found.end()
    if _HINT.search(text):
        for found in _SPOKEN.finditer(text):
            if _BRACKETED_AT.search(found[0]) or _SPOKEN_DOT.search(found[0]):
                yield found.span()


def normalized_email(address: str) -> str:
    """The address in small letters, with @ and dots, its domain in letters: equal for all forms of one."""
    plain = re.sub(_AT, "@", address.lower())
    local, _, domain = re.sub(r"\s", "", re.sub(_DOT, ".", plain)).replace("。", ".").rpartition("@")
    with contextlib.suppress(UnicodeError):
        domain = domain.encode("ascii").decode("idna") if "xn--" in domain else domain
    return f"{local}@{domain.casefold()}"
