"""Run all model-free checks on one summary and collect their flags, evidence and counts."""

from collections.abc import Iterator, Sequence

from rolesum.checks.evidence import check_attribution, find_evidence
from rolesum.checks.facts import check_facts
from rolesum.checks.index import DialogueIndex
from rolesum.checks.names import find_names, is_known_name
from rolesum.checks.registry import CHECKS
from rolesum.checks.sentences import Sentence, split_sentences
from rolesum.checks.surface import Counts, broken_output_flags, duplicate_flags, surface_counts
from rolesum.checks.types import CheckedSummary, Flag
from rolesum.dialogue import Dialogue
from rolesum.roles import AGENT, USER


def check_summary(dialogue: Dialogue, role: str, summary: str) -> CheckedSummary:
    """All checks of one summary, in the dialogue's language. `length_ratio` needs references and is not among them."""
    return check_indexed(DialogueIndex(dialogue), role, summary)


def check_indexed(index: DialogueIndex, role: str, summary: str) -> CheckedSummary:
    """`check_summary` for a dialogue that is indexed already, so that many summaries share the index."""
    sentences = split_sentences(summary, index.language)
    evidence = tuple(find_evidence(sentence, index) for sentence in sentences)
    counts: Counts = {}
    flags = [
        *_facts(summary, sentences, index, counts),
        *_roles(role, sentences, index, counts),
        *duplicate_flags(sentences),
        *broken_output_flags(summary, role, sentences, index),
    ]
    counts["unsupported"] = (sum(not one.turns for one in evidence), len(evidence))
    counts["duplicate"] = (_count(flags, "duplicate"), len(sentences))
    counts |= surface_counts(summary, index)
    counts["empty"] = (_count(flags, "empty"), 1)
    if sentences:
        counts |= {name: (_count(flags, name), 1) for name in ("echo", "truncated")}
    ordered = {name: (float(counts[name][0]), float(counts[name][1])) for name in CHECKS if name in counts}
    return CheckedSummary(tuple(sorted(flags, key=lambda flag: (flag.start, flag.end))), evidence, ordered)


def _count(flags: Sequence[Flag], check: str) -> int:
    return sum(flag.check == check for flag in flags)


def _facts(summary: str, sentences: Sequence[Sentence], index: DialogueIndex, counts: Counts) -> Iterator[Flag]:
    """Flags of facts and names that the dialogue does not hold."""
    for fact in check_facts(summary, index.facts):
        _add(counts, fact.check, bool(fact.problem))
        if fact.problem:
            yield Flag(fact.check, fact.start, fact.end, fact.problem)
    if index.language == "zh":
        return
    text = index.text.lower()
    for sentence in sentences:
        for start, end, name in find_names(sentence):
            known = is_known_name(index.vocabulary, name, text)
            _add(counts, "name", not known)
            if not known:
                yield Flag("name", start, end, f"the dialogue does not know {name}")


def _roles(role: str, sentences: Sequence[Sentence], index: DialogueIndex, counts: Counts) -> Iterator[Flag]:
    """Flags of sentences led by the wrong role, and of sentences led by one role that another's turns say."""
    subjects = index.subjects
    one_sided = role in subjects.roles_played or role in (USER, AGENT)
    for sentence in sentences:
        subject = subjects.role_of(sentence.text)
        if one_sided:
            slips = subject not in (None, role)
            _add(counts, "role_led", subject == role)
            _add(counts, "role_slip", slips)
            if slips:
                yield Flag(
                    "role_slip", sentence.start, sentence.end, f"led by the {subject}, in a summary for the {role}"
                )
        else:
            for check, side in (("user_led", USER), ("agent_led", AGENT)):
                if side in subjects.roles_played:
                    _add(counts, check, subject == side)
        if subject is not None and subject in subjects.roles_played:
            is_attributed, turns = check_attribution(sentence, subject, index)
            _add(counts, "attribution", not is_attributed)
            if not is_attributed:
                speakers = ", ".join(dict.fromkeys(index.dialogue.turns[place].speaker for place in turns))
                yield Flag(
                    "attribution", sentence.start, sentence.end, f"said by {speakers}, not by the {subject}", turns
                )


def _add(counts: Counts, check: str, hit: bool) -> None:
    hits, cases = counts.get(check, (0.0, 0.0))
    counts[check] = (hits + hit, cases + 1)
