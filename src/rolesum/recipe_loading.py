"""Loads a recipe: finds its file, applies the overrides, names it after other data, and says what is wrong where.

Precedence: a command-line flag, then --set KEY=VALUE, then the recipe, then the default of its schema.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib import resources
from operator import eq
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rolesum.errors import Problem, UsageError, did_you_mean
from rolesum.formats import check_read_options
from rolesum.formats.source import SAMPLE
from rolesum.os_errors import os_error
from rolesum.recipe import Recipe, names_directory
from rolesum.roles import ALIASES, BUILT_IN, resolve_role
from rolesum.schema_keys import keys_at

RECIPE_FOLDER = "recipes"

# Options of the command line -> the keys of a data file that are as they are.
_READ_KEYS = {
    "--encoding": "encoding",
    "--columns": "columns",
    "--json-path": "json_path",
    "--speaker": "speakers",
    "--unknown-speaker": "unknown_speaker",
}

KeyPath = tuple[str | int, ...]  # of a recipe's mapping, such as ("data", "mix", 0, "path")


def load_recipe(path_or_name: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe by path, or by name from the ones that come with rolesum, and apply KEY=VALUE overrides.

    Raises UsageError with every problem of the file and the overrides.
    """
    path = find_recipe(path_or_name)
    try:
        raw = _without_aliases(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UsageError(f"broken YAML: {getattr(error, 'problem', error)}", place, "check the indentation") from None
    except UnicodeDecodeError:
        raise UsageError("not a UTF-8 text", str(path), "a recipe is a YAML file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise os_error(error, "cannot be read", path, "see docs/recipes.md", kind=UsageError) from None
    if not isinstance(raw, dict):
        raise UsageError("not a recipe: a mapping of keys is needed", str(path), "see rolesum train sample --dry-run")
    in_file, own_data = _without_aliases(raw), _train_path(raw)
    keys = [_apply_override(raw, override) for override in overrides]
    if path.parent in _recipe_folders() and own_data != _train_path(raw):
        _name_after_data(raw, own_data, keys)

    def place_of(key: KeyPath) -> str:
        """The last override that changed the value of a key of the file, or else the file."""
        if not key or _value_at(raw, key) == _value_at(in_file, key):
            return str(path)
        changes = (one for one in reversed(keys) if all(map(eq, one.split("."), map(str, key))))
        return next((f"--set {one}" for one in changes), str(path))

    return parse_recipe(raw, place_of)


def parse_recipe(raw: Mapping[str, Any], place: str | Callable[[KeyPath], str]) -> Recipe:
    """Validate a recipe's mapping. Errors name `place`, or what it returns for the path of a key."""
    place_of = place if callable(place) else lambda _: place
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise UsageError([_problem(detail, place_of(detail["loc"])) for detail in error.errors()]) from None
    if clash := _redefined_roles(recipe):
        raise UsageError(f"the recipe redefines {', '.join(sorted(clash))}", place_of(()), "give it another name")
    asked = recipe.roles
    if recipe.section_set and "roles" not in recipe.model_fields_set:
        asked = recipe.section_set.names
    roles: dict[str, None] = {}
    problems: list[Problem] = []
    for role in asked:
        try:
            roles[resolve_role(role, recipe.aliases)] = None
        except UsageError as error:
            problems += [replace(problem, where=place_of(("roles",))) for problem in error.problems]
    problems += _data_problems(recipe, place_of)
    if problems:
        raise UsageError(problems)
    return recipe.model_copy(update={"roles": tuple(roles)})


def _data_problems(recipe: Recipe, place_of: Callable[[KeyPath], str]) -> list[Problem]:
    """What is wrong with how the recipe's data files are to be read, each at the key that says it."""
    problems: list[Problem] = []
    for name, file in recipe.data.files.items():
        try:
            check_read_options(file.read_options(recipe.aliases))
        except UsageError as error:
            for problem in error.problems:
                key = (*name.split("."), _READ_KEYS.get(problem.where, "format"))
                where = place_of(("data", *(int(step) if step.isdecimal() else step for step in key)))
                problems.append(replace(problem, what=f"data.{'.'.join(key)}: {problem.what}", where=where))
    return problems


def _redefined_roles(recipe: Recipe) -> set[str]:
    """Names and aliases of custom roles and sections that already mean a built-in role or another of them."""
    clash = {role for role in recipe.custom_roles if role.strip().lower() in ALIASES}
    taken = list(BUILT_IN)
    named = [(role, custom.aliases) for role, custom in recipe.custom_roles.items()]
    for role, aliases in (*named, *(recipe.section_set.aliases if recipe.section_set else {}).items()):
        own = {name.strip().lower() for name in (role, *aliases)}
        clash |= own & set(taken)
        taken += own
    return clash


def find_recipe(path_or_name: str | Path) -> Path:
    """A recipe's file: the path itself, or a recipe that comes with rolesum by its name."""
    path = Path(path_or_name)
    with suppress(OSError):  # a name that is too long to be a file's
        if path.is_file():
            return path
    known = bundled_recipes()
    if str(path_or_name) in known:
        return known[str(path_or_name)]
    raise UsageError(
        f"no recipe at {path_or_name}", fix=f"give a YAML file or a name; {did_you_mean(str(path_or_name), known)}"
    )


def bundled_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that come with rolesum, by name."""
    return {entry.stem: entry for folder in _recipe_folders() for entry in sorted(folder.glob("*.yaml"))}


def _recipe_folders() -> list[Path]:
    package = Path(str(resources.files("rolesum")))
    return [package / RECIPE_FOLDER, package.parent.parent / RECIPE_FOLDER]  # an installed package, a checkout


def _train_path(raw: Mapping[str, Any]) -> str:
    """The value of data.train.path as a recipe's file or an override has it; empty where there is none."""
    part: Any = raw
    for key in ("data", "train", "path"):
        part = part.get(key) if isinstance(part, dict) else None
    return part if isinstance(part, str) else ""


def _value_at(raw: Any, key: KeyPath) -> Any:
    """The value of a key of a recipe's mapping; None where there is none."""
    for step in key:
        inside = isinstance(raw, dict) or (isinstance(raw, list) and isinstance(step, int) and step < len(raw))
        raw = (raw.get(step) if isinstance(raw, dict) else raw[step]) if inside else None
    return raw


def _name_after_data(raw: dict[str, Any], own_data: str, overridden: Collection[str]) -> None:
    """Name a recipe that comes with rolesum after the data that replace its own, and note the recipe's name.

    Only where its own data are bundled ones or give it its name: other recipes are made for a data set, which may lie
    anywhere. Bundled validation and test data go with the data that they were made for. What the overrides set stays.
    """
    data, recipe = _train_path(raw), str(raw.get("name"))
    if not data or not (own_data.startswith(SAMPLE) or Path(own_data).stem == recipe):
        return
    name = Path(data.removeprefix(SAMPLE)).stem
    if "name" not in overridden and names_directory(name):
        raw["name"] = name
    if "note" not in overridden:
        raw["note"] = f"Trained on {data} by the recipe {recipe}."
    for part in ("validation", "test"):
        kept = {"data", f"data.{part}", f"data.{part}.path"} & set(overridden)
        file = raw["data"].get(part)
        if not kept and isinstance(file, dict) and str(file.get("path")).startswith(SAMPLE):
            del raw["data"][part]


def _without_aliases(value: Any) -> Any:
    """A copy in which a YAML anchor and its aliases are separate objects, so that an override changes one of them."""
    if isinstance(value, dict):
        return {key: _without_aliases(entry) for key, entry in value.items()}
    return [_without_aliases(entry) for entry in value] if isinstance(value, list) else value


def _apply_override(raw: dict[str, Any], override: str) -> str:
    """Set the value of one KEY=VALUE override and return its key. Raises UsageError."""
    key, sign, text = override.partition("=")
    if not sign:
        raise UsageError(f'--set "{override}" has no value', fix="write --set training.epochs=2")
    *sections, last = key.strip().split(".")
    target: Any = raw
    for section in sections:
        if isinstance(target, dict) and target.get(section) is None:  # left out, or null as in a resolved recipe
            target[section] = {}
        target = target[section] if isinstance(target, dict) else None
        if target is None:
            raise UsageError(
                f'--set "{override}": {section} cannot hold {last}', fix="see rolesum train sample --dry-run"
            )
    if not isinstance(target, dict):
        raise UsageError(
            f'--set "{override}": {".".join(sections)} is not a section', fix="see rolesum train sample --dry-run"
        )
    try:
        target[last] = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UsageError(f'--set "{override}": the value is not YAML', fix="quote it") from None
    return key.strip()


def _problem(detail: Any, place: str) -> Problem:
    known = keys_at(Recipe, detail["loc"][:-1])
    found = Problem.from_pydantic(detail, place, "see rolesum train sample --dry-run", known=known)
    if detail["type"] in ("extra_forbidden", "missing") or not detail["loc"]:
        return found
    return replace(found, what=f"{found.what}, not {detail['input']!r}")
