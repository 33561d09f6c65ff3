"""The options of the commands that read dialogues: how a file is read."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rolesum.cli.option_values import speaker_map
from rolesum.cli.options import Columns, Encoding, Format, JsonPath, Speakers, UnknownSpeaker

if TYPE_CHECKING:
    from rolesum.formats import ReadOptions


@dataclass(frozen=True)
class ReadingOptions:
    """How dialogues are read. Each field is a command-line option with its default."""

    format_: Format = None
    encoding: Encoding = None
    columns: Columns = None
    json_path: JsonPath = None
    unknown_speaker: UnknownSpeaker = None
    speaker: Speakers = None

    def as_read_options(
        self, custom_roles: Mapping[str, Collection[str]] | None = None, skip: Collection[str] | None = None
    ) -> "ReadOptions":
        """The ReadOptions of the options' values. Raises UsageError for values that are wrong."""
        from rolesum.formats import ReadOptions
        from rolesum.formats.encodings import encoding_name
        from rolesum.formats.json_mapping import parse_json_paths
        from rolesum.formats.options import REFUSE
        from rolesum.formats.table import parse_columns

        return ReadOptions(
            format=self.format_,
            encoding=encoding_name(self.encoding) if self.encoding else None,
            custom_roles=custom_roles or {},
            speakers=speaker_map(self.speaker),
            columns=parse_columns(self.columns) if self.columns else {},
            json_path=parse_json_paths(self.json_path) if self.json_path else {},
            unknown_speaker=self.unknown_speaker or REFUSE,
            skip=tuple(skip or ()),
        )

    def as_recipe_keys(self) -> dict[str, str | Mapping[str, str]]:
        """The keys of a recipe's data file for the options that are given. Raises UsageError as as_read_options."""
        options = self.as_read_options()
        keys: dict[str, str | Mapping[str, str]] = {
            "format": self.format_ or "",
            "encoding": options.encoding or "",
            "columns": dict(options.columns),
            "json_path": dict(options.json_path),
            "speakers": dict(options.speakers),
            "unknown_speaker": self.unknown_speaker or "",
        }
        return {key: value for key, value in keys.items() if value}
