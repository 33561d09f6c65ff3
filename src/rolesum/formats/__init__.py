"""Readers of dialogue files: one module per format, each gives Dialogues; one table, one sniffer.

A reader yields a Dialogue for each good record and a Problem, with file and line, for each bad one, so that a file's
problems can be shown all at once.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError, did_you_mean
from rolesum.formats import (
    csds,
    dialogsum,
    jsonl,
    plain,
    qmsum,
    samsum,
    slack,
    srt,
    table,
    transcribe,
    tweetsumm,
    vtt,
    whatsapp,
    whisper,
    zoom,
)
from rolesum.formats.source import Source, open_source
from rolesum.formats.speakers import REFUSE, apply_speaker_rule, parse_speaker_rule
from rolesum.roles import resolve_role, roles_of_speakers

__all__ = [
    "FORMATS",
    "Format",
    "Source",
    "find_dialogue",
    "open_source",
    "parse_dialogues",
    "read_dialogues",
    "read_items",
    "sniff_format",
]


@dataclass(frozen=True, slots=True)
class Format:
    """How one file format is recognized and read."""

    name: str
    description: str
    matches: Callable[[Source], bool]
    read: Callable[[Source], Iterator[Dialogue | Problem]]


MODULES = (
    *(jsonl, samsum, csds, tweetsumm, dialogsum, qmsum),
    *(vtt, srt, zoom, whisper, transcribe, whatsapp, slack, table, plain),
)
FORMATS: dict[str, Format] = {
    module.NAME: Format(module.NAME, module.DESCRIPTION, module.matches, module.read) for module in MODULES
}


def sniff_format(source: Source, max_problems: int | None = None) -> Format:
    """The one format that the source looks like. Raises DataError where it looks like none or several.

    The error tells what of the JSON is broken, `max_problems` at most.
    """
    candidates = [form for form in FORMATS.values() if form.matches(source)]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        problems = (item for item in source.records() if isinstance(item, Problem))
        broken = list(islice(problems, max_problems)) if source.is_json else []
        if broken:
            raise DataError(broken)
        if source.is_json:
            what = "the JSON holds no dialogue of a known form"
            raise DataError(
                what, source.name, "each record needs turns (or another format's keys); see docs/formats.md"
            )
        if source.name.lower().endswith((".csv", ".tsv")):
            return FORMATS[table.NAME]  # which tells the columns that it has, and how to map them
        wants = 'plain wants "Speaker: text" lines, csv may want --columns'
        fix = f"name it with --format: {', '.join(FORMATS)} ({wants})"
        raise DataError("the file looks like no known format", source.name, fix)
    names = ", ".join(form.name for form in candidates)
    raise DataError(f"the file could be any of: {names}", source.name, "name the right one with --format")


def parse_dialogues(
    source: Source,
    file_format: str | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    unknown_speaker: str = REFUSE,
    max_problems: int | None = None,
) -> Iterator[Dialogue | Problem]:
    """The dialogues of a source and the problems between them. `form` names a format; None sniffs it.

    `columns` maps a field to its column in a CSV or TSV file; `unknown_speaker` says who speaks where the file does
    not: refuse, name=LABEL, alternate=LABEL,LABEL or continue. `max_problems` is that of `sniff`.
    """
    if file_format is not None and file_format not in FORMATS:
        raise UsageError(f'unknown format "{file_format}"', fix=did_you_mean(file_format, FORMATS))
    if columns and file_format not in (None, table.NAME):
        raise UsageError(
            f"columns are mapped in csv only, and the format is {file_format}", "--columns", "leave it out"
        )
    if columns and file_format is None and source.is_json:
        raise UsageError("columns are mapped in CSV and TSV only, and this is JSON", "--columns", "leave it out")
    rule = parse_speaker_rule(unknown_speaker)
    known = FORMATS[file_format] if file_format else None
    items = table.read(source, columns) if columns else (known or sniff_format(source, max_problems)).read(source)
    return (apply_speaker_rule(item, rule) if isinstance(item, Dialogue) else item for item in items)


def read_dialogues(
    path: str | Path | Source,
    file_format: str | None = None,
    *,
    skip: Collection[str] = (),
    limit: int | None = None,
    max_problems: int | None = None,
    custom_roles: Mapping[str, Collection[str]] | None = None,
    speakers: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    unknown_speaker: str = REFUSE,
) -> list[Dialogue]:
    """Read a file's dialogues, at most `limit`, without those whose id is in `skip`.

    `custom_roles` maps a role of one's own to its aliases, `speakers` a speaker's label to the role that it plays;
    both add to what the file says. `columns` and `unknown_speaker` are those of `parse`. Raises DataError with all
    problems of the file (with the first `max_problems`, where reading stops then), UsageError for a label in
    `speakers` that nobody has. An id in `skip` that is absent is told.
    """
    dialogues: list[Dialogue] = []
    problems: list[Problem] = []
    unskipped, whole = set(skip), True
    for item in read_items(
        path,
        file_format,
        custom_roles=custom_roles,
        speakers=speakers,
        columns=columns,
        unknown_speaker=unknown_speaker,
        max_problems=max_problems,
    ):
        if limit is not None and len(dialogues) >= limit:
            whole = False
            break
        if isinstance(item, Problem):
            if skipped := next((one for one in skip if item.where.endswith(f", id {one}")), None):
                unskipped.discard(skipped)
            else:
                problems.append(item)
                if max_problems is not None and len(problems) >= max_problems:
                    break
        elif item.id in skip:
            unskipped.discard(item.id)
        else:
            dialogues.append(item)
    if problems:
        raise DataError(problems)
    if unskipped and whole:  # no error: a recipe names the known broken records of a file, and a copy may be mended
        from rolesum.console import log

        log(f"{_name(path)}: no dialogue {', '.join(sorted(unskipped))}, which was to be skipped")
    heard = {label for dialogue in dialogues for label in dialogue.speakers()}
    if dialogues and (unheard := set(speakers or ()) - heard):
        what = f"no turn is spoken by {', '.join(sorted(unheard))}"
        raise UsageError(what, _name(path), did_you_mean(min(unheard), sorted(heard)[:50]))
    if not dialogues:
        raise DataError("no dialogue in the file", _name(path), "check the file, the format and the skipped ids")
    return dialogues


def read_items(
    path: str | Path | Source,
    file_format: str | None = None,
    *,
    custom_roles: Mapping[str, Collection[str]] | None = None,
    speakers: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    unknown_speaker: str = REFUSE,
    max_problems: int | None = None,
) -> Iterator[Dialogue | Problem]:
    """The dialogues and the problems of a file as they come, with every role's name resolved."""
    aliases = {role: tuple(names) for role, names in (custom_roles or {}).items()}
    given = {label: resolve_role(role, aliases) for label, role in (speakers or {}).items()}
    source = path if isinstance(path, Source) else open_source(path)
    for item in parse_dialogues(
        source, file_format, columns=columns, unknown_speaker=unknown_speaker, max_problems=max_problems
    ):
        yield item if isinstance(item, Problem) else _resolved(item, aliases, given)


