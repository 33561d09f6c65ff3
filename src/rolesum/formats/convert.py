"""Any format in, rolesum's own out: the dialogues of a file as JSON lines, and what had to be left out."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError, did_you_mean
from rolesum.formats import FORMATS, Source, read_items, sniff_format, table
from rolesum.formats.jsonl import to_json
from rolesum.formats.speakers import REFUSE


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

    def as_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "format": self.format,
            "dialogues": len(self.dialogues),
            "turns": sum(len(dialogue.turns) for dialogue in self.dialogues),
            "speakers": self.speakers(),
            "problems": [asdict(problem) for problem in self.problems],
        }


def convert(
    source: Source,
    file_format: str | None = None,
    *,
    custom_roles: Mapping[str, Collection[str]] | None = None,
    speakers: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    unknown_speaker: str = REFUSE,
    skip_bad: bool = False,
) -> Conversion:
    """Read the dialogues of a source; the parameters are those of `read_dialogues`.

    Raises DataError with all problems, unless `skip_bad`, and where no dialogue is good.
    """
    file_format = file_format or (table.NAME if columns else sniff_format(source).name)
    if file_format not in FORMATS:
        raise UsageError(f'unknown format "{file_format}"', fix=did_you_mean(file_format, FORMATS))
    found = Conversion(source.name, file_format)
    places: dict[str, str] = {}
    for item in read_items(
        source,
        file_format,
        custom_roles=custom_roles,
        speakers=speakers,
        columns=columns,
        unknown_speaker=unknown_speaker,
    ):
        if isinstance(item, Problem):
            found.problems.append(item)
        elif item.id in places:
            what = f"the id {item.id} stands twice (first at {places[item.id]})"
            found.problems.append(Problem(what, item.source, "give each dialogue an id of its own"))
        else:
            places[item.id] = item.source
            # a role that nobody plays, such as an agent who never wrote, is no part of our format
            heard = item.speakers()
            found.dialogues.append(replace(item, roles={who: role for who, role in item.roles.items() if who in heard}))
    if found.problems and not (skip_bad and found.dialogues):
        raise DataError(found.problems)
    if not found.dialogues:
        raise DataError("no dialogue in the file", source.name, "check the file and the format")
    labels = found.speakers()
    if unheard := set(speakers or ()) - labels.keys():
        what = f"no turn is spoken by {', '.join(sorted(unheard))}"
        raise UsageError(what, source.name, did_you_mean(min(unheard), list(labels)[:50]))
    return found
