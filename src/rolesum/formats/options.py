"""How a file of dialogues is read: one object for every reader, command and request."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

REFUSE = "refuse"  # the default rule for turns without a speaker


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How the dialogues of a source are read.

    Attributes:
        format: The file format's name, a key of FORMATS; None detects it from the content.
        custom_roles: Custom role -> its aliases.
        speakers: A speaker's label -> the role that this speaker plays; takes precedence over the file.
        columns: Field -> its column in a CSV or TSV file.
        unknown_speaker: Who speaks a turn without a speaker: refuse, name=LABEL, alternate=LABEL,LABEL or continue.
        skip: Ids of dialogues to leave out, such as known broken records.
        limit: The largest number of dialogues to return; None for all.
        max_problems: Reading stops after this many problems; None collects all problems of the file.
    """

    format: str | None = None
    custom_roles: Mapping[str, Collection[str]] = field(default_factory=dict)
    speakers: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    unknown_speaker: str = REFUSE
    skip: Collection[str] = ()
    limit: int | None = None
    max_problems: int | None = None


DEFAULTS = ReadOptions()
