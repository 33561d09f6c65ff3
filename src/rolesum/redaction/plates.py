"""License plates: Chinese ones by their form, others behind a word for them or as the answer to a question for one."""

import re
from collections.abc import Iterator

from rolesum.redaction.plain import lower

_HAN_PLATE = re.compile(
    r"(?<![最全崭更刷革创翻重])[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使]"
    r"[A-Za-z] ?[·•・.-]? ?(?=[A-Za-z]{0,4}\d)[A-Za-z\d]{4,5}[A-Za-z\d挂学警港澳](?![A-Za-z\d])",
    re.A,
)
_CUE = (
    r"(?:(?<![a-z])(?:(?:licen[cs]e|number|registration|reg|vehicle|car|temporary)[ -]plates?|plates?"
    r"|(?:(?:vehicle|car) )?registration|reg|kennzeichen|nummernschild|targa|matrícula|immatriculation|kenteken)"
    r"(?: (?:number|no\.?|nr\.?|#))?(?![a-z])|车牌号?码?)"
)
_GAP = (
    r"(?: (?:of|on|for) (?:the|my|his|her|our|your|their) (?:[a-z]{2,10} ?){1,2})?(?:['’]s| is| was| reads?| ist"
    r"| es| est|[:：=#]|是|为| ){0,3}[ \"“]{0,2}"
)
_BARE = re.compile(r"plates?|reg(?:istration)?(?: .*)?")  # words for other things, too
_TOKEN = r"[A-Za-z0-9ÄÖÜ]{1,9}(?:[ .·•-]{1,2}(?=[A-Z0-9]{0,5}\d|[A-ZÄÖÜ]{1,4}(?![a-zäöü]))[A-Z0-9ÄÖÜ]{1,6}){0,3}"
_AFTER_CUE = re.compile(rf"(?P<cue>{_CUE}){_GAP}")
_VALUE = re.compile(rf"({_TOKEN})(?![\w%€$£]|[.,:/]\d)")
_QUESTION = re.compile(rf"{_CUE}[^?？!.。\n]{{0,40}}[?？.。!]?\s*$")
_HOW_MANY = re.compile(r"how (?:many|much)|几|dinner|lunch|food|dish|wash")
_OPENING = re.compile(
    r"\W{0,3}(?:(?:it'?s|it is|yes|sure|ok|okay|the plate is|my plate is|是|就是)[\s,:，]{0,2}){0,3}", re.I
)
_FEWEST, _MOST = 4, 10  # letters and digits


def find_plates(text: str) -> Iterator[tuple[int, int]]:
    """The spans of license plates; they may overlap."""
    yield from (found.span() for found in _HAN_PLATE.finditer(text))
    for found in _AFTER_CUE.finditer(lower(text)):
        yield from _value(text, found.end(), needs_letter=_BARE.fullmatch(found["cue"]) is not None)


def find_plate_in_answer(question: str, answer: str) -> Iterator[tuple[int, int]]:
    """The span of the plate at the start of a turn that answers a question for it."""
    tail = lower(question[-120:])
    if _QUESTION.search(tail) and not _HOW_MANY.search(tail):
        opening = _OPENING.match(answer)
        yield from _value(answer, opening.end() if opening else 0, needs_letter=False)


def _value(text: str, at: int, *, needs_letter: bool) -> Iterator[tuple[int, int]]:
    found = _VALUE.match(text, at)
    if not found:
        return
    letters = [letter for letter in found[1] if letter.isalnum()]
    has_digit = any(map(str.isdigit, letters))
    if _FEWEST <= len(letters) <= _MOST and has_digit and (not needs_letter or any(map(str.isalpha, letters))):
        yield found.span(1)
