"""Addresses that a word or a question announces: "my address is …", "bring it to …", 送到哪里？

An address may then have any form: a street of a name that no list has, a house with a name, 刘街T座.
"""

import re
from collections.abc import Iterator

from rolesum.redaction.plain import lower

_UNIT = r"(?:Flat|Studio|Apartment|Apt\.?|Unit|Suite|Ste\.?|Room|Floor|Building|Bldg\.?|Block|House|No\.?)"
# Capitalized words that begin another clause, and the words after a number that make it an amount, a time or a date.
_NO_PLACE = (
    r"(?!(?:I|I'[a-z]+|It|It's|And|But|Please|Thanks?|So|You|We|He|She|They|Is|Are|Can|Could|Just|Ok|Okay|OK|Yes|No|Not"
    r"|Or|If|Then|Tomorrow|Today|Tonight|My|Your|Our|That|This|What|When|Where|Which|AM|PM|Mon|Tues?|Wed|Thu|Thurs|Fri"
    r"|Sat|Sun|[A-Z][a-z]{2,5}day|Wednesday|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|January|February|March|April"
    r"|May|June|July|August|September|October|November|December|USD|EUR|GB|MB|KB|TB|Euros?|Dollars?|Pounds?)(?![\w'-]))"
)
_WORD = rf"{_NO_PLACE}[A-ZÀ-Ý](?:[\w'’-]{{0,30}})"
_SHORT = r"(?:Apt|St|Ste|Rd|Ave|Blvd|Dr|Ln|Ct|Pl|Sq|Hwy|Mt|Ft|No|Bldg|Fl|[NSEW])\."
_NUMBER = r"#?\d{1,5}(?:[A-Za-z]|-\d{1,5})?(?![\w%€$£]|[.,:/]\d|:| ?(?:[ap]\.?m\b|o'clock|(?!of\b)[a-z]))"
_POSTCODE = r"[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}(?!\w)"
_PART = (
    rf"(?:{_POSTCODE}|{_NUMBER}|{_SHORT}|{_WORD}|(?:of|the|de|la|del|di|da|van|von|der|des"
    rf"|du)(?= (?:\w{{2,5}} )?[A-Z]))"
)
_CASED = rf"{_PART}(?:,? {_PART}){{1,14}}"
_STARTS_WITH_NUMBER = rf"(?:{_UNIT} #?\d{{1,5}}[A-Za-z]?,? (?={_NO_PLACE}[A-Z\d])|{_NUMBER} (?={_NO_PLACE}[A-Z]))"
_ORDINARY = (
    r"(?!(?:the|an?|of|on|in|at|to|by|and|or|for|from|with|down|up|off|per|this|that|is|are|was|i|it|you|my|your|our"
    r"|their|am|pm|minutes?|mins?|hours?|days?|weeks?|months?|years?|miles?|km|blocks?|times?|people|persons?|more"
    r"|other|different|euros?|dollars?|pounds?|bucks|percent|o'clock|please|thanks?|so|but|if|when|because)\b)"
)
# "586 kevin radial", up to the end of the clause
_SMALL = (
    rf"\d{{1,5}}[a-z]? (?:{_ORDINARY}[a-z][a-z'’-]{{1,20}} ?){{1,3}}(?:(?:apt|flat|unit|suite"
    rf"|#) ?\w{{1,5}} ?)?(?=[,.;!\n]|$)"
)

_SURE_CUE = re.compile(
    r"(?<![\w-])(?<!ip )(?<!e-mail )(?<!email )(?<!mail )(?<!web )(?<!mac )(?<!wallet )(?<!url )"
    r"(?:address|adresse|anschrift|dirección|indirizzo|adres)(?: (?:for|on|of) [a-z ]{1,24}?)?"
    r"(?:,? (?:is|was|to|will be|should be|has changed to|ist|lautet|es|est)|'s|’s|:| =| -)(?: now"
    r"| still)?:? {0,2}(?:at |to )?"
)
_CUE = re.compile(
    r"(?<![\w-])(?:(?:live|lives|lived|living|reside|resides|staying|moved|moving|located)(?: now| currently)?"
    r"|(?:deliver|delivered|send|sent|ship|shipped|mail|mailed|bring|brought|take|come|drop|dropped|post|posted|forward"
    r"|dispatch|dispatched|return|returned|drive|delivery)"
    r"(?: (?:it|them|that|this|me|us|him|her|everything|back|over|off|by|out|down|(?:the|my|your"
    r"|our) [a-z]{2,16})){0,3})"
    r" (?:at|to|from|in|is|on) "
)
_QUESTION = re.compile(
    r"(?:(?<![a-z])(?:(?<!ip )(?<!mail )(?<!email )address(?:es)?|where (?:do|does|did) (?:you|they|he|she) live"
    r"|where are you (?:located|staying|living)|adresse|anschrift|dirección|indirizzo"
    r"|where (?:should|shall|can|could|do|does|did|would|to|will|was|is|must)[a-z' ]{0,40}?"
    r"(?:deliver|send|sent|ship|mail|bring|go|drop|collect|pick|take|post|come))(?![^\W\d_]*@)[^?\n]{0,50}\??\W*$"
    r")"
)
_SURE = re.compile(_CASED)
_NUMBERED = re.compile(rf"(?={_STARTS_WITH_NUMBER}){_CASED}")
# Behind words that are said of other things, too: a unit, or a number and two words.
_SENT = re.compile(rf"(?={_UNIT} #?\d|{_STARTS_WITH_NUMBER}{_WORD},? {_WORD}){_CASED}")
_LOWER = re.compile(_SMALL)
_OPENING = re.compile(
    r"\W{0,3}(?:(?:it'?s|it is|to|at|is|yes|sure|ok|okay|hi|please|deliver|send|bring|it|i live|we live|my address"
    r"|the address)"
    r"[\s,:.]{1,2}){0,5}",
    re.I,
)
_TAIL = re.compile(r"(?:[ ,]+(?:of|the|de|la|del|di|da|van|von|der|des|du)|[ ,.]+)+$")

