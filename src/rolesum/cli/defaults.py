"""Defaults of options by the settings: what .rolesum.toml and ROLESUM_ variables put in place of an option's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rolesum.errors import RolesumError, UsageError, error_summary

if TYPE_CHECKING:
    from rolesum.settings import Setting

# Key of a context's `meta`: the settings that were applied, by option.
SETTINGS = "rolesum.settings"
# Key -> the engines whose options have it. An endpoint and a GGUF file have weights of their own.
_ENGINES = {
    "model": ("transformers", "vllm"),
    "adapter": ("transformers", "vllm"),
    "device": ("transformers",),
    "dtype": ("transformers", "vllm"),
}
# Key -> options that say something else in its place where they are given.
_REPLACED_BY = {
    "model": ("adapter", "predictions", "labels"),
    "adapter": ("model", "predictions", "labels"),
    "roles": ("sections", "recipe"),
}


def apply_settings(command: Any, context: Any) -> dict[str, "Setting"]:
    """Put the settings in place of the options that the command line leaves out; returns those that were applied.

    Raises UsageError for a file or a variable that is wrong, and for a value that the option does not take.
    """
    from rolesum.settings import KEYS, read_settings

    options = {one.name: one for one in command.params if one.param_type_name == "option"}
    if context.resilient_parsing or not options.keys() & set(KEYS):
        return {}
    applied = {key: one for key, one in read_settings().items() if key in options and _applies(key, context)}
    for key, one in applied.items():
        try:
            context.params[key] = options[key].process_value(context, str(one.value))
        except RolesumError:
            raise
        except Exception as error:  # what click and its types raise
            raise UsageError(f"{key} is {one.value!r}: {error_summary(error)}", one.source, "change it there") from None
    return applied


def note_settings(applied: dict[str, "Setting"]) -> None:
    """Say on standard error which options have their values from a file."""
    from rolesum.console import log

    files = dict.fromkeys(one.source for one in applied.values() if Path(one.source).is_absolute())
    for file in files:
        keys = [f"{key} {one.value}" for key, one in applied.items() if one.source == file]
        log(f"{file}: {', '.join(keys)}")


def _applies(key: str, context: Any) -> bool:
    """Whether a setting is in place of an option: it was left out, and nothing was given that takes its place."""
    replaced = (key, *_REPLACED_BY.get(key, ()))
    engine = context.params.get("engine") or "transformers"
    return engine in _ENGINES.get(key, (engine,)) and not any(_is_given(name, context) for name in replaced)


def _is_given(name: str, context: Any) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")
