"""Readers of dialogue files: one module per format, one registry, one format detection, one ReadOptions.

A reader yields a Dialogue for each good record and a Problem, with file and line, for each bad one, so that a file's
problems can be shown all at once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError, did_you_mean, quoted
from rolesum.formats import (
    chat_logs,
    chat_services,
    csds,
    dialogsum,
    json_mapping,
    jsonl,
    plain,
    qmsum,
    samsum,
    slack,
    speech_services,
    subtitles,
    table,
    transcribe,
    tweetsumm,
    whatsapp,
    whisper,
    zoom,
)
from rolesum.formats.json_layouts import list_paths
from rolesum.formats.options import DEFAULTS, ReadOptions
from rolesum.formats.source import Format, Source, open_source
from rolesum.formats.speakers import apply_speaker_rule, parse_speaker_rule
from rolesum.formats.speech_text import parse_speech
from rolesum.formats.summary_fields import mapped_summaries
from rolesum.formats.turns import without_label_times
from rolesum.roles import resolve_role, roles_of_speakers

__all__ = [
    "FORMATS",
    "Format",
    "ReadOptions",
    "Source",
    "check_read_options",
    "check_speakers",
    "find_dialogue",
    "format_name",
    "open_source",
    "parse_dialogues",
    "read_dialogues",
    "read_items",
    "resolve_roles",
    "sniff_format",
]


FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        *(jsonl.FORMAT, samsum.FORMAT, csds.FORMAT, tweetsumm.FORMAT, dialogsum.FORMAT, qmsum.FORMAT),
        *(subtitles.VTT, subtitles.SRT, subtitles.SBV, zoom.FORMAT, whisper.FORMAT, transcribe.FORMAT),
        *(whatsapp.FORMAT, slack.FORMAT, *speech_services.FORMATS, *chat_services.FORMATS, *chat_logs.FORMATS),
        *(table.FORMAT, json_mapping.FORMAT, plain.FORMAT),
    )
}


def sniff_format(source: Source, max_problems: int | None = None) -> Format:
    """Detect the format of a source. Raises DataError if no format fits, or several.

    Where the JSON is broken, the error lists its problems, at most `max_problems`.
    """
    found = [form for form in FORMATS.values() if form.matches(source)]
    candidates = [form for form in found if not any(form.name in other.outranks for other in found)]
    if len(candidates) == 1:
        if _holds_labels(source):
            fix = "measure what finds the wrong summaries: rolesum evaluate --labels FILE; or name the file's --format"
            what = "the summaries are labeled, and no references: the field error says which are wrong"
            raise DataError(what, source.name, fix)
        return candidates[0]
    if candidates:
        names = ", ".join(form.name for form in candidates)
        raise DataError(f"the file could be any of: {names}", source.name, "name the right one with --format")
    if source.is_json:
        problems = (item for item in source.records() if isinstance(item, Problem))
        if broken := list(islice(problems, max_problems)):
            raise DataError(broken)
        where = ", ".join(list_paths(source.first_record))
        paths = f"; or name its paths, such as --json-path turns=…,speaker=…,text=…; it has {where}" if where else ""
        fix = f"each record needs turns (or another format's keys); see docs/formats.md{paths}"
        raise DataError("the JSON holds no dialogue of a known format", source.name, fix)
    if source.suffix in (".csv", ".tsv"):
        return table.FORMAT  # its reader names the columns of the file, and says how to map them
    raise DataError([_unknown_format(source)])


def _unknown_format(source: Source) -> Problem:
    """The problem of a text of no format, with its first line that names no speaker."""
    is_blank = [not line.strip() for line in source.lines]
    number = next(iter(parse_speech(source.text).stray), is_blank.index(False) + 1)
    what = f"the file looks like no known format: this line names no speaker: {quoted(source.lines[number - 1])}"
    fix = (
        'begin each turn with "Speaker: ", or name the format with --format: '
        f"{', '.join(FORMATS)} (csv may want --columns)"
    )
    return Problem(what, f"{source.name}:{number}", fix)


def _holds_labels(source: Source) -> bool:
    """Whether the file says of each summary whether people found an error in it: a table for evaluate --labels."""
    if not source.is_json:
        wanted = {"dialogue", "summary", "error"}
        return not source.files and any(wanted <= set(table.csv_header(source, one)) for one in table.DELIMITERS)
    record = source.first_record
    is_row = isinstance(record, dict) and "summary" in record and ("dialogue" in record or "turns" in record)
    return is_row and str(record.get("error")).strip().lower() in ("0", "1", "false", "true")


def format_name(source: Source, options: ReadOptions = DEFAULTS) -> str:
    """The format that a source is read in: the one that the options name or whose columns or paths they map, or else
    the detected one."""
    mapped = table.FORMAT.name if options.columns else json_mapping.FORMAT.name if options.json_path else None
    return options.format or mapped or sniff_format(source, options.max_problems).name


def check_read_options(options: ReadOptions) -> None:
    """Raise UsageError, at the option of the command line, for what is wrong with options whatever the source."""
    name, columns, paths = options.format, options.columns, options.json_path
    roles = _role_aliases(options)
    if name is not None and name not in FORMATS:
        raise UsageError(f'unknown format "{name}"', fix=did_you_mean(name, FORMATS))
    if columns and name not in (None, table.FORMAT.name):
        raise UsageError(f"columns are mapped in csv only, and the format is {name}", "--columns", "leave it out")
    if paths and (columns or name not in (None, json_mapping.FORMAT.name)):
        what = f"paths are mapped in json only, and the format is {name or table.FORMAT.name}"
        raise UsageError(what, "--json-path", "leave it out")
    if columns:
        table.check_fields(columns)
        mapped_summaries(columns, "--columns", roles)
    if paths:
        json_mapping.check_fields(paths)
        mapped_summaries(paths, "--json-path", roles)
    parse_speaker_rule(options.unknown_speaker)
    for role in options.speakers.values():
        try:
            resolve_role(role, roles)
        except UsageError as error:
            raise UsageError([replace(problem, where="--speaker") for problem in error.problems]) from None


def parse_dialogues(source: Source, options: ReadOptions = DEFAULTS) -> Iterator[Dialogue | Problem]:
    """The dialogues of a source and the problems between them, as the file names its speakers and roles.

    Of the options, the format, the columns, the paths and the rule for turns without a speaker are used. Raises
    UsageError for an unknown format, and for columns or paths of a file that has none.
    """
    name, columns, paths = options.format, options.columns, options.json_path
    check_read_options(options)
    rule = parse_speaker_rule(options.unknown_speaker)
    if columns:
        form = table.FORMAT
    elif paths:
        form = json_mapping.FORMAT
    else:
        form = FORMATS[name] if name else sniff_format(source, options.max_problems)
    aliases = _role_aliases(options)
    if form is table.FORMAT:
        items = table.read(source, columns, aliases)
    elif form is json_mapping.FORMAT:
        items = json_mapping.read(source, paths, aliases)
    elif form is samsum.FORMAT:
        items = samsum.read(source, aliases)
    else:
        items = form.read(source)
    timed = (without_label_times(item) if isinstance(item, Dialogue) else item for item in items)
    return (apply_speaker_rule(item, rule) if isinstance(item, Dialogue) else item for item in timed)


def read_dialogues(source: str | Path | Source, options: ReadOptions = DEFAULTS) -> list[Dialogue]:
    """Read the dialogues of a file (a path, `-`, `sample:NAME`) or of an open source.

    An id in `options.skip` that the file does not have is logged. Raises DataError with all problems of the file (or
    the first `options.max_problems`), and UsageError for a label in `options.speakers` that no turn has.
    """
    dialogues: list[Dialogue] = []
    problems: list[Problem] = []
    unskipped, reached_end = set(options.skip), True
    for item in read_items(source, options):
        if options.limit is not None and len(dialogues) >= options.limit:
            reached_end = False
            break
        if isinstance(item, Problem):
            if skipped := next((one for one in options.skip if item.where.endswith(f", id {one}")), None):
                unskipped.discard(skipped)
            else:
                problems.append(item)
                if options.max_problems is not None and len(problems) >= options.max_problems:
                    break
        elif item.id in options.skip:
            unskipped.discard(item.id)
        else:
            dialogues.append(item)
    if problems:
        raise DataError(problems)
    name = _name(source)
    if unskipped and reached_end:  # not an error: a recipe skips broken records, which another copy may not have
        from rolesum.console import log  # here: rich takes time to import

        log(f"{name}: no dialogue {', '.join(sorted(unskipped))}, which was to be skipped")
    if not dialogues:
        raise DataError("no dialogue in the file", name, "check the file, the format and the skipped ids")
    check_speakers(options.speakers, {label for dialogue in dialogues for label in dialogue.speakers()}, name)
    return dialogues


def check_speakers(speakers: Iterable[str], heard: Iterable[str], name: str) -> None:
    """Raise UsageError for the labels in `speakers` that are not among those `heard` in the file `name`."""
    labels = sorted(heard)
    if unheard := set(speakers).difference(labels):
        what = f"no turn is spoken by {', '.join(sorted(unheard))}"
        raise UsageError(what, name, did_you_mean(min(unheard), labels[:50]))


def read_items(source: str | Path | Source, options: ReadOptions = DEFAULTS) -> Iterator[Dialogue | Problem]:
    """The dialogues and the problems of a file in their order, every role under its one name.

    Does not use the options `skip` and `limit`.
    """
    aliases = _role_aliases(options)
    given = {label: resolve_role(role, aliases) for label, role in options.speakers.items()}
    opened = source if isinstance(source, Source) else open_source(source, options.encoding)
    for item in parse_dialogues(opened, options):
        yield item if isinstance(item, Problem) else resolve_roles(item, aliases, given)


def find_dialogue(
    source: str | Path | Source, identity: str | None = None, options: ReadOptions = DEFAULTS
) -> Dialogue:
    """The dialogue with an id, or the first one; other records may be broken.

    Raises UsageError if there is no such dialogue, DataError if its record is broken.
    """
    problems: list[Problem] = []
    ids: list[str] = []
    for item in read_items(source, options):
        if isinstance(item, Problem):
            problems.append(item)
        elif identity is None or item.id == identity:
            return item
        else:
            ids.append(item.id)
    if identity is None or any(problem.where.endswith(f", id {identity}") for problem in problems):
        raise DataError(problems)
    raise UsageError(f'no dialogue "{identity}"', _name(source), did_you_mean(identity, ids[:200]))


def resolve_roles(
    dialogue: Dialogue, aliases: Mapping[str, tuple[str, ...]], given: Mapping[str, str]
) -> Dialogue | Problem:
    """The dialogue with every role under its one name; the roles in `given` take precedence over the file's."""
    labels = dialogue.speakers()
    try:
        own = {label: resolve_role(role, aliases) for label, role in dialogue.roles.items()}
        summaries = {resolve_role(role, aliases): texts for role, texts in dialogue.summaries.items()}
        if len(summaries) < len(dialogue.summaries):
            names = ", ".join(dialogue.summaries)
            raise UsageError(f"two names of one role in summaries: {names}", fix="give one name, with a list of texts")
        pairs = tuple(replace(pair, role=resolve_role(pair.role, aliases)) for pair in dialogue.pairs)
    except UsageError as error:
        problem = error.problems[0]
        return Problem(problem.what, f"{dialogue.source}, id {dialogue.id}", problem.fix)
    by_label = roles_of_speakers(labels, aliases) if aliases else {}
    chosen = {label: role for label, role in given.items() if label in labels}
    return replace(dialogue, roles={**by_label, **own, **chosen}, summaries=summaries, pairs=pairs)


def _role_aliases(options: ReadOptions) -> dict[str, tuple[str, ...]]:
    return {role: tuple(names) for role, names in options.custom_roles.items()}


def _name(path: str | Path | Source) -> str:
    return path.name if isinstance(path, Source) else str(path)
