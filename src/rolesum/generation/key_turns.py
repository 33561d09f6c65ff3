"""Ranks the turns of a dialogue by how well they stand for it, where a summary quotes them.

A turn's score is the log-odds that a reader would choose it: a logistic regression of what readers chose in 180
dialogues (benchmarks/key_turns.py). They choose the first turn of the user's side, which says what is wanted, and the
late turns that say much, which hold the outcome. What the agent's side says early is often taken back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rolesum.checks.evidence import ngram_scores
from rolesum.checks.index import DialogueIndex
from rolesum.roles import USER


@dataclass(frozen=True, slots=True)
class TurnFeatures:
    """What the score of a turn is made of.

    Attributes:
        share: The largest weighted share, 0 to 1, of a statement's n-grams that stand in the turn.
        length: Its n-grams, by those of the dialogue's longest turn: 0 to 1.
        position: Its place among the turns that may be quoted, 0 to 1.
        is_user: Whether it is the user's side that speaks.
        is_first: Whether it is the first of the turns that may be quoted.
    """

    share: float
    length: float
    position: float
    is_user: bool
    is_first: bool

    def values(self) -> tuple[float, ...]:
        """The values that WEIGHTS multiplies."""
        user = float(self.is_user)
        return 1.0, self.share, self.length, self.position, user, user * self.position, user * self.is_first


# Of 1, share, length, position, is_user, is_user × position, is_user × is_first.
WEIGHTS = (-5.08, 1.55, 2.87, 4.49, 1.61, -1.74, 2.34)


def turn_features(index: DialogueIndex, places: Sequence[int], statements: Sequence[str]) -> list[TurnFeatures]:
    """The features of the turns at `places`, in the dialogue's order, where they are to stand for `statements`."""
    dialogue = index.dialogue
    shares = ngram_scores(statements, index)
    longest = max(map(len, index.turn_ngrams), default=0) or 1
    return [
        TurnFeatures(
            max((of[place] for of in shares), default=0.0),
            len(index.turn_ngrams[place]) / longest,
            number / max(1, len(places) - 1),
            dialogue.roles.get(dialogue.turns[place].speaker) == USER,
            number == 0,
        )
        for number, place in enumerate(places)
    ]


def rank_turns(index: DialogueIndex, places: Sequence[int], statements: Sequence[str]) -> list[int]:
    """The turns at `places`, those with the highest scores first."""
    features = turn_features(index, places, statements)
    scores = [sum(w * value for w, value in zip(WEIGHTS, one.values(), strict=True)) for one in features]
    return [places[number] for number in sorted(range(len(places)), key=lambda number: (-scores[number], number))]


def first_matter(index: DialogueIndex, places: Sequence[int]) -> int:
    """The first of the turns at `places` that is no mere greeting: with a third of the n-grams of the longest."""
    longest = max(len(index.turn_ngrams[place]) for place in places)
    return next(place for place in places if 3 * len(index.turn_ngrams[place]) >= longest)