# What a Chinese address has: a road with a letter or a number, or a number of a house, a stair or a room.
_HAN_PLACE = re.compile(
    r"(?:路|街|道|巷|弄|村|镇|区|里|胡同|小区|花园|苑|城|大厦|广场|公寓"
    r"|院)[^，。！？]{0,10}?[\dA-Za-z一二三四五六七八九十]"
    r"|[\dA-Za-z一二三四五六七八九十](?:号|栋|幢|座|单元|室|楼)"
    r"|^[\u4e00-\u9fff]{2,9}(?:省|市|区|县)[\u4e00-\u9fff]{2,}(?:路|街|道|巷|镇|乡|村|小区|大厦|公寓|花园)$"
)
_HAN_NO_PLACE = re.compile(
    r"^(?:[\dA-Za-z零〇一二三四五六七八九十]|第|我家|[东西南北前后]门)|月|[\d一二三四五六七八九十]号?[发到前以换现收之]|什么|哪|吗|不对|错|多少|怎么|没有|门口|楼下|一样|这个|那个|附近|点钟|[点元块天次]$"
)
_HAN_VALUE = (
    r"([^，,。！!？?；;：:\s]{2,40}(?:[，, ][^，,。！!？?；;\s]{0,8}\d[^，,。！!？?；;\s]{0,8}(?:号|栋|幢|座|单元"
    r"|室|楼)\d{0,4})?)"
)
_HAN_CUE = re.compile(rf"(?:地址|住址)(?:是|为|改成|改为|换成|变成|在|就是|填的是|[：:]){{1,2}} ?{_HAN_VALUE}")
_HAN_GOES = re.compile(
    rf"(?:送到|寄到|发到|配送到|快递到|住在|搬到|家在|送去|寄往|送往|改送|改寄到?|上门到){_HAN_VALUE}"
)
_HAN_QUESTION = re.compile(
    r"(?:(?:送|寄|发|邮|配送|快递|搬|派)(?:到|去|往|给|货到)?(?:哪|什么地方|何处)|地址|住(?:在)?(?:哪|什么)|住址"
    r"|哪(?:里|儿)(?:收|取)货)"
    r"[^？?！。\n]{0,14}[？?！。]?\s*$"
)
_HAN_OPENING = re.compile(
    r"[^\w]{0,2}(?:(?:嗯|好的?|就|请|麻烦|那就|您|你|帮我|我(?:家)?|地址|送到|寄到|发到|送|寄|住在|住|在|到"
    r"|是)[，,：: ]?){0,5}"
)
_HAN_ANSWER = re.compile(_HAN_VALUE)
_HAN_TAIL = re.compile(r"(?:(?:就行|就好|就可以|可以|谢谢|的|吧|呢|啊|了|哦|那里|那边|这里|这边)+)$")


def find_announced_addresses(text: str) -> Iterator[tuple[int, int]]:
    """The spans of addresses behind a word for them, and of numbered ones behind "deliver it to", "I live at"."""
    low = lower(text)
    for cue in _SURE_CUE.finditer(low):
        yield from _value((_SURE, _LOWER), text, cue.end())
    for cue in _CUE.finditer(low):
        yield from _value((_SENT,), text, cue.end())
    for pattern in (_HAN_CUE, _HAN_GOES):
        yield from (span for found in pattern.finditer(text) if (span := _han(found[1], found.start(1))))


def find_address_in_answer(question: str, answer: str) -> Iterator[tuple[int, int]]:
    """The span of the address at the start of a turn that answers a question for it."""
    if _QUESTION.search(lower(question[-160:])):
        yield from _value((_NUMBERED, _LOWER), answer, _end(_OPENING, answer))
    if _HAN_QUESTION.search(question[-80:]):
        found = _HAN_ANSWER.match(answer, _end(_HAN_OPENING, answer))
        if found and (span := _han(found[1], found.start(1))):
            yield span


def _end(opening: re.Pattern[str], text: str) -> int:
    found = opening.match(text)
    return found.end() if found else 0


def _value(patterns: tuple[re.Pattern[str], ...], text: str, at: int) -> Iterator[tuple[int, int]]:
    """The address that begins there, if something of that form does: with a number, or of two words."""
    for pattern in patterns:
        if found := pattern.match(text, at):
            value = _TAIL.sub("", found[0])
            words = re.findall(r"[^\W\d_]{2,}", value)
            if any(len(word) > 2 for word in words) and (re.search(r"\d", value) or len(words) > 1):
                yield at, at + len(value)
                return


def _han(value: str, start: int) -> tuple[int, int] | None:
    value = _HAN_TAIL.sub("", value)
    if len(value) < 3 or not _HAN_PLACE.search(value) or _HAN_NO_PLACE.search(value):
        return None
    return (start, start + len(value)) if re.search(r"[\u4e00-\u9fff]", value) else None