def find_dialogue(
    path: str | Path | Source,
    identity: str | None,
    file_format: str | None = None,
    *,
    custom_roles: Mapping[str, Collection[str]] | None = None,
    speakers: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    unknown_speaker: str = REFUSE,
) -> Dialogue:
    """The dialogue with an id, or the first; other records may be bad. Raises DataError or UsageError if none is."""
    problems: list[Problem] = []
    ids: list[str] = []
    for item in read_items(
        path,
        file_format,
        custom_roles=custom_roles,
        speakers=speakers,
        columns=columns,
        unknown_speaker=unknown_speaker,
    ):
        if isinstance(item, Problem):
            problems.append(item)
        elif identity is None or item.id == identity:
            return item
        else:
            ids.append(item.id)
    if identity is None or any(problem.where.endswith(f", id {identity}") for problem in problems):
        raise DataError(problems)
    raise UsageError(f'no dialogue "{identity}"', _name(path), did_you_mean(identity, ids[:200]))


def _resolved(
    dialogue: Dialogue, aliases: Mapping[str, tuple[str, ...]], given: Mapping[str, str]
) -> Dialogue | Problem:
    """The dialogue with its roles under their one name; what the caller says of a speaker comes before the file."""
    labels = dialogue.speakers()
    try:
        said = {label: resolve_role(role, aliases) for label, role in dialogue.roles.items()}
        summaries = {resolve_role(role, aliases): texts for role, texts in dialogue.summaries.items()}
        if len(summaries) < len(dialogue.summaries):
            names = ", ".join(dialogue.summaries)
            raise UsageError(f"two names of one role in summaries: {names}", fix="give one name, with a list of texts")
    except UsageError as error:
        problem = error.problems[0]
        return Problem(problem.what, f"{dialogue.source}, id {dialogue.id}", problem.fix)
    named = roles_of_speakers(labels, aliases) if aliases else {}
    told = {label: role for label, role in given.items() if label in labels}
    return replace(dialogue, roles={**named, **said, **told}, summaries=summaries)


def _name(path: str | Path | Source) -> str:
    return path.name if isinstance(path, Source) else str(path)
