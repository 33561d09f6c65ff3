"""Summaries with one error, made from true ones: another actor, number, day or outcome, as weak models write them.

The kinds are those of FacEval (Wang et al. 2022) that a rule can make: another actor, another object of the kind of
numbers and days, an outcome turned around, a condition left out.
"""

import random
import re
from collections.abc import Iterator

from rolesum.dialogue import Dialogue

_WEEKDAYS = {
    "en": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "zh": list("一二三四五六日"),
}
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
# What is said, and the opposite or a step too far that stands in its place.
_OUTCOMES = {
    "en": (
        (r"\brefused to\b", "agreed to"),
        (r"\bagreed to\b", "refused to"),
        (r"\brefused\b(?! to)", "accepted"),
        (r"\b(?:accepted|took)\b", "refused"),
        (r"\basked for\b", "got"),
        (r"\boffered\b(?! to)", "gave"),
        (r"\bpromised\b(?! to)", "gave"),
        (r"\bcould not\b", "could"),
        (r"\bcannot\b", "can"),
        (r"\bcould(?! not)\b", "could not"),
        (r"\bwould not\b", "would"),
        (r"\b(was|were|is|are|had|has|did) not\b", r"\1"),
        (r"\bcan(?:not)?\b(?! not)", "cannot"),
        (r"\bmay\b", "will"),
        (r"\bbefore\b", "after"),
        (r"\bafter\b", "before"),
        (r"\bwithout\b", "with"),
        (r"\bstayed open\b", "was settled"),
        (r"\bmoved\b", "canceled"),
        (r"\bcancell?ed\b", "confirmed"),
    ),
    "zh": (
        ("拒绝", "同意"),
        ("不同意", "同意"),
        ("(?<!不)同意", "不同意"),
        ("不能", "能"),
        ("不可以", "可以"),
        ("(?<!不)可以", "不可以"),
        ("(?<![不没])接受", "没有接受"),
        ("没有", "已经"),
        ("没(?!有)", "已经"),
        ("答应", "拒绝"),
        ("不(?=[会用退给收要])", ""),
        ("(?:要求|申请|希望)", "拿到了"),
        ("上午", "下午"),
        ("下午", "上午"),
        ("之前|以前", "之后"),
        ("建议", "已经"),
    ),
}
_CONDITIONS = {
    "en": (r",? (?:if|unless|provided that|only if|once) [^,.;]+(?=[,.;])", r",? but [^,.;]+(?=[,.;])"),
    "zh": ("(?:如果|要是|若|如)[^，。；]+[，](?:就|则)?", "，但[^，。；]+(?=[，。；])"),
}
_ROLE_NAMES = {
    "en": re.compile(r"\b[Tt]he (?:customer|agent|caller|guest|host|client|clerk|owner|tenant|patient|doctor|nurse)\b"),
    "zh": re.compile("用户|客服|顾客|商家|坐席|来电人|客人|店家|病人|医生|护士"),
}


def errors(summary: str, dialogue: Dialogue, drawn: random.Random) -> Iterator[tuple[str, str]]:
    """(kind, the summary with one such error), for each kind that can be made, in an order that is drawn."""
    makers = [_actor, _number, _weekday, _outcome, _condition]
    drawn.shuffle(makers)
    for maker in makers:
        made = list(maker(summary, dialogue))
        if made:
            yield maker.__name__.removeprefix("_"), drawn.choice(made)


def _actor(summary: str, dialogue: Dialogue) -> Iterator[str]:
    """One mention of a speaker replaced by another who is mentioned in the summary or speaks in the dialogue."""
    names = {turn.speaker for turn in dialogue.turns} | set(_ROLE_NAMES[dialogue.language].findall(summary))
    names = {name for name in names if len(name) > 1}
    for name in sorted(names):
        for found in re.finditer(re.escape(name), summary):
            for other in sorted(names - {name}):
                if other.lower() not in name.lower() and name.lower() not in other.lower():
                    yield _replaced(summary, found, _cased(other, found.group(), dialogue.language))


def _number(summary: str, dialogue: Dialogue) -> Iterator[str]:
    """A number replaced by another of the dialogue that is written alike: as many digits, the same signs."""
    said = _NUMBER.findall(" ".join(turn.text for turn in dialogue.turns))
    for found in _NUMBER.finditer(summary):
        form = re.sub(r"\d", "0", found.group())
        for other in sorted({one for one in said if re.sub(r"\d", "0", one) == form and one != found.group()}):
            yield _replaced(summary, found, other)


def _weekday(summary: str, dialogue: Dialogue) -> Iterator[str]:
    """A day of the week replaced by another."""
    days = _WEEKDAYS[dialogue.language]
    pattern = rf"\b({'|'.join(days)})\b" if dialogue.language == "en" else f"(?<=周|期|拜)[{''.join(days)}]"
    for found in re.finditer(pattern, summary):
        yield from (_replaced(summary, found, day) for day in days if day != found.group())


def _outcome(summary: str, dialogue: Dialogue) -> Iterator[str]:
    """An outcome turned around, or what was asked told as got."""
    for pattern, instead in _OUTCOMES[dialogue.language]:
        for found in re.finditer(pattern, summary):
            yield _replaced(summary, found, found.expand(instead))


def _condition(summary: str, dialogue: Dialogue) -> Iterator[str]:
    """A condition left out."""
    for pattern in _CONDITIONS[dialogue.language]:
        for found in re.finditer(pattern, summary):
            yield _replaced(summary, found, "")


def _replaced(text: str, found: re.Match[str], instead: str) -> str:
    return text[: found.start()] + instead + text[found.end() :]


def _cased(name: str, instead_of: str, language: str) -> str:
    """A name as it stands in a sentence: "The agent" at its start, "the agent" inside; a label as it is."""
    if language != "en" or name[:4].lower() != "the ":
        return name
    return name[0].upper() + name[1:] if instead_of[0].isupper() else name[0].lower() + name[1:]
