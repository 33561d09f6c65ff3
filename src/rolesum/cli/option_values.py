"""Functions that parse the values of options that several commands share."""

from collections.abc import Mapping
from typing import Any

from rolesum import strict_json
from rolesum.errors import UsageError


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
