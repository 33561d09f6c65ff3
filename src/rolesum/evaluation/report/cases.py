"""Select the summaries that the report shows: doubtful, worst, median, best and flagged ones, and large changes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rolesum.checks.types import CheckedSummary
from rolesum.dialogue import Dialogue, detect_language
from rolesum.evaluation.breakdown import main_measure
from rolesum.evaluation.predictions import Prediction
from rolesum.evaluation.report.marks import NO_CHECKS, mark_sentences, matching_spans
from rolesum.evaluation.report.tables import ReportSystem, all_roles
from rolesum.evaluation.report.verdict import AT_LEAST, WORST, most_doubtful, share_of
from rolesum.generation.statement_notes import support_text
from rolesum.metrics.scorers import HEADINGS, Score

DOUBTFUL = "doubtful"  # a kind of case, and beside the names of the checks in the filter
_IN = (DOUBTFUL, "flagged")  # said of a case in a system; the other kinds of one of a system
# How many of each kind a page of one system shows for a role; several systems share them.
SHOWN = {DOUBTFUL: WORST, "worst": 8, "median": 6, "best": 4, "flagged": 8}
SHOWN_CHANGES = 6


@dataclass(frozen=True)
class SystemColumn:
    """One system's summaries for one role, all in the order of its predictions."""

    system: int
    predictions: tuple[Prediction, ...]
    values: Sequence[float]
    figures: Mapping[str, Sequence[float]]
    checked: Sequence[CheckedSummary]
    places: Mapping[str, int] = field(repr=False)


@dataclass
class SelectionReason:
    """Why a summary is shown: a kind with the system that it is said of, and the sentence for the reader."""

    kind: str
    system: int
    why: str


def select_cases(
    systems: Sequence[ReportSystem], dialogues: Sequence[Dialogue], changes: Sequence[tuple[str, str]] = ()
) -> list[dict[str, Any]]:
    """For each role its cases, as the template takes them. `changes` are pairs of names, A and B, compared."""
    by_id = {one.id: one for one in dialogues}
    names = [system.name for system in systems]
    sections = []
    for place, role in enumerate(all_roles(systems)):
        columns = [_column(number, system, role) for number, system in enumerate(systems)]
        columns = [one for one in columns if one.predictions]
        chosen: dict[str, list[SelectionReason]] = {}
        for identity, choice in (*_by_kind(columns, names), *_by_change(columns, names, changes)):
            chosen.setdefault(identity, []).append(choice)
        cases = [_case(place, identity, why, by_id.get(identity), columns, names) for identity, why in chosen.items()]
        total = len(dict.fromkeys(one.id for column in columns for one in column.predictions))
        measure = next(main_measure(score) for score in _scores(systems, role))
        sections.append({"role": role, "cases": cases, "total": total, "measure": HEADINGS.get(measure, measure)})
    return sections


def signed(value: float, digits: int) -> str:
    """A difference with its sign; one that rounds to nothing has none."""
    number_text = f"{value:+.{digits}f}"
    return number_text[1:] if not float(number_text) else number_text.replace("-", "−")


def _scores(systems: Sequence[ReportSystem], role: str) -> Iterator[Score]:
    return (system.evaluation.scores[role] for system in systems if role in system.evaluation.scores)


def _column(number: int, system: ReportSystem, role: str) -> SystemColumn:
    predictions = tuple(system.evaluation.predictions_for(role))
    score = system.evaluation.scores.get(role)
    found = system.evaluation.checks.get(role)
    checked = found.checked if found else [NO_CHECKS] * len(predictions)
    figures = score.per_pair if score else {}
    values = score.per_pair[main_measure(score)] if score else []
    places = {one.id: place for place, one in enumerate(predictions)}
    return SystemColumn(number, predictions, values, figures, checked, places)


def _by_kind(columns: Sequence[SystemColumn], names: Sequence[str]) -> Iterator[tuple[str, SelectionReason]]:
    """Kind by kind, system by system: ids with the reason for each."""
    for kind in SHOWN:
        for column in columns:
            of = f" {'in' if kind in _IN else 'of'} {names[column.system]}" if len(names) > 1 else ""
            for place in _places(kind, column, len(columns)):
                yield column.predictions[place].id, SelectionReason(kind, column.system, f"{kind}{of}")


def _places(kind: str, column: SystemColumn, systems: int) -> list[int]:
    """The places of the summaries of one kind."""
    count = share_of(SHOWN[kind], systems)
    if kind == DOUBTFUL:
        return [column.places[one.summary.id] for one in most_doubtful(column.predictions, count)]
    return _flagged(column.checked, count) if kind == "flagged" else _ranked(column.values, systems)[kind]


