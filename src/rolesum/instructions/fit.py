"""Shortening a dialogue that is too long by whole turns from its middle, counted: never cut in silence."""

from collections.abc import Callable

from rolesum.dialogue import Dialogue


def drop_middle(dialogue: Dialogue, fits: Callable[[Dialogue], bool]) -> tuple[Dialogue, int] | None:
    """The dialogue with as few turns dropped from its middle as it takes to fit, and how many were dropped.

    None where not even the first and the last turn fit together. `fits` must hold for every shorter dialogue once it
    holds for a longer one.
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
