"""A new project: a directory with a recipe, the report on its data, and the settings of the commands that run in it."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text, check_directory
from rolesum.console import log
from rolesum.counts import counted
from rolesum.errors import DataError, Problem, UsageError
from rolesum.formats.check import CheckResult, check_file
from rolesum.formats.source import SAMPLE
from rolesum.recipe import DataFile, names_directory
from rolesum.recipe_loading import find_recipe, parse_recipe
from rolesum.settings import SETTINGS_FILE

RECIPE_FILE, REPORT_FILE = "recipe.yaml", "data-check.json"
# What the recipe names until it is changed.
PLACEHOLDER = "dialogues.jsonl"
SHIPPED = "mine"


@dataclass(frozen=True)
class Project:
    """What was written: the files, and the report on the data, if a file was named."""

    directory: Path
    files: tuple[Path, ...]
    recipe: Mapping[str, Any]
    report: CheckResult | None

    @property
    def next_command(self) -> str:
        """What comes next, in the project's directory."""
        if self.report is None or self.report.problems:
            return shlex.join(["rolesum", "data", "check", *_check_arguments(self.recipe["data"]["train"])])
        return f"rolesum train {RECIPE_FILE}"


def create_project(
    directory: Path, data: str | None = None, reading: Mapping[str, str | Mapping[str, str]] | None = None
) -> Project:
    """Write a project's files into a directory, which is made if it is not there. No file is overwritten.

    The recipe is `mine`, with the data's path and the keys of `reading`, such as columns, which say how the data are
    read; and with the roles for which they have summaries. Raises UsageError where a file of the project is there
    already, DataError where no dialogue of `data` has a summary.
    """
    check_directory(directory)
    if reading and data is None:
        raise UsageError(f"{', '.join(reading)} without data", fix="name the file: --data FILE")
    paths = {name: directory / name for name in (RECIPE_FILE, SETTINGS_FILE, REPORT_FILE)}
    if there := [
        Problem("is there already", str(path), "give another directory") for path in paths.values() if path.exists()
    ]:
        raise UsageError(there)
    name = directory.absolute().name
    if not names_directory(name):
        raise UsageError(f"{name!r} cannot name a project", fix="give another directory")
    keys = dict(reading or {})
    options = DataFile.model_validate({"path": data or PLACEHOLDER, **keys}).read_options()
    report = check_file(data, options) if data is not None else None
    if report is not None and not report.summaries:
        fix = (
            'add {"summaries": {"user": "…", "agent": "…"}} to its dialogues, or name a table\'s columns, as in '
            "--columns summary.user=COLUMN: see docs/formats.md"
        )
        raise DataError([*report.problems, Problem("no dialogue with a summary", report.file, fix)])
    recipe = yaml.safe_load(find_recipe(SHIPPED).read_text(encoding="utf-8"))
    recipe |= {"name": name, "note": f"Made by rolesum init, from the recipe {SHIPPED}."}
    recipe["data"]["train"] = {"path": _path_from(directory, data) if data is not None else PLACEHOLDER, **keys}
    if report is not None:
        recipe["roles"] = list(report.summaries)
    parse_recipe(recipe, data or str(directory))
    texts = {RECIPE_FILE: _recipe_text(recipe), SETTINGS_FILE: _settings_text(recipe)}
    if report is not None:
        texts[REPORT_FILE] = strict_json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n"
    for file, text in texts.items():
        atomic_write_text(paths[file], text)
    if report is not None and report.problems:
        log(f"{report.file}: {counted(len(report.problems), 'problem')}, listed in {paths[REPORT_FILE]}")
    return Project(directory, tuple(paths[file] for file in texts), recipe, report)


def _check_arguments(file: Mapping[str, Any]) -> list[str]:
    """The arguments of `rolesum data check` for a data file of the recipe."""
    arguments = [file["path"]]
    for key, flag in (("format", "--format"), ("encoding", "--encoding"), ("unknown_speaker", "--unknown-speaker")):
        arguments += [flag, file[key]] if key in file else []
    for key, flag in (("columns", "--columns"), ("json_path", "--json-path")):
        arguments += [flag, ",".join(f"{name}={value}" for name, value in file[key].items())] if key in file else []
    for label, role in file.get("speakers", {}).items():
        arguments += ["--speaker", f"{label}={role}"]
    return arguments


def _path_from(directory: Path, data: str) -> str:
    """The data's path as a command in the project's directory finds it: relative where the file is in there."""
    if data.startswith(SAMPLE):
        return data
    path, root = Path(data).resolve(), directory.resolve()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _recipe_text(recipe: Mapping[str, Any]) -> str:
    keys = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True, width=100)
    return (
        f"# rolesum train {RECIPE_FILE}; rolesum plan {RECIPE_FILE} says what it needs. Keys: docs/recipes.md\n{keys}"
    )


def _settings_text(recipe: Mapping[str, Any]) -> str:
    roles = ", ".join(strict_json.dumps(role, ensure_ascii=False) for role in recipe["roles"])
    run = strict_json.dumps(f"runs/{recipe['name']}", ensure_ascii=False)
    return f"""# Defaults of rolesum's commands in this directory and below. A flag comes first, then a variable such
# as ROLESUM_ADAPTER, then this file. `rolesum doctor` shows which value came from where.
adapter = "{recipe["base_adapter"]}"
# adapter = {run}    # in place of the line above, once it is trained
roles = [{roles}]
# model = "qwen2.5-0.5b"    # in place of the adapter: a base alone
# threads = 2    # by default one for each physical core
"""
