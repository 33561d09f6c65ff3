"""Check summaries against their dialogues without a model, one by one and as a corpus beside the references."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rolesum.checks.evidence import evidence_of, is_attributed
from rolesum.checks.facts import facts_of
from rolesum.checks.index import Prepared
from rolesum.checks.names import knows, names_of
from rolesum.checks.registry import CHECKS
from rolesum.checks.sentences import Sentence, sentences_of
from rolesum.checks.surface import Counts, broken, duplicates, measured
from rolesum.checks.types import Checked, Flag
from rolesum.checks.words import tokens_of
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError
from rolesum.evaluation.prediction import Prediction
from rolesum.metrics.bootstrap import Statistic, intervals, ratio
from rolesum.roles import AGENT, USER


@dataclass(frozen=True)
class Rate:
    """A check's figure over a corpus, in the check's unit, with its 95 % interval; `gold` is the references' figure.

    `hits` and `cases` are the predictions' sums. A figure of no cases is None.
    """

    value: float | None
    low: float | None
    high: float | None
    gold: float | None
    gold_low: float | None
    gold_high: float | None
    hits: float
    cases: float


@dataclass(frozen=True)
class RoleChecks:
    """One role's predictions and references as the checks see them, and the rates of all checks, in their order."""

    checked: tuple[Checked, ...] = field(repr=False)
    gold: tuple[Checked, ...] = field(repr=False)
    rates: Mapping[str, Rate]


def check_summary(dialogue: Dialogue, role: str, summary: str) -> Checked:
    """All checks of one summary, in the dialogue's language. `length_ratio` needs references and is not among them."""
    return _check(Prepared(dialogue), role, summary)


def check_predictions(predictions: Sequence[Prediction], dialogues: Sequence[Dialogue]) -> dict[str, RoleChecks]:
    """By role, all predictions and all of their references checked.

    Raises DataError where the dialogue of a prediction is not among `dialogues`.
    """
    by_id = {dialogue.id: dialogue for dialogue in dialogues}
    if missing := [one.id for one in predictions if one.id not in by_id]:
        what = f"no dialogue for {len(missing)} of {len(predictions)} predictions, first: {missing[0]}"
        raise DataError(what, fix="check against the data file that the predictions were made from")
    made: dict[str, list[Checked]] = {one.role: [] for one in predictions}
    gold: dict[str, list[Checked]] = {one.role: [] for one in predictions}
    prepared: dict[str, Prepared] = {}
    for one in predictions:
        ready = prepared.get(one.id) or prepared.setdefault(one.id, Prepared(by_id[one.id]))
        made[one.role].append(_with_ratio(_check(ready, one.role, one.prediction), one, ready))
        gold[one.role] += [_check(ready, one.role, reference) for reference in one.references]
    return {role: RoleChecks(tuple(made[role]), tuple(gold[role]), _rates(made[role], gold[role])) for role in made}


def _check(prepared: Prepared, role: str, summary: str) -> Checked:
    sentences = sentences_of(summary, prepared.language)
    evidence = tuple(evidence_of(sentence, prepared) for sentence in sentences)
    counts: Counts = {}
    flags = [
        *_facts(summary, sentences, prepared, counts),
        *_roles(role, sentences, prepared, counts),
        *duplicates(sentences),
        *broken(summary, role, sentences, prepared),
    ]
    counts["unsupported"] = (sum(not one.turns for one in evidence), len(evidence))
    counts["duplicate"] = (_count(flags, "duplicate"), len(sentences))
    counts |= measured(summary, prepared)
    counts["empty"] = (_count(flags, "empty"), 1)
    if sentences:
        counts |= {name: (_count(flags, name), 1) for name in ("echo", "truncated")}
    ordered = {name: (float(counts[name][0]), float(counts[name][1])) for name in CHECKS if name in counts}
    return Checked(tuple(sorted(flags, key=lambda flag: (flag.start, flag.end))), evidence, ordered)


