"""A study: its settings, its items (the outputs of all systems for one role), and each annotator's tasks."""

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rolesum import strict_json
from rolesum.counts import counted
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError
from rolesum.evaluation.evaluated_run import EvaluatedRun
from rolesum.roles import BUILT_IN, resolve_role

REFERENCE = "reference"  # the hidden system that --with-reference adds
MAX_SYSTEMS = 26  # labels are letters


class Criterion(BaseModel):
    """One criterion of rating, with the explanation that the page shows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    meaning: str = ""


CRITERION_MEANINGS = {
    "accuracy": "It says what the dialogue says for this role: nothing wrong, nothing that matters left out.",
    "coherence": "It reads as one connected text: the order makes sense, and it is clear who and what is meant.",
    "grammatical correctness": "The sentences are well formed: no broken, repeated or misspelt words.",
}
DEFAULT_CRITERIA = tuple(Criterion(name=name, meaning=meaning) for name, meaning in CRITERION_MEANINGS.items())


class StudySettings(BaseModel):
    """The settings of a study. The store saves them, so the user gives them once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["rate", "prefer"] = "rate"
    scale: int = Field(5, ge=2, le=9)
    criteria: tuple[Criterion, ...] = DEFAULT_CRITERIA
    roles: tuple[str, ...] | None = None
    sample: int | None = Field(None, ge=1)
    seed: int = 1
    with_reference: bool = False


def parse_criteria(texts: Sequence[str]) -> tuple[Criterion, ...]:
    """Criteria of the command line: "a,b" names several, "a=what it means" explains one. Raises UsageError."""
    found = []
    for text in texts:
        if "=" in text:
            name, _, meaning = text.partition("=")
            found.append(Criterion(name=name.strip(), meaning=meaning.strip()))
        else:
            names = [name.strip() for name in text.replace("，", ",").split(",")]
            found += [Criterion(name=name, meaning=CRITERION_MEANINGS.get(name, "")) for name in names]
    names = [one.name for one in found]
    if not all(names) or len(set(names)) < len(names):
        raise UsageError(
            f"criteria need names that differ: {', '.join(names)}", fix='write --criteria "accuracy,style"'
        )
    return tuple(found)


def parse_roles(text: str | None) -> tuple[str, ...] | None:
    """The roles of a --roles text: aliases resolved, other names as they are, for runs may have roles of their own."""
    if text is None:
        return None
    found = []
    for name in filter(None, map(str.strip, text.replace("，", ",").split(","))):
        try:
            found.append(resolve_role(name))
        except UsageError:
            found.append(name)
    return tuple(dict.fromkeys(found))


def resolve_settings(requested: Mapping[str, Any], saved: Mapping[str, Any] | None, store: str) -> StudySettings:
    """The settings asked for, else those kept in the store, else the defaults. Raises UsageError where they differ."""
    try:
        settings = StudySettings.model_validate({**(saved or {}), **requested})
        before = StudySettings.model_validate(saved) if saved is not None else settings
    except ValidationError as error:
        fix = "see rolesum annotate --help"
        problems = [Problem.from_pydantic(detail, fix=fix) for detail in error.errors()]
        raise UsageError(problems) from None
    if other := [key for key in requested if getattr(settings, key) != getattr(before, key)]:
        options = ", ".join(f"--{key.replace('_', '-')}" for key in other)
        fix = f"leave out {options}, or name another --store"
        raise UsageError(f"the judgments in this store were begun with another {options}", store, fix)
    if settings.mode == "prefer" and {"scale", "criteria"} & requested.keys():
        raise UsageError("--scale and --criteria belong to --mode rate", fix="leave them out, or rate")
    return settings


@dataclass(frozen=True)
class StudyItem:
    """One role of one dialogue, and what each system wrote for it."""

    dialogue: str
    role: str
    texts: Mapping[str, str]


@dataclass(frozen=True)
class AnnotationTask:
    """What is shown at once: an item with the outputs of `systems`, in the order of their labels A, B, …"""

    item: StudyItem
    systems: tuple[str, ...]

    def label(self, system: str) -> str:
        return chr(ord("A") + self.systems.index(system))

    def system(self, label: str) -> str | None:
        return next((one for one in self.systems if self.label(one) == label), None)


