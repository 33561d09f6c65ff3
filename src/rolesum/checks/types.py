"""The results of the checks: flagged spans, evidence and counts, as plain data for reports, the server and files."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flag:
    """A span of a summary that a check flags.

    `start` and `end` count characters of the summary; `turns` are the places (from 0) of the dialogue's turns that
    the note refers to, and may be empty; `note` says in one short sentence what is wrong.
    """

    check: str
    start: int
    end: int
    note: str
    turns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """The turns that support one sentence of a summary: positions from 0, best first; none if no turn does.

    `support` is the share, 0 to 1, of the sentence's n-grams that stand in these turns.
    """

    start: int
    end: int
    turns: tuple[int, ...]
    support: float


@dataclass(frozen=True, slots=True)
class CheckedSummary:
    """The result of all checks of one summary.

    `counts` holds (hits, cases) by check: flagged and all numbers, sentences with another role as the subject and
    sentences with any role, repeated and all 4-grams. A corpus's rate is the sum of hits over the sum of cases.
    """

    flags: tuple[Flag, ...]
    evidence: tuple[Evidence, ...]
    counts: Mapping[str, tuple[float, float]]
