"""From a request to the dialogues that are meant: turns as JSON, a text, or an uploaded file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rolesum.dialogue import Dialogue
from rolesum.errors import UsageError, did_you_mean
from rolesum.formats import ReadOptions, Source, format_name, read_dialogues
from rolesum.formats.source import decode_source
from rolesum.instructions import SectionSet, load_sections
from rolesum.instructions.sections import preset_names
from rolesum.roles import resolve_role
from rolesum.server.limits import Limits
from rolesum.server.problems import Refusal
from rolesum.server.schemas import DialogueIn, Reading, Wishes

# Of a text: so many are found and no more.
PROBLEMS = 100
# Characters of a speaker's label, or of an id.
NAME = 1000
ALONE = "dialogue"  # the id of a dialogue that came without one


@dataclass(frozen=True)
class Upload:
    """A file as it was sent: its name is shown in messages, and is no path here."""

    name: str
    raw: bytes


def source_from(
    limits: Limits,
    *,
    dialogues: Sequence[DialogueIn] = (),
    text: str | None = None,
    upload: Upload | None = None,
) -> Source:
    """What is to be read, of the one thing that was sent. Raises Refusal where it was none or several."""
    given = [one for one in (dialogues or None, text, upload) if one is not None]
    if len(given) != 1:
        what = "no dialogue" if not given else "several things to read"
        raise Refusal(422, what, fix='send one of "dialogue", "text", or a file')
    if upload is not None:
        return decode_source(upload.raw, upload.name, max_bytes=limits.unpacked_bytes)
    if text is not None:
        return decode_source(text.encode("utf-8", "surrogatepass"), "text")
    records = []
    for number, one in enumerate(dialogues, 1):
        identity = one.id or (ALONE if len(dialogues) == 1 else f"{ALONE}-{number}")
        record = {"id": identity, "turns": [turn.model_dump() for turn in one.turns]}
        records.append(json.dumps(record | ({"roles": one.roles} if one.roles else {})))
    return Source("dialogues", "\n".join(records))


def read(
    source: Source,
    limits: Limits,
    how: Reading,
    *,
    aliases: Mapping[str, Sequence[str]],
    most: int,
) -> tuple[str, list[Dialogue]]:
    """The name of the format and at most `most` dialogues. Raises DataError with all problems, Refusal, UsageError."""
    options = ReadOptions(
        format=how.format,
        custom_roles=aliases,
        speakers=how.speakers or {},
        columns=how.columns or {},
        unknown_speaker=how.unknown_speaker,
        limit=most + 1,
        max_problems=PROBLEMS,
    )
    name = format_name(source, options)
    found = read_dialogues(source, replace(options, format=name))
    if len(found) > most:
        fix = "send many to /v1/batches" if most == 1 else "send them in several batches"
        raise Refusal(413, f"more than {most:,} dialogue{'s' * (most > 1)}", where=source.name, fix=fix)
    for one in found:
        check_size(one, limits)
    return name, found


def check_size(dialogue: Dialogue, limits: Limits) -> None:
    """Refuse what would hold the engine for too long."""
    if len(dialogue.turns) > limits.turns:
        what = f"{len(dialogue.turns):,} turns; at most {limits.turns:,} are taken"
        raise Refusal(413, what, where=dialogue.location, fix="send it in parts, or use rolesum summarize")
    for name in (dialogue.id, *dialogue.speakers()):
        if len(name) > NAME:
            what = f"an id or a speaker of {len(name):,} characters; at most {NAME} are taken"
            raise Refusal(413, what, where=dialogue.location[:NAME], fix="check the format, or shorten it")
    check_characters(sum(len(turn.text) for turn in dialogue.turns), limits, dialogue.location)


def check_characters(characters: int, limits: Limits, where: str) -> None:
    """Refuse a text that would hold the engine for too long."""
    if characters > limits.characters:
        what = f"{characters:,} characters; at most {limits.characters:,} are taken"
        raise Refusal(413, what, where=where, fix="send it in parts, or use rolesum summarize")


def sections_named(name: str | None) -> SectionSet | None:
    """A preset by its name; no file of this machine is read. Raises UsageError."""
    if name is None:
        return None
    if name not in preset_names():
        raise UsageError(f'no sections "{name}"', "sections", did_you_mean(name, preset_names()))
    return load_sections(name)


def roles_named(wishes: Wishes, aliases: Mapping[str, Sequence[str]], limits: Limits) -> tuple[str, ...] | None:
    """The roles that were asked for, by their one name. Raises UsageError for an unknown one, Refusal for too many."""
    if wishes.roles is None:
        return None
    roles = tuple(dict.fromkeys(resolve_role(name, aliases) for name in wishes.roles))
    if len(roles) > limits.roles:
        raise Refusal(413, f"{len(roles)} roles; at most {limits.roles} at once", fix="ask for fewer")
    return roles
