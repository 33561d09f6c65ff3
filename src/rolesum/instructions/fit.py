"""Shortening of a dialogue that is too long: drops whole turns from its middle and counts them."""

from collections.abc import Callable

from rolesum.dialogue import Dialogue


def drop_middle(dialogue: Dialogue, fits: Callable[[Dialogue], bool]) -> tuple[Dialogue, int] | None:
    """Drop as few turns from the middle as it takes to fit; return the dialogue and how many turns were dropped.

    None if not even the first and the last turn fit together. `fits` must be monotonic: what holds for a dialogue holds
    for every shorter one (binary search).
    """
    turns = dialogue.turns
    few, many = 0, len(turns) - 2
    if many < 0 or not fits(_without(dialogue, many)):
        return None
    while few < many:
        middle = (few + many) // 2
        if fits(_without(dialogue, middle)):
            many = middle
        else:
            few = middle + 1
    return _without(dialogue, few), few


def _without(dialogue: Dialogue, dropped: int) -> Dialogue:
    kept = len(dialogue.turns) - dropped
    first = (kept + 1) // 2
    return dialogue.with_turns(dialogue.turns[:first] + dialogue.turns[len(dialogue.turns) - (kept - first) :])
