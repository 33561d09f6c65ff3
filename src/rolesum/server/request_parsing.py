"""Request bodies: from JSON, or a form with a file, to checked options and dialogues.

Runs in the parser processes, see `rolesum.server.parser_pool`, so it imports no web framework.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from rolesum import strict_json
from rolesum.dialogue import Dialogue
from rolesum.errors import Problem, SizeError, UsageError, did_you_mean
from rolesum.formats import ReadOptions, Source, format_name, jsonl, read_dialogues
from rolesum.formats.options import parse_field_map
from rolesum.formats.source import check_num_values, decode_source
from rolesum.instructions import FieldSchema, SectionSet, load_fields, load_sections
from rolesum.instructions.asked import AskedInstruction, asked_instructions
from rolesum.instructions.fields import field_presets, make_fields
from rolesum.instructions.sections import SectionEntry, preset_names
from rolesum.roles import resolve_role
from rolesum.schema_keys import keys_at
from rolesum.server.limits import Limits
from rolesum.server.problems import HTTPProblem
from rolesum.server.schemas import (
    DialogueIn,
    InputOptions,
    SectionIn,
    SummaryOptions,
    TurnIn,
)

Model = TypeVar("Model", bound=BaseModel)

# Fields of a form that hold JSON; those of them that may be written without JSON, as here; lists "user,agent".
JSON_FIELDS = ("speakers", "columns", "json_path", "options", "dialogue", "dialogues", "ask")
_NAME_OR_JSON_FIELDS = ("sections", "fields")  # hold JSON if they begin with a brace
_MAPPING_FIELDS = {
    "speakers": "Anna=user,Tom=agent",
    "columns": "speaker=who,text=said",
    "json_path": "turns=log,text=body",
}
_LIST_FIELDS = ("roles",)

MAX_OBJECT_KEYS = 1000  # of one JSON object: every unknown key is a problem of its own
MAX_PROBLEMS = 100  # that are looked for in one text
MAX_NAME_LENGTH = 1000  # characters of a speaker's label or of an id
MAX_SCHEMA_LENGTH = 20_000  # characters of a JSON schema
DEFAULT_ID = "dialogue"  # of a dialogue that was sent without one


# The body


@dataclass(frozen=True)
class Upload:
    """An uploaded file. Its name is shown in error messages and never used as a path."""

    name: str
    raw: bytes


@dataclass(frozen=True)
class RequestBody:
    """A body as it was received: JSON in `raw`, or the fields of a form, as (name, text), and its file."""

    raw: bytes = b""
    fields: Sequence[tuple[str, str]] | None = None
    upload: Upload | None = None

    def parse(self, model: type[Model], limits: Limits) -> Model:
        """Validate the body. Takes long for a large one. Raises HTTPProblem, or UsageError with all problems."""
        return parse_json(self.raw, model, limits) if self.fields is None else _validate(self._values(limits), model)

    def _values(self, limits: Limits) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, text in self.fields or ():
            if name in _LIST_FIELDS:
                parts = text.replace("，", ",").split(",")
                values.setdefault(name, []).extend(part for part in parts if part.strip())
            else:
                is_json = name in JSON_FIELDS or (name in _NAME_OR_JSON_FIELDS and text.lstrip().startswith("{"))
                values[name] = _json_field(name, text, limits) if is_json else text
        return values


def parse_json(raw: bytes, model: type[Model], limits: Limits) -> Model:
    """Parse and validate JSON. Raises HTTPProblem 400 for broken JSON, UsageError with all other problems."""
    try:
        found = _load_json(raw.decode("utf-8-sig"), "body", limits)
    except (ValueError, RecursionError) as error:
        raise HTTPProblem(400, f"broken JSON: {error}"[:300], where="body", fix="send valid JSON in UTF-8") from None
    return _validate(found, model)


def _load_json(text: str, where: str, limits: Limits) -> Any:
    """Parse JSON. Raises HTTPProblem 413 for too many values, ValueError or RecursionError for broken JSON."""
    try:
        check_num_values([Source(where, text)], where, limits.max_values)
    except SizeError as error:
        raise HTTPProblem(413, error.problems[0].what, where=where, fix="send less in one request") from None
    return json.loads(text, object_pairs_hook=_limited_object)


def _limited_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_OBJECT_KEYS:
        what = f"an object has {len(pairs):,} keys; at most {MAX_OBJECT_KEYS:,} are allowed"
        raise HTTPProblem(422, what, where="body", fix="see /openapi.json for the keys")
    return dict(pairs)


def _validate(found: Any, model: type[Model]) -> Model:
    try:
        return model.model_validate(found)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        raise UsageError([_problem(detail, model) for detail in details]) from None


def _problem(detail: Mapping[str, Any], model: type[BaseModel]) -> Problem:
    """What is wrong with a value, with the keys that this request knows at its place."""
    *path, key = detail["loc"] or ("",)
    if not path and key in getattr(model, "unsupported_keys", ()) and detail["type"] == "extra_forbidden":
        reason = getattr(model, "reason", lambda _: "")(key)
        return Problem(f"{key} is not supported: {reason}", str(key), "leave it out")
    return Problem.from_pydantic(detail, fix="see /openapi.json", known=keys_at(model, path))


def _json_field(name: str, value: str, limits: Limits) -> Any:
    """Parse a field that holds JSON, or a mapping written as on the command line: "Anna=user,Tom=agent"."""
    if name in _MAPPING_FIELDS and not value.lstrip().startswith("{"):
        return parse_field_map(value, name, _MAPPING_FIELDS[name])
    try:
        return _load_json(value, name, limits)
    except (ValueError, RecursionError) as error:
        raise HTTPProblem(422, f"broken JSON: {error}"[:300], where=name, fix='send {"key": "value"}') from None


# The dialogues


def parse_dialogues(
    options: InputOptions,
    limits: Limits,
    *,
    dialogues: Sequence[DialogueIn] = (),
    upload: Upload | None = None,
    aliases: Mapping[str, Sequence[str]],
    max_dialogues: int,
    text_key: str = "text",
) -> tuple[str, list[Dialogue]]:
    """Read the dialogues that a request holds: given turn by turn, as the options' text, or as an uploaded file.

    Returns the name of their format and at most `max_dialogues` dialogues. `aliases` are names of custom roles,
    `text_key` the key of the request that the text stood under. Raises DataError with all problems, UsageError for
    options that do not fit, HTTPProblem 413 for what is over a limit.
    """
    source = _source(limits, dialogues, options, upload, text_key)
    is_own_format = bool(dialogues) and not (options.format or options.columns or options.json_path)
    return read_source(
        source,
        options.model_copy(update={"format": jsonl.FORMAT.name}) if is_own_format else options,
        limits,
        aliases=aliases,
        max_dialogues=max_dialogues,
    )


def read_source(
    source: Source,
    options: InputOptions,
    limits: Limits,
    *,
    aliases: Mapping[str, Sequence[str]],
    max_dialogues: int,
) -> tuple[str, list[Dialogue]]:
    """Read dialogues and check their sizes; see `parse_dialogues`. References, statements and meta are dropped."""
    read_options = ReadOptions(
        format=options.format,
        custom_roles=aliases,
        speakers=options.speakers,
        columns=options.columns,
        json_path=options.json_path,
        unknown_speaker=options.unknown_speaker,
        limit=max_dialogues + 1,
        max_problems=MAX_PROBLEMS,
    )
    name = format_name(source, read_options)
    found = read_dialogues(source, replace(read_options, format=name))
    if len(found) > max_dialogues:
        what = "there is more than one dialogue" if max_dialogues == 1 else f"more than {max_dialogues:,} dialogues"
        fix = "send several dialogues to /v1/batches" if max_dialogues == 1 else "send them in several batches"
        raise HTTPProblem(413, what, where=source.name, fix=fix)
    for dialogue in found:
        check_dialogue_size(dialogue, limits)
    return name, [
        replace(dialogue, summaries={}, statements=(), pairs=(), meta={}) for dialogue in found
    ]  # no summary depends on them


def _source(
    limits: Limits, dialogues: Sequence[DialogueIn], options: InputOptions, upload: Upload | None, text_key: str
) -> Source:
    """The one input of a request. Raises HTTPProblem 422 if there is none or more than one."""
    text = options.text
    given = [one for one in (dialogues or None, text, upload) if one is not None]
    if len(given) != 1:
        what = "several inputs in one request" if given else "no dialogue in the request"
        raise HTTPProblem(422, what, fix='send one of "dialogue", "text", or a file')
    if upload is not None:
        return decode_source(upload.raw, upload.name, limits.source, encoding=options.encoding)
    if text is not None:
        return decode_source(text.encode("utf-8", "surrogatepass"), text_key, limits.source)
    records = []
    for number, dialogue in enumerate(dialogues, 1):
        identity = dialogue.id or (DEFAULT_ID if len(dialogues) == 1 else f"{DEFAULT_ID}-{number}")
        record = {"id": identity, "turns": [_turn_record(turn) for turn in dialogue.turns]}
        records.append(strict_json.dumps(record | ({"roles": dialogue.roles} if dialogue.roles else {})))
    return Source("dialogues", "\n".join(records))


def _turn_record(turn: TurnIn) -> dict[str, str]:
    """A turn in rolesum's format, where a time is no empty text."""
    return turn.model_dump(exclude=set() if turn.time.strip() else {"time"})