@dataclass(frozen=True)
class Study:
    """All items under judgment. `dialogues` is empty where results are read without them."""

    settings: StudySettings
    systems: tuple[str, ...]
    items: tuple[StudyItem, ...]
    dialogues: Mapping[str, Dialogue] = field(repr=False)

    def tasks(self, annotator: str) -> list[AnnotationTask]:
        """The annotator's own order, the same at every start: dialogues shuffled, then roles, then outputs.

        A dialogue's roles stand together, so that it is read once. In mode prefer an item is shown once for each pair
        of systems; a pair that wrote the same text is not asked.
        """
        draw = random.Random(f"{self.settings.seed}\n{annotator.casefold()}")
        groups: dict[str, list[StudyItem]] = {}
        for item in self.items:
            groups.setdefault(item.dialogue, []).append(item)
        tasks: list[AnnotationTask] = []
        for place in draw.sample(list(groups), len(groups)):
            for item in draw.sample(groups[place], len(groups[place])):
                shown = [draw.sample(systems, len(systems)) for systems in self._together(item)]
                tasks += [AnnotationTask(item, tuple(systems)) for systems in draw.sample(shown, len(shown))]
        return tasks

    def roles(self) -> tuple[str, ...]:
        return tuple(sorted({item.role for item in self.items}, key=_rank))

    def identical_pairs(self) -> int:
        """How many pairs of outputs need no preference, because both systems wrote the same."""
        if self.settings.mode == "rate":
            return 0
        return len(self.items) * len(list(combinations(self.systems, 2))) - sum(
            len(self._together(item)) for item in self.items
        )

    def record(self) -> dict[str, Any]:
        """What a store keeps to tell this study from others: settings, and a digest of each system's outputs."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "systems": {
                name: _digest((one.dialogue, one.role, one.texts[name]) for one in self.items) for name in self.systems
            },
        }

    def _together(self, item: StudyItem) -> list[tuple[str, ...]]:
        if self.settings.mode == "rate":
            return [self.systems]
        return [pair for pair in combinations(self.systems, 2) if item.texts[pair[0]] != item.texts[pair[1]]]


def make_study(runs: Sequence[EvaluatedRun], settings: StudySettings, dialogues: Sequence[Dialogue] = ()) -> Study:
    """The study of aligned runs (read_runs). Raises UsageError where the settings do not go with them."""
    names = [run.name for run in runs]
    if settings.with_reference:
        if REFERENCE in names:
            raise UsageError(
                f'a run is called "{REFERENCE}"', fix="rename its directory, or leave out --with-reference"
            )
        names.append(REFERENCE)
    if settings.mode == "prefer" and len(names) < 2:
        raise UsageError("a preference needs two systems", fix="name a second run, or add --with-reference")
    if len(names) > MAX_SYSTEMS:
        raise UsageError(f"{len(names)} systems are too many to judge", fix=f"at most {MAX_SYSTEMS}")
    items = [
        StudyItem(row[0].id, row[0].role, dict(zip(names, _texts(row, settings.with_reference), strict=True)))
        for row in zip(*(run.predictions for run in runs), strict=True)
    ]
    items.sort(key=lambda item: (item.dialogue, _rank(item.role)))  # whatever run is named first
    roles = tuple(sorted({item.role for item in items}, key=_rank))
    if unknown := [role for role in settings.roles or () if role not in roles]:
        raise UsageError(f"the runs have no role {', '.join(unknown)}", fix=f"they have: {', '.join(roles)}")
    items = [item for item in items if item.role in (settings.roles or roles)]
    if settings.sample is not None:
        if settings.sample > len(items):
            what = f"--sample {settings.sample} is more than {counted(len(items), 'summary', 'summaries')} to judge"
            raise UsageError(what)
        chosen = random.Random(settings.seed).sample(range(len(items)), settings.sample)
        items = [items[place] for place in sorted(chosen)]
    return Study(settings, tuple(names), tuple(items), {one.id: one for one in dialogues})


def check_record(study: Study, saved: Mapping[str, Any], store: str) -> None:
    """Raise DataError where a store holds judgments of other outputs than the study's."""
    current, before = study.record()["systems"], saved["systems"]
    fix = "name the runs that were judged, or another --store"
    if current.keys() != before.keys():
        what = f"the store holds judgments of {', '.join(before)}, not of {', '.join(current)}"
        raise DataError(what, store, fix)
    if changed := [name for name in current if current[name] != before[name]]:
        what = f"the outputs of {', '.join(changed)} are not those that the store's judgments are about"
        raise DataError(what, store, fix)


def _rank(role: str) -> tuple[int, str]:
    """The order of roles: overall, user, agent, then others by name."""
    return (BUILT_IN.index(role) if role in BUILT_IN else len(BUILT_IN)), role


def _texts(row: Sequence[Any], with_reference: bool) -> list[str]:
    return [one.prediction for one in row] + ([row[0].references[0]] if with_reference else [])


def _digest(rows: Iterable[tuple[str, ...]]) -> str:
    return hashlib.sha256(strict_json.dumps(list(rows), ensure_ascii=False).encode()).hexdigest()
