"""Replaces the sentences of a summary with a doubtful statement by what the dialogue says, word for word.

Those turns of the summary's role are quoted that stand for the dialogue best (key_turns.py). A quote says what was
said, not that it is so: a speaker may have been wrong, or put right later. Clauses of such a sentence that are not
doubtful go too: half of those that were kept were not true.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rolesum.checks.index import DialogueIndex
from rolesum.checks.sentences import Sentence, split_sentences
from rolesum.dialogue import Dialogue, RoleSummary, SummaryQuote, SummaryStatement
from rolesum.formats.shown_times import shown_times
from rolesum.generation.dropping import drop_doubtful, move_statement
from rolesum.generation.excerpts import excerpt, speaker_label
from rolesum.generation.key_turns import MOST_SUPERSEDED_MATTER, TurnReading, rank_turns, user_matter
from rolesum.roles import USER

# The characters that a summary of one side may have with its quotes, and that of the whole dialogue; one turn is quoted
# in any case, and two where no sentence stays and there are four.
_SIDE, _WHOLE = {"en": 450, "zh": 160}, {"en": 520, "zh": 200}
_FEWEST, _MOST = 2, 5
# Where the model has read the turns: so many times those characters, or this share of the dialogue's if that is more.
_MORE_ROOM, _SHARE = 1.3, 0.35
# The least value (TurnReading.value) of a turn that is not needed; a lower one where the probability that it was taken
# back is at most _LASTING.
_LEAST_VALUE, _LEAST_LASTING, _LASTING = 0.3, 0.2, 0.05
# An answer of so many characters at most says little without the turn before it; _TO_QUESTION, where that turn ends
# with a question.
_SHORT, _TO_QUESTION = {"en": 40, "zh": 12}, {"en": 100, "zh": 30}
_WORD, _QUESTION = re.compile(r"\w"), re.compile(r"[?？][\W_]*$")


def quote_doubtful(
    summary: RoleSummary, dialogue: Dialogue, readings: Sequence[TurnReading] | None = None
) -> RoleSummary:
    """The summary with quotes in place of its sentences with a doubtful statement, whose statements are its `dropped`.

    `dialogue` is what the model was shown, and `readings` what it says of each turn, if it does. The quotes stand where
    the first of the sentences stood. Where nothing would stay, the summary is returned as it is.
    """
    if not summary.doubtful:
        return summary
    sentences = split_sentences(summary.text, dialogue.language)
    own_of = [[one for one in summary.statements if of.start <= one.start < of.end] for of in sentences]
    goes = _which_go(summary, sentences, own_of)
    left_out = [one.text for own, gone in zip(own_of, goes, strict=True) if gone for one in own]
    stays = sum(len(one.text) for one, gone in zip(sentences, goes, strict=True) if not gone)
    quotes = _quotes(summary.role, dialogue, left_out, stays, not goes[0], readings)
    text, end = "", 0
    kept, dropped, placed = list[SummaryStatement](), list[SummaryStatement](), list[SummaryQuote]()
    for sentence, own, gone in zip(sentences, own_of, goes, strict=True):
        gap = summary.text[end : sentence.start] if text or not end else ""
        end = sentence.end
        if not gone:
            gap = gap or _space(text, dialogue.language)
            kept += [move_statement(one, len(text) + len(gap) - sentence.start) for one in own]
            text += gap + sentence.text
            continue
        dropped += [replace(one, start=len(text), end=len(text)) for one in own]
        if not placed:
            for speaker, words, quote in quotes:
                text += _space(text, dialogue.language)
                placed.append(replace(quote, start=len(text), end=len(text) + len(speaker) + len(words)))
                text += speaker + words
    if not text:
        return summary
    return replace(summary, text=text, statements=tuple(kept), dropped=tuple(dropped), quotes=tuple(placed))


def _which_go(
    summary: RoleSummary, sentences: Sequence[Sentence], own_of: Sequence[Sequence[SummaryStatement]]
) -> list[bool]:
    """Of each sentence, whether it has a doubtful statement, or needs one that has: because of a pronoun."""
    found = list[bool]()
    for number, own in enumerate(own_of):
        needs_it = number > 0 and found[-1] and any(one.text.startswith(sentences[number - 1].text) for one in own[:1])
        found.append(needs_it or any(map(summary.is_doubtful, own)))
    return found


def _quotes(
    role: str,
    dialogue: Dialogue,
    statements: Sequence[str],
    stays: int,
    has_beginning: bool,
    readings: Sequence[TurnReading] | None,
) -> list[tuple[str, str, SummaryQuote]]:
    """The turns that stand for `statements`, beside `stays` characters of the summary, in the dialogue's order.

    They are at most half of the turns, and where sentences stay, at most as many as the statements; short answers bring
    further ones along. The user's matter is added unless the summary `has_beginning`, its first sentence: for other
    roles, and where the turns were read for the user too. Of each the speaker's label, unless it is that of the quote
    before, and the words.
    """
    index, times = DialogueIndex(dialogue), shown_times(dialogue)
    language = "zh" if dialogue.language == "zh" else "en"
    with_words = {place for place, turn in enumerate(dialogue.turns) if _WORD.search(turn.text)}
    own, user = (with_words & index.turns_by_role.get(one, set()) for one in (role, USER))
    places = sorted(own or with_words)
    half = max(1, len(places) // 2)
    most = half if readings else min(half, _MOST)
    ranked = rank_turns(index, places, statements, readings)[: min(most, len(statements)) if stays else most]
    if user and not has_beginning and (role != USER or readings):  # an answer needs its question
        first = user_matter(index, sorted(user), readings)
        ranked = [first, *(place for place in ranked if place != first)]
    room = float((_SIDE if own else _WHOLE)[language])
    if readings:
        room = max(_MORE_ROOM * room, _SHARE * sum(len(turn.text) for turn in dialogue.turns))
    fewest = 1 if stays else _FEWEST
    words = _words_that_fit(ranked, dialogue, " ".join(statements), room - stays, fewest, most + 1, readings)
    found, before = [], ""
    for place in sorted(words):
        speaker = dialogue.turns[place].speaker
        label = "" if speaker == before else speaker_label(speaker, language)
        before = speaker
        found.append((label, f"“{words[place]}”", SummaryQuote(0, 0, place, times[place] if times else "")))
    return found


def _words_that_fit(
    ranked: Sequence[int],
    dialogue: Dialogue,
    statements: str,
    room: float,
    fewest: int,
    most: int,
    readings: Sequence[TurnReading] | None,
) -> dict[int, str]:
    """The words to quote by turn: of as many of the ranked turns as have `room`, in characters, and of `fewest` anyway.

    Where the turns were read, those of a low value are left out, and a short answer brings the turn before it along,
    unless that makes more than `most`.
    """
    language = "zh" if dialogue.language == "zh" else "en"
    chosen: dict[int, str] = {}
    for place in ranked:
        if place in chosen:
            continue
        is_needed = len(chosen) < fewest
        if readings and not is_needed and not _is_key_turn(readings[place]):
            continue
        words = {place: excerpt(dialogue.turns[place].text, statements, language)}
        fits = len(chosen) + 2 <= most and place > 0 and len(words[place]) <= _longest_answer(place, dialogue, language)
        if readings and fits and _may_precede(place, dialogue, readings):
            words[place - 1] = excerpt(dialogue.turns[place - 1].text, statements, language)
        room -= sum(len(text) for one, text in words.items() if one not in chosen)
        if room >= 0 or is_needed:
            chosen |= words
    return chosen


def _is_key_turn(turn: TurnReading) -> bool:
    """Whether it is probable enough that the turn holds the matter or an end, and was not taken back."""
    return turn.value >= (_LEAST_LASTING if turn.superseded <= _LASTING else _LEAST_VALUE)


def _longest_answer(place: int, dialogue: Dialogue, language: str) -> int:
    """The characters that the turn may have at most to need the one before it."""
    return (_TO_QUESTION if _QUESTION.search(dialogue.turns[place - 1].text) else _SHORT)[language]


def _may_precede(place: int, dialogue: Dialogue, readings: Sequence[TurnReading]) -> bool:
    """Whether the turn before `place` may be quoted with it: another speaker's, with words, that was not taken back."""
    return (
        place > 0
        and dialogue.turns[place - 1].speaker != dialogue.turns[place].speaker
        and bool(_WORD.search(dialogue.turns[place - 1].text))
        and readings[place - 1].superseded <= MOST_SUPERSEDED_MATTER
    )


def _space(text: str, language: str) -> str:
    return "" if not text or text[-1].isspace() or language == "zh" else " "


# Changes a summary's text, given the dialogue that the model was shown and what it says of the turns, if it does.
Rewrite = Callable[[RoleSummary, Dialogue, Sequence[TurnReading] | None], RoleSummary]

# What becomes of a summary by the modes of --verify that change its text.
REWRITES: Mapping[str, Rewrite] = {
    "quote": quote_doubtful,
    "drop": lambda summary, dialogue, _: drop_doubtful(summary, dialogue.language),
}
