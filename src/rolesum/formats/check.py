"""A report on a data file: counts of what it holds, and all of its problems."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rolesum.counts import counted
from rolesum.errors import Problem, UsageError
from rolesum.formats import check_speakers, format_name, open_source, read_items
from rolesum.formats.options import DEFAULTS, ReadOptions
from rolesum.roles import WHOLE_DIALOGUE


@dataclass
class CheckResult:
    """Counts over the good records, and the problems of the bad ones."""

    file: str
    format: str
    dialogues: int = 0
    turns: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    speakers_by_role: Counter[str] = field(default_factory=Counter)
    summaries: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def __str__(self) -> str:
        def listed(counts: Mapping[str, int]) -> str:
            return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"

        dialogues, turns = counted(self.dialogues, "good dialogue"), counted(self.turns, "turn")
        return (
            f"{self.file}: format {self.format}, {dialogues}, {turns}\n"
            f"languages: {listed(self.languages)}\n"
            f"speakers by role: {listed(self.speakers_by_role)}\n"
            f"summaries by role: {listed(self.summaries)}"
        )

    def as_json(self) -> dict[str, Any]:
        counts = {name: dict(getattr(self, name)) for name in ("languages", "speakers_by_role", "summaries")}
        problems = [asdict(problem) for problem in self.problems]
        return {
            "file": self.file,
            "format": self.format,
            "dialogues": self.dialogues,
            "turns": self.turns,
            **counts,
            "problems": problems,
        }


def check_file(path: str | Path, options: ReadOptions = DEFAULTS, *, sections: Collection[str] = ()) -> CheckResult:
    """Read the whole file and find all its problems, repeated ids among them.

    A summary for a role that no speaker plays is a problem, except for `sections`. The options `skip` and `limit` are
    not used.
    """
    source = open_source(path, options.encoding)
    name = format_name(source, options)
    result = CheckResult(source.name, name)
    first_places: dict[str, str] = {}
    heard: set[str] = set()
    for item in read_items(source, replace(options, format=name)):
        if isinstance(item, Problem):
            result.problems.append(item)
            continue
        if item.id in first_places:
            what = f"the id {item.id} stands twice (first at {first_places[item.id]})"
            result.problems.append(Problem(what, item.source, "give each dialogue an id of its own"))
            continue
        first_places.setdefault(item.id, item.source)
        for role in item.summaries:
            if role not in (*WHOLE_DIALOGUE, *sections) and not item.speakers(role):
                what = f"a summary for {role}, but no speaker plays it (speakers: {', '.join(item.speakers())})"
                fix = 'say who plays it: --speaker "LABEL=ROLE", or roles in the file'
                result.problems.append(Problem(what, f"{item.source}, id {item.id}", fix))
        heard.update(item.speakers())
        result.dialogues += 1
        result.turns += len(item.turns)
        result.languages[item.language] += 1
        result.speakers_by_role.update(item.roles.get(label, "no role") for label in item.speakers())
        result.summaries.update({role: len(texts) for role, texts in item.summaries.items()})
    try:
        check_speakers(options.speakers if heard else (), heard, source.name)
    except UsageError as error:
        result.problems += error.problems
    return result
