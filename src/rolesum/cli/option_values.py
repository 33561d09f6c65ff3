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
    unknown_speaker: str = "refuse",
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
    from rolesum.formats.table import parse_columns

    return ReadOptions(
        format=file_format,
        encoding=encoding_name(encoding) if encoding else None,
        custom_roles=custom_roles or {},
        speakers=speaker_map(speakers),
        columns=parse_columns(columns) if columns else {},
        json_path=parse_json_paths(json_path) if json_path else {},
        unknown_speaker=unknown_speaker,
        skip=tuple(skip or ()),
    )


def recipe_overrides(set_: list[str] | None, from_adapter: str | None) -> list[str]:
    """The recipe's overrides by --set and --from-adapter; the latter takes precedence, as it is applied last."""
    return [*(set_ or ()), *([f"base_adapter={strict_json.dumps(from_adapter)}"] if from_adapter else ())]


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
