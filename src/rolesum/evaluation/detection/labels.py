"""Summaries that people have labeled right or wrong, from a table of labels or from the statements of dialogues.

A table, JSON lines, a JSON array or CSV, has a row for each summary: id, dialogue ("Speaker: text" lines) or turns with
roles, summary, error, and optionally system, kinds, role and split. Rows with the same turns are of one dialogue.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError, did_you_mean
from rolesum.formats import ReadOptions, Source, check_speakers, jsonl, open_source, read_dialogues, resolve_roles
from rolesum.formats.options import DEFAULTS, REFUSE
from rolesum.formats.records import text_dialogue
from rolesum.formats.source import Record, is_valid_id
from rolesum.formats.table import DELIMITERS, csv_header, csv_records
from rolesum.roles import OVERALL, resolve_role

FIELDS = ("id", "dialogue", "turns", "roles", "summary", "error", "system", "kinds", "role", "split")
REQUIRED_COLUMNS = ("id", "dialogue", "summary", "error")  # of CSV, which has no turns
VALIDATION, TEST = "validation", "test"
SPLITS = {VALIDATION: VALIDATION, "val": VALIDATION, "dev": VALIDATION, TEST: TEST}
_LABELS = {"0": False, "false": False, "1": True, "true": True}
_SEE = "see docs/evaluation.md"
_BETWEEN_KINDS = re.compile(r"\s*[;,|；，]\s*")


@dataclass(frozen=True, slots=True)
class LabeledSummary:
    """A summary of a dialogue, and whether people found an error in it.

    `kinds` are those of its errors; `system` is who wrote it; `split` is validation, test or empty. `source` says where
    it was read.
    """

    id: str
    dialogue: Dialogue
    role: str
    text: str
    has_error: bool
    kinds: tuple[str, ...] = ()
    system: str = ""
    split: str = ""
    source: str = ""

    @property
    def location(self) -> str:
        """The source and the id, for error messages."""
        return f"{self.source}, id {self.id}"


@dataclass(frozen=True)
class Labels:
    """Labeled summaries, those of one conversation with one Dialogue object."""

    summaries: tuple[LabeledSummary, ...]

    @cached_property
    def dialogues(self) -> list[Dialogue]:
        """Each dialogue once, in order of appearance."""
        return list({id(one.dialogue): one.dialogue for one in self.summaries}.values())

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """For each summary the place of its dialogue in `dialogues`: (summaries,)."""
        places = {id(dialogue): place for place, dialogue in enumerate(self.dialogues)}
        return np.array([places[id(one.dialogue)] for one in self.summaries], dtype=np.int64)

    @cached_property
    def errors(self) -> NDArray[np.bool_]:
        """Whether each summary has an error: (summaries,)."""
        return np.array([one.has_error for one in self.summaries], dtype=bool)

    @cached_property
    def by_dialogue(self) -> list[list[int]]:
        """For each dialogue the places of its summaries in `summaries`."""
        found: list[list[int]] = [[] for _ in self.dialogues]
        for place, group in enumerate(self.groups):
            found[group].append(place)
        return found


def make_labels(summaries: Iterable[LabeledSummary]) -> Labels:
    """The labels with one Dialogue object for all summaries of the same turns and roles."""
    known: dict[Any, Dialogue] = {}
    return Labels(
        tuple(
            replace(
                one,
                dialogue=known.setdefault(
                    (one.dialogue.normalized_turns, frozenset(one.dialogue.roles.items())), one.dialogue
                ),
            )
            for one in summaries
        )
    )


def read_labels(source: str | Path | Source, options: ReadOptions = DEFAULTS) -> Labels:
    """Read a table of labels, or dialogues with statements, each of which is then a summary for its role.

    `options.limit` counts dialogues; `options.skip` has ids of summaries or, of dialogues with statements, theirs.
    Raises DataError with all problems of the file, UsageError for options that a table of labels does not take.
    """
    opened = source if isinstance(source, Source) else open_source(source, options.encoding)
    if _holds_dialogues(opened):
        return make_labels(_statements(opened, options))
    if options.format or options.columns or options.json_path or options.unknown_speaker != REFUSE:
        what = "--format, --columns, --json-path and --unknown-speaker are for files of dialogues, and this has labels"
        raise UsageError(what, opened.name, f"leave them out, and name the fields {', '.join(FIELDS)}")
    labels = make_labels(_table(opened, options))
    check_speakers(options.speakers, {who for one in labels.dialogues for who in one.speakers()}, opened.name)
    if options.limit is None:
        return labels
    pairs = zip(labels.summaries, labels.groups, strict=True)
    return Labels(tuple(one for one, group in pairs if group < options.limit))


def check_classes(summaries: Sequence[LabeledSummary], where: str) -> None:
    """Raise DataError unless some of the summaries have an error and some have none."""
    if not summaries:
        raise DataError("no labeled summaries", where, "check the file, --roles and --skip")
    if len({one.has_error for one in summaries}) == 1:
        count = len(summaries)
        every = f"all {count} summaries have an error" if summaries[0].has_error else f"none of {count} has an error"
        raise DataError(f"{every}: there is nothing to tell apart", where, "add summaries of the other kind")


def _holds_dialogues(source: Source) -> bool:
    """Whether the file is in rolesum's own format: dialogues, not rows of labels."""
    return jsonl.matches(source) and not {"summary", "error"} & source.first_record.keys()