def check_dialogue_size(dialogue: Dialogue, limits: Limits) -> None:
    """Raise HTTPProblem 413 for a dialogue that would occupy the engine for too long."""
    fix = "send it in parts, or use rolesum summarize"
    if len(dialogue.turns) > limits.max_turns:
        what = f"the dialogue has {len(dialogue.turns):,} turns; at most {limits.max_turns:,} are allowed"
        raise HTTPProblem(413, what, where=dialogue.location, fix=fix)
    for name in (dialogue.id, *dialogue.speakers()):
        if len(name) > MAX_NAME_LENGTH:
            what = f"an id or a speaker has {len(name):,} characters; at most {MAX_NAME_LENGTH:,} are allowed"
            raise HTTPProblem(413, what, where=dialogue.location[:MAX_NAME_LENGTH], fix="check the format")
    check_length(sum(len(turn.text) for turn in dialogue.turns), limits, dialogue.location)


def check_length(characters: int, limits: Limits, where: str) -> None:
    """Raise HTTPProblem 413 for a text that would occupy the engine for too long."""
    if characters > limits.max_characters:
        what = f"the text has {characters:,} characters; at most {limits.max_characters:,} are allowed"
        raise HTTPProblem(413, what, where=where, fix="send it in parts, or use rolesum summarize")


