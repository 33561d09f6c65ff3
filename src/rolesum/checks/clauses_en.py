"""Split an English sentence of a summary into clauses, by lists of verbs."""

import re
from collections.abc import Iterator

_BE_HAVE = "is are was were has have had isn't aren't wasn't weren't hasn't haven't hadn't be been being"
_MODAL = (
    "will would can could shall should may might must does do did won't wouldn't can't cannot couldn't shouldn't "
    "doesn't don't didn't"
)
# Past forms of irregular verbs; those of the first list are no participles.
_PAST_ONLY = (
    "ate began blew broke came chose drank drew drove fell flew forgot froze gave grew hid knew mistook overtook "
    "ran rang rode rose saw shook showed spoke stole swam sang sank threw took undertook went withdrew woke wore "
    "wrote"
)
_PAST_OR_PARTICIPLE = (
    "bought brought built burnt caught cost cut felt found fought got heard held hit hurt kept laid led left lent "
    "let lost made meant met paid put read said sat sent set shut slept sold spent stood stuck swept taught "
    "thought told understood won"
)
# Third-person forms of the present that are no plurals.
_PRESENT = (
    "accepts admits agrees allows apologizes asks becomes begins believes brings buys comes confirms decides "
    "declines denies describes does ends expires explains finds follows gets gives goes has hates insists invites "
    "is keeps knows lends lets likes lives lacks loses loves makes meets mends passes pays prefers puts reads "
    "recommends refuses rejects remains reminds replaces runs says seems sees sells sends sits speaks stays "
    "suggests takes tells thinks tries understands wants warns writes"
)
# Regular past forms that stand without an object, and seldom describe the noun before them.
_INTRANSITIVE = "agreed arrived asked expired failed followed happened hoped refused remained stayed wanted worked"
# Verbs whose clause a "that" may begin.
_REPORTING = (
    "accepted acknowledged added admitted agreed announced answered argued asked assured believed claimed "
    "clarified complained conceded confirmed decided declined denied described discovered emphasized explained "
    "feared felt found guaranteed heard hoped informed insisted mentioned noted noticed objected offered pointed "
    "promised proposed protested realized recalled recommended refused rejected reminded repeated replied "
    "reported requested responded said saw showed stated stressed suggested suspected thought told wanted warned "
    "wrote accepts admits agrees asks believes claims confirms decides denies explains feels finds hopes insists "
    "notes offers promises recommends refuses replies reports says suggests thinks tells wants warns writes"
)
_SUBORDINATE = re.compile(
    r"\b(?:if|unless|until|whether|when|whenever|while|because|since|although|though|who|whom|whose|which|where|why|how|"
    r"what|so that|as long as|in case|provided)\b",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"\W*(?:if|unless|once|when|whenever|because|since|although|though|while|until|after|before|as|provided|should)\b",
    re.IGNORECASE,
)
_QUESTION_WORD = re.compile(
    r"(?:if|unless|whether|who|whom|whose|which|where|why|how|what|when|not|only|also for)\b", re.IGNORECASE
)
_ADVERB = (
    r"(?:(?:also|then|later|finally|now|still|only|first|instead|even|again|therefore|thus|so|already|just|never|"
    r"in turn|\w+ly)\s+)?"
)
# What may follow a regular past form that is a verb, and seldom one that describes the noun before it.
_OBJECT = (
    r"(?:(?:the|a|an|that|to|it|him|her|them|his|their|no|not|whether|if|about|nothing|all|both|two|three)\b|"
    r"[A-Z0-9$£€])"
)


def _words(*lists: str) -> str:
    return "|".join(re.escape(word) for word in " ".join(lists).split())


_AUXILIARY = rf"(?:{_words(_BE_HAVE, _MODAL)})"
_REGULAR = r"(?!(?:need|bed|shed|feed|seed|speed|deed|hundred|united|indeed|exceed|red)\b)[a-z]{2,}ed"
_FINITE = re.compile(
    rf"\b(?:(?P<sure>{_words(_BE_HAVE, _MODAL, _PAST_ONLY, _PRESENT, _INTRANSITIVE)})|"
    rf"(?P<either>{_words(_PAST_OR_PARTICIPLE)}|{_REGULAR}))\b"
)
_HEAD_VERB = re.compile(rf"{_ADVERB}(?P<verb>{_FINITE.pattern})")
_SHARED = re.compile(rf"(?:{_words(_BE_HAVE)})\b")
_REPORT_THAT = re.compile(rf"^.*?\b(?:{_words(_REPORTING)})\b(?:\s+[\w'’]+){{0,3}}?\s+that\s+")
_BOUNDARY = re.compile(r"(?P<comma>[,;]?)\s+(?:and|but)\s+|(?P<mark>[;,])\s+")
_DETERMINER = re.compile(r"(?:the|a|an|this|that|its|his|her|their|no|any|each|every|some)$", re.IGNORECASE)
_PREPOSITION = re.compile(
    r"(?:about|after|against|at|before|behind|by|during|for|from|in|instead|of|on|over|to|under|with|within|without)\b",
    re.IGNORECASE,
)
_LONGEST_SUBJECT = 9  # words


