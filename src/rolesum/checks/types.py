"""What a check leaves: flagged spans, evidence, and figures; plain data that reports, services and files share."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flag:
    """A span of a summary that a check objects to.

    `start` and `end` count characters of the summary; `turns` are the places (from 0) of the dialogue's turns that
    the note speaks of, and may be empty; `note` says in one short sentence what is wrong.
    """

    check: str
    start: int
    end: int
    note: str
    turns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """The turns that support one sentence of a summary best: places from 0, best first; none where nothing does.

    `support` is the share, 0 to 1, of the sentence's n-grams that stand in these turns.
    """

    start: int
    end: int
    turns: tuple[int, ...]
    support: float


@dataclass(frozen=True, slots=True)
class CheckedSummary:
    """One summary as the checks see it.

    `counts` holds, by check, (hits, cases): flagged and checked numbers, sentences led by the wrong role and sentences
    that are led by one, repeated 4-grams and all of them. A corpus's rate is the sum of hits over the sum of cases.
    """

    flags: tuple[Flag, ...]
    evidence: tuple[Evidence, ...]
    counts: Mapping[str, tuple[float, float]]
