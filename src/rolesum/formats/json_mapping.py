"""Any other JSON, by paths that the user names: --json-path turns=data.messages,speaker=author.name,text=body."""

from collections.abc import Iterator, Mapping

from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError
from rolesum.formats.json_layouts import Layout, list_paths, read_layout
from rolesum.formats.options import check_field_names, parse_field_map
from rolesum.formats.source import Format, Source
from rolesum.formats.summary_fields import mapped_summaries
from rolesum.roles import RoleAliases

FIELDS = ("turns", "speaker", "text", "time", "role", "id", "summary")
_OPTION = "--json-path"
_EXAMPLE = "turns=messages,speaker=author.name,text=body"


def parse_json_paths(text: str) -> dict[str, str]:
    """Parse --json-path, such as "turns=messages,speaker=author.name,text=body", into field -> path.

    Raises UsageError.
    """
    paths = parse_field_map(text, _OPTION, _EXAMPLE)
    check_fields(paths)
    return paths


def check_fields(paths: Mapping[str, str]) -> None:
    """Raise UsageError for a field that does not exist, and where turns or text is missing."""
    check_field_names(paths, FIELDS, _OPTION)
    if missing := [name for name in ("turns", "text") if name not in paths]:
        raise UsageError(f"no path for {' and '.join(missing)}", _OPTION, f"write {_OPTION} {_EXAMPLE}")


def read(
    source: Source, paths: Mapping[str, str] | None = None, roles: RoleAliases | None = None
) -> Iterator[Dialogue | Problem]:
    """The dialogues of a JSON file: one for each record of an array or line of JSON lines.

    The paths of id, turns and summaries begin at the record, all others at a turn. If the path of turns is ".", the
    records are the turns of one dialogue. `roles` maps custom roles to their aliases.
    """
    if not paths:
        record = source.first_record if source.is_json else None
        where = ", ".join(list_paths(record)) or "no path"
        yield Problem("no paths are given", source.name, f"name them with {_OPTION}; lists of objects are at: {where}")
        return
    check_fields(paths)
    if not source.is_json:
        raise DataError("not JSON", source.name, f"leave {_OPTION} out; --columns maps the columns of a table")
    path = paths["turns"]
    layout = Layout(
        name=FORMAT.name,
        description=FORMAT.description,
        is_bare=path == ".",
        turns=(path,),
        text=(paths["text"],),
        speaker=(paths["speaker"],) if "speaker" in paths else (),
        time=((paths["time"], "auto"),) if "time" in paths else (),
        role=(paths["role"],) if "role" in paths else (),
        identity=(paths["id"],) if "id" in paths else (),
        summaries=mapped_summaries(paths, _OPTION, roles),
        is_ordered=True,
        is_custom=True,
    )
    yield from read_layout(layout, source)


FORMAT = Format("json", f"any other JSON, with {_OPTION} turns=…,speaker=…,text=…", lambda _: False, read)