def _statements(source: Source, options: ReadOptions) -> list[LabeledSummary]:
    aliases = {role: tuple(names) for role, names in options.custom_roles.items()}
    try:
        found = [
            LabeledSummary(
                id=f"{dialogue.id}#{number}",
                dialogue=dialogue,
                role=resolve_role(said.role, aliases),
                text=said.text,
                has_error=not said.supported,
                kinds=(said.kind,) if said.kind and not said.supported else (),
                source=dialogue.source,
            )
            for dialogue in read_dialogues(source, options)
            for number, said in enumerate(dialogue.statements, 1)
        ]
    except UsageError as error:  # a role that is not known
        raise DataError([replace(one, where=one.where or source.name) for one in error.problems]) from None
    if not found:
        what = "no label: the dialogues have no statements, and no summary says whether it has an error"
        raise DataError(what, source.name, f"give each row a summary and its error; {_SEE}")
    return found


def _table(source: Source, options: ReadOptions) -> list[LabeledSummary]:
    found: dict[str, LabeledSummary] = {}
    problems: list[Problem] = []
    seen = set(FIELDS)
    reader = _RowReader(options)
    for record in _records(source):
        if isinstance(record, Problem):
            problems.append(record)
        elif not isinstance(record.value, dict):
            problems.append(Problem("not a JSON object", record.location, _SEE))
        elif str(record.value.get("id")) not in options.skip:
            unknown = [key for key in record.value if key not in seen]  # each is named once
            problems += [
                Problem(f'unknown field "{key}"', record.location, did_you_mean(key, FIELDS)) for key in unknown
            ]
            seen.update(unknown)
            one = reader.summary(record)
            if not isinstance(one, LabeledSummary):
                problems += one
            elif one.id in found:
                what = f"id {one.id} stands in {found[one.id].source} too"
                problems.append(Problem(what, one.source, "give each summary an id of its own"))
            else:
                found[one.id] = one
    if problems:
        raise DataError(problems)
    return list(found.values())


def _records(source: Source) -> Iterator[Record | Problem]:
    if source.is_json:
        yield from source.records()
        return
    delimiter = max(DELIMITERS, key=lambda one: len(set(FIELDS) & set(csv_header(source, one))))
    names = csv_header(source, delimiter)
    if missing := [name for name in REQUIRED_COLUMNS if name not in names]:
        what = f"no column {', '.join(missing)} (the file has: {', '.join(names)[:200]})"
        yield Problem(what, f"{source.name}:1", f"name the columns in the first line; {_SEE}")
        return
    yield from csv_records(source, delimiter)


