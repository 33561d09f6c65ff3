"""Functions that parse the values of options that several commands share."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from rolesum import strict_json
from rolesum.errors import UsageError

if TYPE_CHECKING:
    from rolesum.formats import ReadOptions


def read_options(
    file_format: str | None = None,
    columns: str | None = None,
    unknown_speaker: str | None = None,
    speakers: list[str] | None = None,
    skip: list[str] | None = None,
    custom_roles: Mapping[str, Collection[str]] | None = None,
    *,
    json_path: str | None = None,
    encoding: str | None = None,
) -> "ReadOptions":
    """The ReadOptions of --format, --encoding, --columns, --json-path, --unknown-speaker, --speaker and --skip."""
    from rolesum.formats import ReadOptions
    from rolesum.formats.encodings import encoding_name
    from rolesum.formats.json_mapping import parse_json_paths
    from rolesum.formats.options import REFUSE
    from rolesum.formats.table import parse_columns

    return ReadOptions(
        format=file_format,
        encoding=encoding_name(encoding) if encoding else None,
        custom_roles=custom_roles or {},
        speakers=speaker_map(speakers),
        columns=parse_columns(columns) if columns else {},
        json_path=parse_json_paths(json_path) if json_path else {},
        unknown_speaker=unknown_speaker or REFUSE,
        skip=tuple(skip or ()),
    )


def recipe_overrides(
    set_: list[str] | None, from_adapter: str | None, data: Mapping[str, str | Mapping[str, str]]
) -> list[str]:
    """The recipe's overrides by --set, --from-adapter and the flags that say how its data are read.

    `data` has the keys of `data.train` that flags set. Flags take precedence, as they are applied last.
    """
    flags: dict[str, Any] = {f"data.train.{key}": value for key, value in data.items()}
    if from_adapter:
        flags["base_adapter"] = from_adapter
    return [*(set_ or ()), *(f"{key}={strict_json.dumps(value, ensure_ascii=False)}" for key, value in flags.items())]


def data_file_keys(
    format_: str | None,
    encoding: str | None,
    columns: str | None,
    json_path: str | None,
    unknown_speaker: str | None,
    speakers: list[str] | None,
) -> dict[str, str | Mapping[str, str]]:
    """The keys of a recipe's data file for the options that are given. Raises UsageError for values that are wrong."""
    options = read_options(format_, columns, unknown_speaker, speakers, json_path=json_path, encoding=encoding)
    keys: dict[str, str | Mapping[str, str]] = {
        "format": format_ or "",
        "encoding": options.encoding or "",
        "columns": dict(options.columns),
        "json_path": dict(options.json_path),
        "speakers": dict(options.speakers),
        "unknown_speaker": unknown_speaker or "",
    }
    return {key: value for key, value in keys.items() if value}


def vllm_options(given: list[str] | None) -> dict[str, Any] | None:
    """Argument of vllm.LLM -> its value, parsed as YAML, of the --vllm-option values."""
    import yaml

    found = {}
    for text in given or ():
        key, sign, value = text.partition("=")
        if not sign or not key.isidentifier():
            raise UsageError(f'--vllm-option "{text}" is not KEY=VALUE', fix="write --vllm-option enforce_eager=true")
        found[key] = yaml.safe_load(value)
    return found or None


def ask_map(given: list[str] | None) -> dict[str, str]:
    """Role or new name -> its instruction, of the --ask values."""
    found: dict[str, str] = {}
    for one in given or ():
        name, sign, text = one.partition("=")
        if not sign or not name.strip() or not text.strip():
            raise UsageError(f'--ask "{one}" is not NAME=TEXT', fix='write --ask "complaints=List the complaints."')
        if found.setdefault(name.strip(), text.strip()) != text.strip():
            raise UsageError(f"there are two instructions for {name.strip()}", "--ask", "leave one out")
    return found


def speaker_map(given: list[str] | None) -> dict[str, str]:
    """Speaker's label -> role, of the --speaker values."""
    pairs: dict[str, str] = {}
    for text in given or ():
        label, sign, role = text.rpartition("=")
        if not sign or not label.strip() or not role.strip():
            raise UsageError(f'--speaker "{text}" is not LABEL=ROLE', fix='write --speaker "Anna=user"')
        if pairs.setdefault(label.strip(), role.strip()) != role.strip():
            raise UsageError(f"--speaker gives {label.strip()} two roles", fix="a label plays one role")
    return pairs
