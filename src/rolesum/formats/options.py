"""How a file of dialogues is read: one object for every reader, command and request; and how large it may be."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from rolesum.errors import UsageError, did_you_mean

REFUSE = "refuse"  # the default rule for turns without a speaker


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How the dialogues of a source are read.

    Attributes:
        format: The file format's name, a key of FORMATS; None detects it from the content.
        encoding: The text's encoding, one of formats.encodings.ENCODINGS; None detects it.
        custom_roles: Custom role -> its aliases.
        speakers: A speaker's label -> the role that this speaker plays; takes precedence over the file.
        columns: Field -> its column in a table.
        json_path: Field -> its path in a JSON file of no known format.
        unknown_speaker: Who speaks a turn without a speaker: refuse, name=LABEL, alternate=LABEL,LABEL or continue.
        skip: Ids of dialogues to leave out, such as known broken records.
        limit: The largest number of dialogues to return; None for all.
        max_problems: Reading stops after this many problems; None collects all problems of the file.
    """

    format: str | None = None
    encoding: str | None = None
    custom_roles: Mapping[str, Collection[str]] = field(default_factory=dict)
    speakers: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    json_path: Mapping[str, str] = field(default_factory=dict)
    unknown_speaker: str = REFUSE
    skip: Collection[str] = ()
    limit: int | None = None
    max_problems: int | None = None


DEFAULTS = ReadOptions()
SUMMARY = "summary"  # the field of the summary for the whole dialogue; summary.ROLE is the one for a role


def parse_field_map(text: str, option: str, example: str) -> dict[str, str]:
    """Parse an option of names and their values, such as "speaker=who,text=said", into field -> column or path.

    Raises UsageError, with the example, for what is not NAME=VALUE and for a name that is there twice.
    """
    values: dict[str, str] = {}
    for pair in text.replace("，", ",").split(","):
        name, sign, value = (part.strip() for part in pair.partition("="))
        if not name or not sign or not value:
            raise UsageError(f'"{pair}" is not NAME=VALUE', option, f"write {option} {example}")
        if name in values:
            raise UsageError(f'"{name}" has two values', option, f"write {option} {example}")
        values[name] = value
    return values


def is_summary_field(field: str) -> bool:
    """Whether a field is that of a summary: `summary`, or `summary.ROLE` for any role."""
    return field == SUMMARY or (field.startswith(f"{SUMMARY}.") and bool(field.removeprefix(f"{SUMMARY}.").strip()))


def check_field_names(names: Iterable[str], known: Collection[str], option: str) -> None:
    """Raise UsageError for a name that is neither among the `known` fields of the option nor summary.ROLE."""
    for name in names:
        if name not in known and not is_summary_field(name):
            hint = did_you_mean(name, [*known, f"{SUMMARY}.user", f"{SUMMARY}.agent"])
            raise UsageError(f'a dialogue has no field "{name}"', option, hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLimits:
    """Sizes of a source; one that is larger is an error before anything of it is parsed.

    The defaults are for files that a user names. A server, whose memory and time others use, sets smaller ones.

    Attributes:
        max_bytes: Bytes of a zip after unpacking: a few megabytes can unpack to terabytes.
        max_files: Files in a zip; None for any number.
        max_values: JSON values, cells of a table, and lines; None for any number. Each takes about a hundred bytes of
            memory, however short it is in the file.
    """

    max_bytes: int = 2**30
    max_files: int | None = None
    max_values: int | None = None


DEFAULT_LIMITS = SourceLimits()