def _ranked(values: Sequence[float], systems: int) -> dict[str, list[int]]:
    """Places of the worst, the median and the best values; none is two of these."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    share = {kind: share_of(count, systems) for kind, count in SHOWN.items()}
    worst = min(share["worst"], -(-len(order) // 3))
    best = min(share["best"], len(order) // 3)
    rest = len(order) - worst - best
    whole = len(order) <= share["worst"] + share["median"] + share["best"]
    median = rest if whole else min(share["median"], rest)
    first = min(max(worst, (len(order) - median) // 2), len(order) - best - median)
    return {
        "worst": order[:worst],
        "median": order[first : first + median],
        "best": order[len(order) - best :][::-1],
    }


def _flagged(checked: Sequence[CheckedSummary], count: int) -> list[int]:
    """Places of summaries with flags: for each check in turn one that has it, until there are enough."""
    by_check: dict[str, list[int]] = {}
    for place, one in enumerate(checked):
        for check in dict.fromkeys(flag.check for flag in one.flags):
            by_check.setdefault(check, []).append(place)
    chosen: dict[int, None] = {}
    queues = [iter(places) for places in by_check.values()]
    while queues and len(chosen) < count:
        for queue in list(queues):
            fresh = next((place for place in queue if place not in chosen), None)
            if fresh is None:
                queues.remove(queue)
            elif len(chosen) < count:
                chosen[fresh] = None
    return list(chosen)


def _by_change(
    columns: Sequence[SystemColumn], names: Sequence[str], changes: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, SelectionReason]]:
    """The largest gains and losses of B over A in the main measure."""
    by_name = {names[column.system]: column for column in columns}
    count = max(AT_LEAST, round(SHOWN_CHANGES / max(1, len(changes))))
    for a_name, b_name in changes:
        if a_name not in by_name or b_name not in by_name:
            continue
        a, b = by_name[a_name], by_name[b_name]
        gaps = {
            identity: b.values[place] - a.values[a.places[identity]]
            for identity, place in b.places.items()
            if identity in a.places
        }
        order = sorted(gaps, key=lambda identity: gaps[identity])
        for kind, ids in (("loss", order[:count]), ("gain", order[::-1][:count])):
            for identity in ids:
                if gaps[identity] and (gaps[identity] > 0) == (kind == "gain"):
                    yield (
                        identity,
                        SelectionReason(
                            kind, b.system, f"{kind} of {b_name} over {a_name}: {signed(gaps[identity], 1)}"
                        ),
                    )


def _case(
    role: int,
    identity: str,
    choices: Sequence[SelectionReason],
    dialogue: Dialogue | None,
    columns: Iterable[SystemColumn],
    names: Sequence[str],
) -> dict[str, Any]:
    outputs, flags, shown = [], [], []
    references: tuple[str, ...] = ()
    for column in columns:
        place = column.places.get(identity)
        if place is None:
            continue
        one, checked = column.predictions[place], column.checked[place]
        references = references or one.references
        language = detect_language(" ".join(one.references))
        figures = {HEADINGS.get(name, name): values[place] for name, values in column.figures.items()}
        shown.append(column.values[place])
        flags += [(column.system, DOUBTFUL)] if one.doubtful else []
        flags += [(column.system, flag.check) for flag in checked.flags]
        matched = matching_spans(one.prediction, one.references, language)
        outputs.append(
            {
                "system": names[column.system],
                "sentences": mark_sentences(one.prediction, matched, checked, one.statements, one.support_threshold),
                "figures": figures,
                "doubts": [
                    (each.text, support_text(each.support, one.support_threshold), _from_one(each.turns))
                    for each in one.doubtful
                ],
                "flags": [(flag.check, flag.note, _from_one(flag.turns)) for flag in checked.flags],
            }
        )
    turns = (
        [(turn.speaker, dialogue.roles.get(turn.speaker, ""), turn.text) for turn in dialogue.turns] if dialogue else []
    )
    return {
        "id": identity,
        "role": role,
        "tags": " ".join(dict.fromkeys(f"{one.system}{one.kind}" for one in choices)),
        "marks": " ".join(dict.fromkeys(f"{system}{check}" for system, check in flags)),
        "why": ", ".join(dict.fromkeys(one.why for one in choices)),
        "values": shown,
        "turns": turns,
        "references": references,
        "outputs": outputs,
    }


def _from_one(turns: Iterable[int]) -> list[int]:
    return [turn + 1 for turn in turns]
