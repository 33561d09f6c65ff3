"""Turns from pieces of speech, and from one line that begins with a label."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.clock import has_clock
from rolesum.formats.labels import Kind, label_kind
from rolesum.formats.speech_lines import parse_speech_line, split_label
from rolesum.roles import roles_of_speakers

# Scripts that are written without spaces between words, their punctuation included.
_UNSPACED = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uff60]")


def parse_labeled_line(line: str) -> Turn | None:
    """The turn that a line of the form "Speaker: text" begins, perhaps without text; None for any other line.

    A time beside the label is the turn's. The line alone decides, so a label may still be a word such as "Note".
    """
    found = parse_speech_line(line)
    if not found or found.is_head or label_kind(found.speaker) is Kind.SENTENCE:
        return None
    return Turn(found.whole or found.speaker, found.text, "" if found.whole else found.time)


def names_with_numbers(found: Sequence[tuple[str, str]], num_labels: int) -> set[str]:
    """The names, of those beside a doubtful time, of which the time is a part: "Woman (20s)", "GPT 4.10".

    Such a name stands more than once with the same one, and always has it or changes with others: times only grow. One
    clock beside all labels is a time.
    """
    times: defaultdict[str, set[str]] = defaultdict(set)
    for name, time in found:
        times[name].add(time)
    if max(Counter(found).values(), default=0) < 2:
        return set()
    is_shared = len(times) > 1 and len({time for _, time in found}) == 1 and len(found) == num_labels
    order = [tuple(map(float, re.findall(r"\d+", time))) for _, time in found]
    grows = order == sorted(order) and any(len(one) > 1 for one in times.values())
    return set() if is_shared or grows else set(times)


def split_label_times(turns: Iterable[Turn]) -> list[Turn]:
    """The turns with the times that stand in their labels, as in "Anna (10:02)", as the times of the turns."""
    listed = list(turns)
    parts = {label: split_label(label) for label in {turn.speaker for turn in listed}}
    doubtful = [parts[turn.speaker][:2] for turn in listed if parts[turn.speaker][2]]
    names = names_with_numbers(doubtful, len(listed))
    split: list[Turn] = []
    for turn in listed:
        name, time, whole = parts[turn.speaker]
        keeps = not time or (whole and name in names)
        split.append(turn if keeps else replace(turn, speaker=name, time=turn.time or time))
    return split


def without_label_times(dialogue: Dialogue) -> Dialogue | Problem:
    """The dialogue with the times of its labels as those of the turns; a Problem where a clock stays in a label."""
    if not any(map(str.isdigit, "".join(dialogue.speakers()))):
        return dialogue
    turns = split_label_times(dialogue.turns)
    place = f"{dialogue.source}, id {dialogue.id}"
    if clock := next((turn.speaker for turn in turns if has_clock(turn.speaker)), ""):
        what = f'a time stands in a speaker\'s label: "{clock[:60]}"'
        return Problem(what, place, "give the time a field of its own")
    renamed = {old.speaker: new.speaker for old, new in zip(dialogue.turns, turns, strict=True)}
    if all(old == new for old, new in renamed.items()):
        return dialogue
    roles = {**roles_of_speakers([new for old, new in renamed.items() if new != old])}
    told: dict[str, str] = {}
    for label, role in dialogue.roles.items():
        name = renamed.get(label, label)
        if told.setdefault(name, role) != role:
            return Problem(f"{name} plays {role} and {told[name]}", place, "give a speaker one role in a dialogue")
    return replace(dialogue, turns=tuple(turns), roles={**roles, **told})


def one_line(text: str) -> str:
    """The lines of a text as one."""
    return join_speech(line.strip() for line in text.split("\n"))


def join_speech(pieces: Iterable[str]) -> str:
    """Join pieces of speech: with a space, but with none between two Chinese or Japanese characters."""
    kept: list[str] = []
    for piece in pieces:
        if piece and kept and not (_UNSPACED.match(kept[-1][-1]) and _UNSPACED.match(piece[0])):
            kept.append(" ")
        if piece:
            kept.append(piece)
    return "".join(kept)


def merge_turns(turns: Iterable[Turn]) -> list[Turn]:
    """The turns that have text; consecutive turns of one named speaker become one, of the first one's time."""
    groups: list[tuple[Turn, list[str]]] = []
    for turn in turns:
        text = turn.text.strip()
        if text and groups and turn.speaker and turn.speaker == groups[-1][0].speaker:
            groups[-1][1].append(text)
        elif text:
            groups.append((turn, [text]))
    return [replace(first, text=join_speech(texts)) for first, texts in groups]


def no_turns(place: str) -> Problem:
    """The problem of a dialogue of which nothing is left to read."""
    return Problem("no turn has text", place, "leave the dialogue out, or name another format with --format")


def dropped_meta(dropped: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """The entry of a dialogue's meta that counts what its reader left out, by kind; none where nothing was."""
    counts = {kind: count for kind, count in dropped.items() if count}
    return {"dropped": counts} if counts else {}


def transcript_dialogue(turns: Iterable[Turn], identity: str, place: str) -> Dialogue | Problem:
    """The dialogue of a transcript, in which consecutive pieces of one speaker are one turn."""
    spoken = merge_turns(split_label_times(turns))
    if not spoken:
        return no_turns(place)
    return Dialogue(
        id=identity,
        turns=tuple(spoken),
        roles=roles_of_speakers([turn.speaker for turn in spoken]),
        source=place,
    )
