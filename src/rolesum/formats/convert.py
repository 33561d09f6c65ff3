"""Conversion of a file in any format to rolesum's own JSON lines, with the problems of the records left out."""

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rolesum.atomic_io import check_not_input, check_writable
from rolesum.counts import counted
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError, did_you_mean
from rolesum.formats import FORMATS, Source, check_speakers, format_name, read_items
from rolesum.formats.jsonl import to_json
from rolesum.formats.options import DEFAULTS, ReadOptions

LISTED_SPEAKERS = 12


@dataclass
class Conversion:
    """The good dialogues of a source, and the problems of what was left out."""

    file: str
    format: str
    dialogues: list[Dialogue] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The file to write."""
        return "".join(to_json(dialogue) + "\n" for dialogue in self.dialogues)

    def speakers(self) -> dict[str, str]:
        """Each speaker's label, those heard most first, with the role or "no role"."""
        heard = Counter(turn.speaker for dialogue in self.dialogues for turn in dialogue.turns)
        played = {label: role for dialogue in self.dialogues for label, role in dialogue.roles.items()}
        return {label: played.get(label, "no role") for label, _ in heard.most_common()}

    def has_roles(self) -> bool:
        """Whether any speaker plays a role."""
        return any(dialogue.roles for dialogue in self.dialogues)

    def __str__(self) -> str:
        turns = sum(len(dialogue.turns) for dialogue in self.dialogues)
        text = (
            f"{self.file}: format {self.format}, {counted(len(self.dialogues), 'dialogue')}, {counted(turns, 'turn')}"
        )
        if self.problems:
            text += f"; {counted(len(self.problems), 'problem')}, left out"
        speakers = [f"{label} ({role})" for label, role in self.speakers().items()]
        more = f" and {len(speakers) - LISTED_SPEAKERS:,} more" if len(speakers) > LISTED_SPEAKERS else ""
        return f"{text}\nspeakers: {', '.join(speakers[:LISTED_SPEAKERS])}{more}"

    def as_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "format": self.format,
            "dialogues": len(self.dialogues),
            "turns": sum(len(dialogue.turns) for dialogue in self.dialogues),
            "speakers": self.speakers(),
            "problems": [asdict(problem) for problem in self.problems],
        }


def check_output_file(out: Path, source: str) -> None:
    """Raise UsageError or ResourceError if the dialogues of `source` cannot be written to `out` as JSON lines."""
    if out.suffix != ".jsonl":
        fix = "give OUT the ending .jsonl, or - for standard output"
        raise UsageError("the output is JSON lines", str(out), fix)
    check_not_input(out, source)
    check_writable(out)


def convert(source: Source, options: ReadOptions = DEFAULTS, *, skip_bad: bool = False) -> Conversion:
    """Read the dialogues of a source. The options `skip` and `limit` are not used.

    Raises DataError with all problems, unless `skip_bad` leaves the broken records out, and if no dialogue is left.
    """
    name = format_name(source, options)
    if name not in FORMATS:
        raise UsageError(f'unknown format "{name}"', fix=did_you_mean(name, FORMATS))
    found = Conversion(source.name, name)
    places: dict[str, str] = {}
    for item in read_items(source, replace(options, format=name)):
        if isinstance(item, Problem):
            found.problems.append(item)
        elif item.id in places:
            what = f"the id {item.id} stands twice (first at {places[item.id]})"
            found.problems.append(Problem(what, item.source, "give each dialogue an id of its own"))
        else:
            places[item.id] = item.source
            # rolesum's own format lists only roles of speakers with a turn: an agent may never have written
            heard = item.speakers()
            found.dialogues.append(replace(item, roles={who: role for who, role in item.roles.items() if who in heard}))
    if found.problems and not (skip_bad and found.dialogues):
        raise DataError(found.problems)
    if not found.dialogues:
        raise DataError("no dialogue in the file", source.name, "check the file and the format")
    check_speakers(options.speakers, found.speakers(), source.name)
    return found
