"""The report's opening: how many summaries have no doubtful statement, and the most doubtful ones with their turns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rolesum.dialogue import Dialogue, SummaryStatement
from rolesum.evaluation.predictions import Prediction
from rolesum.evaluation.report.precision import few_note, percent_range, rate_text, support_notes
from rolesum.evaluation.report.tables import ReportSystem
from rolesum.evaluation.support_rates import SupportRate, SupportRates, same_verifier, support_rates
from rolesum.generation.statement_notes import support_text

WORST = 10  # summaries; several systems share them
AT_LEAST = 2  # of a system
LONGEST_TURN = 240  # characters of a turn that are shown


@dataclass(frozen=True)
class DoubtfulSummary:
    """A summary with its least supported statement, and how many more of its statements are doubtful."""

    summary: Prediction
    statement: SummaryStatement
    others: int


def share_of(shown: int, systems: int) -> int:
    """How many of `shown` summaries a system has, where several share the room."""
    return max(AT_LEAST, round(shown / systems))


def most_doubtful(predictions: Sequence[Prediction], count: int) -> list[DoubtfulSummary]:
    """The summaries with the least supported statements, of those with a doubtful one; at most `count`."""
    found = []
    for one in predictions:
        if doubtful := sorted(one.doubtful, key=_support):
            found.append(DoubtfulSummary(one, doubtful[0], len(doubtful) - 1))
    return sorted(found, key=lambda one: _support(one.statement))[:count]


def verdict(systems: Sequence[ReportSystem], dialogues: Sequence[Dialogue]) -> dict[str, Any] | None:
    """The opening as the template takes it; None where no system's statements were verified."""
    rates = {system.name: support_rates(system.evaluation.predictions) for system in systems}
    known = {name: found for name, found in rates.items() if found}
    if not known:
        return None
    verified = [system for system in systems if rates[system.name]]
    first = verified[0].evaluation.metadata
    by_id = {one.id: one for one in dialogues}
    count = share_of(WORST, len(verified))
    worst = [(system.name, one) for system in verified for one in most_doubtful(system.evaluation.predictions, count)]
    worst.sort(key=lambda pair: _support(pair[1].statement))
    columns = {name: _groups(found) for name, found in known.items()}
    headings = list(dict.fromkeys(heading for of in columns.values() for heading in of))
    return {
        "headings": headings,
        "rows": [(name, [of.get(heading) for heading in headings]) for name, of in columns.items()],
        "lead": [(name, rate_text(found.total.as_json())) for name, found in known.items()],
        "notes": _notes(known),
        "different_judges": not all(same_verifier(first, one.evaluation.metadata) for one in verified[1:]),
        "worst": [_worst(name, one, by_id.get(one.summary.id)) for name, one in worst],
    }


def warnings(tables: Sequence[tuple[str, int]]) -> list[str]:
    """What is to be said before any figure: for which roles there are too few summaries. `tables`: role and pairs."""
    few = {role: pairs for role, pairs in tables if few_note(pairs)}
    if len(few) == len(dict(tables)) and len(set(few.values())) == 1:
        return [few_note(tables[0][1], " of each role" if len(few) > 1 else "")]
    return [f"{role}: {few_note(pairs)}" for role, pairs in few.items()]


def _groups(found: SupportRates) -> dict[str, dict[str, Any]]:
    """Heading -> cell: all summaries; each role and each language, where there are several."""
    groups = {"all": found.total}
    for more in (found.roles, found.languages):
        groups |= more if len(more) > 1 else {}
    return {heading: _cell(rate) for heading, rate in groups.items()}


def _cell(rate: SupportRate) -> dict[str, Any]:
    return {
        "share": None if rate.share is None else f"{100 * rate.share:.0f} %",
        "interval": percent_range(rate.interval) if rate.interval else "",
        "counts": f"{rate.without_doubt} of {rate.summaries}",
    }


def _notes(known: Mapping[str, SupportRates]) -> list[str]:
    by_system = {
        name: support_notes({"threshold": found.threshold, "total": found.total.as_json()})
        for name, found in known.items()
    }
    return [(f"{name}: " if len(by_system) > 1 else "") + ". ".join(notes) + "." for name, notes in by_system.items()]


def _worst(system: str, one: DoubtfulSummary, dialogue: Dialogue | None) -> dict[str, Any]:
    turns = []
    for place in sorted(one.statement.turns):
        turn = dialogue.turns[place] if dialogue and place < len(dialogue.turns) else None
        turns.append((place + 1, turn.speaker if turn else "", _shortened(turn.text) if turn else ""))
    return {
        "system": system,
        "id": one.summary.id,
        "role": one.summary.role,
        "said": one.statement.text,
        "support": support_text(one.statement.support, one.summary.support_threshold),
        "others": one.others,
        "turns": turns,
    }


def _support(one: SummaryStatement) -> float:
    return 1.0 if one.support is None else one.support


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TURN else f"{text[:LONGEST_TURN].rstrip()}…"