# Roles and sections


def requested_sections(given: str | Mapping[str, SectionIn] | None) -> SectionSet | None:
    """Return the sections that a request defines, or a preset by its name; never reads a file that a client names.

    Raises UsageError.
    """
    if given is None:
        return None
    if isinstance(given, str):
        if given not in preset_names():
            what = f'there is no preset of sections "{given}"'
            raise UsageError(what, "sections", did_you_mean(given, preset_names()))
        return load_sections(given)
    entries = {name: SectionEntry(title=one.title, definition=one.definition) for name, one in given.items()}
    try:
        return SectionSet(name="request", version=1, sections=entries)
    except ValidationError as error:
        fix = "name each section once, and none like a role"
        raise UsageError([Problem.from_pydantic(one, "sections", fix) for one in error.errors()]) from None


def requested_instructions(
    options: SummaryOptions, aliases: Mapping[str, Sequence[str]], limits: Limits
) -> dict[str, AskedInstruction]:
    """Return the instructions that a request words itself, by their roles and new names.

    Raises UsageError for names or texts that cannot be one, HTTPProblem 413 for too many.
    """
    given = options.ask or {}
    if len(given) > limits.max_roles:
        what = f"{len(given)} instructions; at most {limits.max_roles} are allowed"
        raise HTTPProblem(413, what, where="ask", fix="ask for fewer in one request")
    return asked_instructions(given, aliases)


def load_requested_fields(given: str | Mapping[str, Any]) -> FieldSchema:
    """Return the fields of a preset or a schema; never reads a file that a client names.

    Raises UsageError with everything that is wrong with them, HTTPProblem 413 for a schema that is too long.
    """
    if isinstance(given, str):
        if given not in field_presets():
            raise UsageError(f'there is no preset of fields "{given}"', "fields", did_you_mean(given, field_presets()))
        return load_fields(given)
    if (size := len(strict_json.dumps(given))) > MAX_SCHEMA_LENGTH:
        what = f"the schema has {size:,} characters; at most {MAX_SCHEMA_LENGTH:,} are allowed"
        raise HTTPProblem(413, what, where="fields", fix="ask for fewer fields in one request")
    return make_fields("fields", given, "fields")


def requested_roles(
    options: SummaryOptions, aliases: Mapping[str, Sequence[str]], limits: Limits
) -> tuple[str, ...] | None:
    """Return the requested roles by their canonical names, or what is asked for; None for the default ones.

    Raises UsageError for an unknown role, HTTPProblem 413 for too many.
    """
    asked = requested_instructions(options, aliases, limits)
    if isinstance(options.sections, dict) and len(options.sections) > limits.max_roles:
        what = f"{len(options.sections)} sections; at most {limits.max_roles} are allowed"
        raise HTTPProblem(413, what, where="sections", fix="ask for fewer in one request")
    if options.roles is None:
        return tuple(asked) or None
    known = {**aliases, **{name: () for name, one in asked.items() if one.is_section}}
    roles = tuple(dict.fromkeys(resolve_role(name, known) for name in options.roles))
    if len(roles) > limits.max_roles:
        what = f"{len(roles)} roles; at most {limits.max_roles} are allowed"
        raise HTTPProblem(413, what, where="roles", fix="ask for fewer roles in one request")
    return roles
