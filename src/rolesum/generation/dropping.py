"""Leaves doubtful statements out of a summary: whole sentences, and clauses where what remains is a sentence.

A clause goes alone only if the rest of its sentence, split by the rules of checks/statements.py, gives the very
statements that it gave before, so that no verb gets another subject, and if no verb may lose an object that it shares
("found and reserved a room"). Else the whole sentence goes. A sentence goes too if it begins with a statement that was
verified with the sentence before it, because of a pronoun, and that sentence was left out.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import compress, pairwise

from rolesum.checks.clauses_en import ends_with_verb
from rolesum.checks.sentences import Sentence, split_sentences
from rolesum.checks.statements import split_statements
from rolesum.dialogue import RoleSummary, SummaryStatement

_CLOSING = re.compile(r"[.!?…。！？]+[\"'”’)\]」』）]*$")
_PLAIN_COMMA = re.compile(r"\s*,\s*")

Statements = Sequence[SummaryStatement]


def drop_doubtful(summary: RoleSummary, language: str) -> RoleSummary:
    """The summary without its doubtful statements, which are its `dropped`; `language` is "en" or "zh".

    The statements that stay have their new places. Where nothing would stay, the summary is returned as it is.
    """
    doubtful = set(summary.doubtful)
    if not doubtful:
        return summary
    text, end, left_out = "", 0, None
    kept, dropped = list[SummaryStatement](), list[SummaryStatement]()
    for sentence in split_sentences(summary.text, language):
        own = [one for one in summary.statements if sentence.start <= one.start < sentence.end]
        gap = summary.text[end : sentence.start] if text or not end else ""
        end = sentence.end
        needs_it = left_out is not None and any(one.text.startswith(left_out) for one in own[:1])
        rest = None if needs_it else _remainder(sentence, own, [one not in doubtful for one in own], language)
        left_out = sentence.text if rest is None else None
        if rest is None:
            dropped += [replace(one, start=len(text), end=len(text)) for one in own]
            continue
        begin = len(text) + len(gap)
        text += gap + rest[0]
        kept += [move_statement(one, begin) for one in rest[1]]
        dropped += [replace(one, start=len(text), end=len(text)) for one in own if one in doubtful]
    if not text:
        return summary
    return replace(summary, text=text, statements=tuple(kept), dropped=tuple(dropped))


def move_statement(one: SummaryStatement, by: int) -> SummaryStatement:
    """The statement at a place `by` so many characters later."""
    return replace(one, start=one.start + by, end=one.end + by)


def _remainder(
    sentence: Sentence, own: Statements, stays: Sequence[bool], language: str
) -> tuple[str, list[SummaryStatement]] | None:
    """What is left of a sentence, and its statements with their places in that; None if the whole sentence goes."""
    if all(stays):
        return sentence.text, [move_statement(one, -sentence.start) for one in own]
    if not any(stays):
        return None
    for one, (stay, next_stays) in zip(own, pairwise(stays), strict=False):
        if stay and not next_stays and language == "en" and ends_with_verb(_words(sentence, one.start, one.end)):
            return None
    rest = _joined(sentence, own, stays)
    before, after = split_statements(sentence.text, language), split_statements(rest, language)
    if len(before) != len(own):
        return None
    if [_bare(one.text) for one in after] != [_bare(one.text) for one in compress(before, stays)]:
        return None
    left = zip(compress(own, stays), after, strict=True)
    return rest, [replace(one, start=span.start, end=span.end) for one, span in left]


def _joined(sentence: Sentence, own: Statements, stays: Sequence[bool]) -> str:
    """The clauses that stay, each behind what stood before it, as a sentence."""
    places = [place for place, stay in enumerate(stays) if stay]
    text = ""
    for place in places:
        joint = _words(sentence, own[place - 1].end, own[place].start) if text else ""
        if place == places[-1] and _PLAIN_COMMA.fullmatch(joint):  # the last of a list
            joint = " and "
        text += joint + _words(sentence, own[place].start, own[place].end)
    closing = _CLOSING.search(sentence.text)
    if closing and not _CLOSING.search(text):
        text += closing.group()
    return text[:1].upper() + text[1:]


def _words(sentence: Sentence, start: int, end: int) -> str:
    """What stands between two places of the summary, which are of this sentence."""
    return sentence.text[start - sentence.start : end - sentence.start]


def _bare(statement: str) -> str:
    return _CLOSING.sub("", statement)
