"""Settings: defaults of the command line's options, from ROLESUM_ variables and the file .rolesum.toml.

Precedence: a command-line flag, then an environment variable, then the file, then the option's own default. `model` and
`adapter` are one choice: the source that names either of them decides both.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rolesum.errors import Problem, UsageError, did_you_mean
from rolesum.os_errors import os_error

SETTINGS_FILE = ".rolesum.toml"
PREFIX = "ROLESUM_"
DEFAULT = "default"
# Variables that are no defaults of options.
OTHER_VARIABLES = ("ROLESUM_API_KEYS", "ROLESUM_CACHE")

_Text = Annotated[str, Field(min_length=1)]
_Texts = Annotated[list[_Text], Field(min_length=1)]


class SettingsFile(BaseModel):
    """The keys of .rolesum.toml; each is also a variable, ROLESUM_MODEL for `model`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: _Text | None = Field(None, description="The base: catalog alias, hub id, GGUF file or directory.")
    adapter: _Text | None = Field(None, description="The adapter: a run, its adapter or the name of a bundled one.")
    roles: _Text | _Texts | None = Field(None, description="The roles to summarize for.")
    language: Literal["en", "zh"] | None = Field(None, description="The language of the instructions.")
    device: _Text | None = Field(None, description="auto, cpu, cuda, cuda:1 or mps.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None = Field(None, description="Of the weights.")
    threads: int | None = Field(None, ge=1, description="Threads to compute with on a CPU.")


KEYS = tuple(SettingsFile.model_fields)
_WANTED = {
    "roles": 'names of roles, such as "user,agent"',
    "threads": "a number of threads, such as 2",
    "language": "en or zh",
    "dtype": "auto, float32, bfloat16 or float16",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of a key, and where it comes from: a variable's name, or the path of the file."""

    value: str | int
    source: str


def read_settings(directory: Path | None = None, environment: Mapping[str, str] = os.environ) -> dict[str, Setting]:
    """Key -> its setting, for the keys that a variable or the file sets.

    `directory` is where the file is looked for first, by default the working directory; then in those above it. Raises
    UsageError with all unknown keys and wrong values.
    """
    found = _from_file(directory or Path.cwd())
    variables = _from_environment(environment)
    if {"model", "adapter"} & variables.keys():
        found = {key: one for key, one in found.items() if key not in ("model", "adapter")}
    return found | variables


def find_settings_file(directory: Path) -> Path | None:
    """The nearest .rolesum.toml, in a directory or one of those above it."""
    above = directory.absolute()
    return next((one / SETTINGS_FILE for one in (above, *above.parents) if (one / SETTINGS_FILE).is_file()), None)


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[Problem]:
    """ROLESUM_ variables that set nothing; another program may have set them, so that they are no error."""
    known = [*map(variable, KEYS), *OTHER_VARIABLES]
    names = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    return [Problem(f"the variable {name} sets nothing", fix=did_you_mean(name, known)) for name in names]


def variable(key: str) -> str:
    """The variable of a key: ROLESUM_MODEL for "model"."""
    return PREFIX + key.upper()


def _from_environment(environment: Mapping[str, str]) -> dict[str, Setting]:
    given: dict[str, Any] = {key: text for key in KEYS if (text := environment.get(variable(key), "").strip())}
    if given.get("threads", "").isdecimal():
        given["threads"] = int(given["threads"])
    values = _validated(given, {key: variable(key) for key in given})
    return {key: Setting(value, variable(key)) for key, value in values.items()}


def _from_file(directory: Path) -> dict[str, Setting]:
    path = find_settings_file(directory)
    if path is None:
        return {}
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"broken TOML: {error}", str(path), 'write: key = "value"') from None
    except UnicodeDecodeError:
        raise UsageError("not a UTF-8 text", str(path), "save it as UTF-8") from None
    except OSError as error:
        raise os_error(error, "cannot be read", path, "check its permissions", kind=UsageError) from None
    values = _validated(given, dict.fromkeys(given, str(path)))
    for key in ("model", "adapter"):
        if key in values:
            values[key] = _from_folder(path.parent, str(values[key]))
    return {key: Setting(value, str(path)) for key, value in values.items()}


def _from_folder(folder: Path, name: str) -> str:
    """A path in the file counts from the file's directory; what is not there may be an alias or a hub id."""
    inside = folder / Path(name).expanduser()
    return str(inside) if inside.exists() or name.startswith((".", "~")) else name


def _validated(given: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, str | int]:
    """The values as options take them. Raises UsageError; `places` says where each key was set."""
    try:
        checked = SettingsFile.model_validate(given)
    except ValidationError as error:
        wrong = {str(detail["loc"][0]): detail for detail in error.errors()}
        raise UsageError([_problem(key, given[key], places[key]) for key in wrong]) from None
    values = checked.model_dump(exclude_none=True)
    if isinstance(values.get("roles"), list):
        values["roles"] = ",".join(values["roles"])
    return values


def _problem(key: str, value: Any, place: str) -> Problem:
    if key not in KEYS:
        return Problem(f'unknown key "{key}"', place, did_you_mean(key, KEYS))
    return Problem(f"{key} is {value!r}", place, f"set it to {_WANTED.get(key, 'a text')}")
