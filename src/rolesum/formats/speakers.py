"""Rules for turns without a speaker, which are an error unless the user gives one."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle

from rolesum.counts import counted
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem, UsageError
from rolesum.formats.options import REFUSE
from rolesum.formats.turns import join_speech
from rolesum.roles import roles_of_speakers

RULES = "refuse, name=LABEL, alternate=LABEL,LABEL or continue"


@dataclass(frozen=True, slots=True)
class SpeakerRule:
    """A rule for turns without a speaker; `text` is the rule as the user wrote it."""

    kind: str
    labels: tuple[str, ...] = ()
    text: str = ""


def parse_speaker_rule(text: str) -> SpeakerRule:
    """Parse a rule such as "alternate=Anna,Tom". Raises UsageError."""
    kind, _, rest = text.strip().partition("=")
    parts = rest.replace("，", ",").split(",") if kind == "alternate" else [rest]
    labels = tuple(label.strip() for label in parts) if rest else ()
    known = {REFUSE: not labels, "continue": not labels, "name": len(labels) == 1, "alternate": len(labels) >= 2}
    if not known.get(kind) or not all(labels) or len(set(labels)) < len(labels):
        raise UsageError(f'"{text}" is not a rule for turns without a speaker', "--unknown-speaker", f"write {RULES}")
    return SpeakerRule(kind, labels, text.strip())


def apply_speaker_rule(dialogue: Dialogue, rule: SpeakerRule) -> Dialogue | Problem:
    """The dialogue with a speaker for each turn, or a Problem if the rule gives none.

    A turn that the rule named is merged with a neighbor of the same speaker. The meta keeps the rule.
    """
    unnamed = sum(not turn.speaker for turn in dialogue.turns)
    if not unnamed:
        return dialogue
    place = f"{dialogue.source}, id {dialogue.id}"
    if rule.kind == REFUSE:
        heard = Counter(turn.speaker for turn in dialogue.turns if turn.speaker)
        named = f" (named: {', '.join(label for label, _ in heard.most_common(8))})" if heard else ""
        fix = "say who speaks: --unknown-speaker name=LABEL, alternate=A,B or continue (the speaker before goes on)"
        return Problem(f"{unnamed} of {counted(len(dialogue.turns), 'turn')} without a speaker{named}", place, fix)
    if rule.kind == "continue" and not dialogue.turns[0].speaker:
        return Problem("the first turn names no speaker, so none can go on", place, "use name=LABEL or alternate=A,B")
    turns = _merge_named(dialogue.turns, list(_labels(dialogue.turns, rule)))
    spoken = {turn.speaker for turn in turns}
    new = [label for label in rule.labels if label in spoken]
    return replace(
        dialogue,
        turns=tuple(turns),
        roles={**roles_of_speakers(new), **dialogue.roles},
        meta={**dialogue.meta, "speakers": f"{counted(unnamed, 'turn')} named by the rule {rule.text}"},
    )


def _labels(turns: tuple[Turn, ...], rule: SpeakerRule) -> Iterator[str]:
    """Each turn's label."""
    before, given = "", cycle(rule.labels)
    for turn in turns:
        before = turn.speaker or (before if rule.kind == "continue" else next(given))
        yield before


def _merge_named(turns: tuple[Turn, ...], labels: list[str]) -> list[Turn]:
    groups: list[tuple[Turn, list[str]]] = []
    named_before = False
    for turn, label in zip(turns, labels, strict=True):
        named = not turn.speaker
        if groups and groups[-1][0].speaker == label and (named or named_before):
            groups[-1][1].append(turn.text)
        else:
            groups.append((replace(turn, speaker=label), [turn.text]))
        named_before = named
    return [replace(first, text=join_speech(texts)) for first, texts in groups]
