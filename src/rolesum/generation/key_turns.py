"""Ranks the turns of a dialogue by how well they stand for it, where a summary quotes them.

Where the model has said of each turn what it is (turn_probe.py), a turn's score is by that. Else it is the log-odds
that a reader would choose the turn: a logistic regression of what readers chose in 180 dialogues
(benchmarks/key_turns.py). They choose the first turn of the user's side, which says what is wanted, and the late turns
that say much, which hold the outcome. What the agent's side says early is often taken back.
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


# A turn that was taken back more probably than that is quoted only where there is no other. What is wanted has a higher
# limit: readers seldom find a first request misleading, and miss it where it is not there.
MOST_SUPERSEDED, MOST_SUPERSEDED_MATTER = 0.15, 0.4


@dataclass(frozen=True, slots=True)
class TurnReading:
    """Three probabilities, 0 to 1, of what a turn is, by a model that has read the whole dialogue.

    Attributes:
        matter: That it says what the user's side wants.
        end: That it says how a matter ended: what the user's side decides, or the agent's side answers, last.
        superseded: That it would mislead, as it was taken back or changed later.
    """

    matter: float
    end: float
    superseded: float

    @property
    def value(self) -> float:
        """The probability that it is one of the first two, and was not taken back."""
        return (1 - (1 - self.matter) * (1 - self.end)) * (1 - self.superseded)


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


def rank_turns(
    index: DialogueIndex,
    places: Sequence[int],
    statements: Sequence[str],
    readings: Sequence[TurnReading] | None = None,
) -> list[int]:
    """The turns at `places` that may be quoted, those with the highest scores first; all, where nothing is read.

    Args:
        index: The dialogue's.
        places: Places of turns, in the dialogue's order.
        statements: Those for which the turns are to stand.
        readings: What the model says of each turn of the dialogue, if it does.
    """
    if readings is not None:
        lasting = _lasting(places, readings, MOST_SUPERSEDED)
        return sorted(lasting, key=lambda place: -readings[place].value)
    features = turn_features(index, places, statements)
    scores = [sum(w * value for w, value in zip(WEIGHTS, one.values(), strict=True)) for one in features]
    return [places[number] for number in sorted(range(len(places)), key=lambda number: (-scores[number], number))]


def user_matter(index: DialogueIndex, places: Sequence[int], readings: Sequence[TurnReading] | None = None) -> int:
    """That one of the user's turns at `places` which says best what is wanted.

    Where nothing is read, it is the first that is no mere greeting: with a third of the n-grams of the longest.
    """
    if readings is not None:
        lasting = _lasting(places, readings, MOST_SUPERSEDED_MATTER)
        return max(lasting, key=lambda place: readings[place].matter * (1 - readings[place].superseded))
    longest = max(len(index.turn_ngrams[place]) for place in places)
    return next(place for place in places if 3 * len(index.turn_ngrams[place]) >= longest)


def _lasting(places: Sequence[int], readings: Sequence[TurnReading], limit: float) -> list[int]:
    """The places of turns that were taken back no more probably than `limit`; all places, where none is left."""
    return [place for place in places if readings[place].superseded <= limit] or list(places)