class _RowReader:
    """Reads the rows of a table; a dialogue's text that many rows repeat is read once."""

    def __init__(self, options: ReadOptions) -> None:
        self._aliases = {role: tuple(names) for role, names in options.custom_roles.items()}
        self._given_roles = {label: resolve_role(role, self._aliases) for label, role in options.speakers.items()}
        self._by_text: dict[str, Dialogue] = {}

    def summary(self, record: Record) -> LabeledSummary | list[Problem]:
        """The summary of a row, or all that is wrong with it; a field that is empty or null counts as absent."""
        value = {key: entry for key, entry in record.value.items() if entry not in (None, "")}
        if not is_valid_id(value.get("id")):
            return [Problem("no id", record.location, "give each summary an id of its own")]
        place = f"{record.location}, id {value['id']}"
        problems = [Problem(what, place, fix) for what, fix in _faults(value)]
        dialogue = self._dialogue(record, value, place)
        role = str(value.get("role", OVERALL))
        try:
            role = resolve_role(role, self._aliases)
        except UsageError as error:
            problems += [replace(one, where=place) for one in error.problems]
        if isinstance(dialogue, list) or problems:
            return [*problems, *(dialogue if isinstance(dialogue, list) else ())]
        kinds = value.get("kinds", ())
        return LabeledSummary(
            id=str(value["id"]),
            dialogue=dialogue,
            role=role,
            text=value["summary"].strip(),
            has_error=_LABELS[_word(value["error"])],
            kinds=tuple(one.strip() for one in (_BETWEEN_KINDS.split(kinds) if isinstance(kinds, str) else kinds)),
            system=value.get("system", "").strip(),
            split=SPLITS[_word(value["split"])] if "split" in value else "",
            source=record.location,
        )

    def _dialogue(self, record: Record, value: Mapping[str, Any], place: str) -> Dialogue | list[Problem]:
        """The dialogue of a row, or what is wrong with it."""
        if ("turns" in value) == ("dialogue" in value):
            what = "both dialogue and turns" if "turns" in value else "no dialogue"
            fix = 'give either dialogue, a text of "Speaker: text" lines, or turns, a list of {speaker, text}'
            return [Problem(what, place, fix)]
        if "turns" in value:
            parts = {key: value[key] for key in ("id", "turns", "roles") if key in value}
            read = list(jsonl.read_record(Record(parts, record.location)))
        elif "roles" in value:
            return [Problem("roles without turns", place, "give turns, or name speakers with --speaker LABEL=ROLE")]
        elif not _is_text(value["dialogue"]):
            return [Problem("dialogue is not a text", place, "give a list of {speaker, text} under turns")]
        elif known := self._by_text.get(value["dialogue"]):
            return known
        else:
            read = [text_dialogue(record, value["id"], value["dialogue"], {})]
        resolved = [
            one if isinstance(one, Problem) else resolve_roles(one, self._aliases, self._given_roles) for one in read
        ]
        if problems := [one for one in resolved if isinstance(one, Problem)]:
            return problems
        (found,) = [one for one in resolved if isinstance(one, Dialogue)]
        if "dialogue" in value:
            self._by_text[value["dialogue"]] = found
        return found


def _faults(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with the label, the summary and what is known of them, each with its fix."""
    if not _is_text(value.get("summary")):
        yield "no summary", "give the text that was labeled under summary, or leave the row out"
    label = _word(value.get("error", ""))
    if not label:
        yield "no label", "give error: 1 where people found an error in the summary, else 0"
    elif label not in _LABELS:
        yield f"error is {value['error']!r}", "write true or false, or 1 or 0"
    kinds = value.get("kinds", [])
    if not _is_text(kinds) and not (isinstance(kinds, list) and all(map(_is_text, kinds))):
        yield "kinds must be a list of texts", 'write ["negation"], or in CSV negation; pronoun'
    elif kinds and _LABELS.get(label) is False:
        yield "kinds of an error, and error is 0", "correct one of them"
    for key in ("system", "role"):
        if key in value and not _is_text(value[key]):
            yield f"{key} is not a text", _SEE
    if "split" in value and _word(value["split"]) not in SPLITS:
        yield f"unknown split {value['split']!r}", "write validation or test"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _word(value: Any) -> str:
    return str(value).strip().lower()