def _count(flags: Sequence[Flag], check: str) -> int:
    return sum(flag.check == check for flag in flags)


def _facts(summary: str, sentences: Sequence[Sentence], prepared: Prepared, counts: Counts) -> Iterator[Flag]:
    """Flags of facts and names that the dialogue does not hold."""
    for fact in facts_of(summary, prepared.said):
        _add(counts, fact.check, bool(fact.fault))
        if fact.fault:
            yield Flag(fact.check, fact.start, fact.end, fact.fault)
    if prepared.language == "zh":
        return
    text = prepared.text.lower()
    for sentence in sentences:
        for start, end, name in names_of(sentence):
            known = knows(prepared.words, name, text)
            _add(counts, "name", not known)
            if not known:
                yield Flag("name", start, end, f"the dialogue does not know {name}")


def _roles(role: str, sentences: Sequence[Sentence], prepared: Prepared, counts: Counts) -> Iterator[Flag]:
    """Flags of sentences led by the wrong role, and of sentences led by one role that another's turns say."""
    leads = prepared.leads
    one_sided = role in leads.played or role in (USER, AGENT)
    for sentence in sentences:
        leader = leads.of(sentence.text)
        if one_sided:
            slips = leader not in (None, role)
            _add(counts, "role_led", leader == role)
            _add(counts, "role_slip", slips)
            if slips:
                yield Flag(
                    "role_slip", sentence.start, sentence.end, f"led by the {leader}, in a summary for the {role}"
                )
        else:
            for check, side in (("user_led", USER), ("agent_led", AGENT)):
                if side in leads.played:
                    _add(counts, check, leader == side)
        if leader is not None and leader in leads.played:
            fits, turns = is_attributed(sentence, leader, prepared)
            _add(counts, "attribution", not fits)
            if not fits:
                speakers = ", ".join(dict.fromkeys(prepared.dialogue.turns[place].speaker for place in turns))
                yield Flag(
                    "attribution", sentence.start, sentence.end, f"said by {speakers}, not by the {leader}", turns
                )


def _add(counts: Counts, check: str, hit: bool) -> None:
    hits, cases = counts.get(check, (0.0, 0.0))
    counts[check] = (hits + hit, cases + 1)


def _with_ratio(checked: Checked, one: Prediction, prepared: Prepared) -> Checked:
    """With the length ratio to the mean of the references, where there are any."""
    lengths = [len(tokens_of(reference, prepared.language)) for reference in one.references]
    if not sum(lengths):
        return checked
    ratio_ = (checked.counts["length"][0], sum(lengths) / len(lengths))
    return Checked(checked.flags, checked.evidence, {**checked.counts, "length_ratio": ratio_})


def _rates(made: Sequence[Checked], gold: Sequence[Checked]) -> dict[str, Rate]:
    """Every check's rate; the bootstrap draws summaries."""
    of_made, of_gold = check_statistics(made), check_statistics(gold)
    bounds_made, bounds_gold = intervals(of_made), intervals(of_gold)

    def rate(name: str) -> Rate:
        hits, cases = (float(total) for total in of_made[name].rows.sum(axis=0))
        low, high = bounds_made[name] or (None, None)
        gold_low, gold_high = bounds_gold.get(name) or (None, None)
        value = of_made[name].value if cases else None
        golden = of_gold[name].value if name in of_gold and of_gold[name].rows[:, 1].sum() else None
        return Rate(value, low, high, golden, gold_low, gold_high, hits, cases)

    return {name: rate(name) for name in CHECKS}


def check_statistics(checked: Sequence[Checked]) -> dict[str, Statistic]:
    """Every check's rate over these summaries, in the units of CHECKS, as a statistic that can be resampled."""
    if not checked:
        return {}
    found = {}
    for name, check in CHECKS.items():
        pairs = [one.counts.get(name, (0.0, 0.0)) for one in checked]
        scale = 100.0 if check.unit == "%" else 1.0
        found[name] = ratio([hits for hits, _ in pairs], [cases for _, cases in pairs], scale)
    return found