def split_clauses(sentence: str) -> Iterator[tuple[int, int, str]]:
    """Yield each clause of a sentence: its start and end in the sentence, and its text as a sentence of its own."""
    start, carried = 0, ""  # where the clause begins, and what it gets in front
    for boundary in _BOUNDARY.finditer(sentence) if not _CONDITION.match(sentence) else ():
        own, right = sentence[start : boundary.start()], sentence[boundary.end() :]
        left = carried + own
        front = _front(left, right, boundary) if re.search(r"\w", own) else None
        if front is None:
            continue
        yield start, boundary.start(), _as_sentence(left)
        start, carried = boundary.end(), front
    yield start, len(sentence), _as_sentence(carried + sentence[start:])


def ends_with_verb(clause: str) -> bool:
    """Whether the last word of a clause is a verb, whose object may stand in the next one: "found and reserved one"."""
    return any(verb.end() == len(clause) for verb in _FINITE.finditer(clause))


def _front(left: str, right: str, boundary: re.Match[str]) -> str | None:
    """What the clause on the right gets in front, "" where it has its own subject; None where none begins there."""
    subject = _subject(left)
    if subject is None:
        return "" if boundary["mark"] == ";" and _has_subject(right) else None
    plain_comma, joined = boundary["mark"] == ",", not (boundary["comma"] or boundary["mark"])
    frame = _REPORT_THAT.match(left)
    if right.startswith("that ") and frame:
        return left[: frame.end()].removesuffix("that ") if _FINITE.search(right) else None
    if _QUESTION_WORD.match(right):
        return None
    if joined and _SUBORDINATE.search(left):
        return None
    verb = _HEAD_VERB.match(right)
    if verb:
        return subject if _goes_on(left, verb, right, plain_comma, joined) else None
    if plain_comma or not _has_subject(right):
        return None
    if not joined:
        return ""
    if re.search(r"\bthat\b", left):
        return left[: frame.end()] if frame else None
    return ""


def _subject(left: str) -> str | None:
    """The words before the first finite verb of a clause, with the space behind them; None where there is no verb."""
    for verb in _FINITE.finditer(left):
        before = left[: verb.start()].rpartition(", ")[2]  # behind "For the casserole, "
        words = before.split()
        if not words or _PREPOSITION.match(before):
            continue
        adjective = verb["either"] and (_DETERMINER.match(words[-1]) or _describes(left, verb))
        if not adjective:
            return re.sub(rf"\s+{_ADVERB}$", " ", before) if len(words) <= _LONGEST_SUBJECT else None
    return None


def _describes(text: str, verb: re.Match[str]) -> bool:
    """Whether a past form is a participle behind its noun: "a parcel marked as delivered", "a fee charged by"."""
    return re.match(r"\s+(?:as|by)\b", text[verb.end() :]) is not None


def _goes_on(left: str, verb: re.Match[str], right: str, plain_comma: bool, joined: bool) -> bool:
    """Whether a verb at the head of the right side has the subject of the left side."""
    word = verb["verb"]
    auxiliary = re.fullmatch(_AUXILIARY, word) is not None
    reporting = re.fullmatch(_words(_REPORTING), word) is not None
    if verb["either"] and _describes(right, verb):
        return False
    if re.search(r"\bthat\b", left) and (
        (auxiliary and (joined or _SHARED.fullmatch(word))) or (joined and not reporting)
    ):
        return False  # the subject may be the one behind "that"
    if plain_comma:  # a list of what somebody did
        return not re.fullmatch(_words(_BE_HAVE), word) and " and " in right
    shares = verb["either"] and joined and _SHARED.search(left)  # "was lost and found"
    return not shares


def _has_subject(right: str) -> bool:
    """Whether a text begins with a subject and its verb."""
    head = re.split(r"[,;:]|\s(?:and|but|or|to|that|who|which|whose|where|when|if)\s", right, maxsplit=1)[0]
    for verb in _FINITE.finditer(head):
        before = head[: verb.start()].split()
        if not before or len(before) > _LONGEST_SUBJECT:
            return False
        if verb["sure"] or (re.match(rf"\s+{_OBJECT}", right[verb.end() :]) and not _DETERMINER.match(before[-1])):
            return (
                re.match(
                    r"[A-Z0-9$£€]|(?:the|a|an|no|any|all|both|each|it|he|she|they|there|this|that|nothing|nobody|"
                    r"somebody|everybody|one|two|three|four|five|six|his|her|their|its)\b",
                    head,
                )
                is not None
            )
    return False


def _as_sentence(clause: str) -> str:
    clause = clause.strip()
    return clause[:1].upper() + clause[1:] + ("" if re.search(r"[.!?…][\"'”’)]*$", clause) else ".")
