"""A dialogue as premises: runs of a few turns, each turn a line with its speaker."""

from dataclasses import dataclass

from rolesum.dialogue import Dialogue


@dataclass(frozen=True, slots=True)
class TurnWindow:
    """The text of some turns; `turns` are their places in the dialogue, from 0."""

    turns: tuple[int, ...]
    text: str


def turn_windows(dialogue: Dialogue, longest: int, stride: int = 1) -> list[TurnWindow]:
    """All runs of 1 to `longest` turns that begin at every `stride`-th turn; the last turn is in a run of each size.

    A dialogue of fewer turns is its own longest run.
    """
    lines = [f"{turn.speaker}: {turn.text}" for turn in dialogue.turns]
    found = []
    for size in range(1, min(longest, len(lines)) + 1):
        last = len(lines) - size
        for begin in sorted({*range(0, last + 1, stride), last}):
            turns = tuple(range(begin, begin + size))
            found.append(TurnWindow(turns, "\n".join(lines[begin : begin + size])))
    return found
