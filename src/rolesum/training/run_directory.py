"""A run's directory: what lies in it, whether a run may begin or go on there, and what is written down of it."""

import hashlib
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from rolesum.atomic_io import atomic_write_text, check_directory, remove_if_empty
from rolesum.errors import RolesumError, UsageError
from rolesum.formats import open_source
from rolesum.instructions import load_instruction_set
from rolesum.instructions.sets import LANGUAGES, instruction_set
from rolesum.locks import process_lock
from rolesum.models.loading import LoadedModel
from rolesum.recipe import Recipe, dump_recipe
from rolesum.training.checkpoints import is_complete, list_checkpoints, remove_checkpoints

_BEST = re.compile(r"\d+|\.\d+\.rolesum-.*")  # by its step; the second while it is written

LIBRARIES = ("torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors")


@dataclass(frozen=True)
class Run:
    """The directory that a recipe's run leaves."""

    path: Path

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def model(self) -> Path:
        """In the adapter's place, where all weights were trained."""
        return self.path / "model"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The best of the evaluations so far, in a directory named by its step."""
        return self.path / "best"

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def lock(self) -> Path:
        """There while the run is under way; held by its first process, and free when that ends in any way."""
        return self.path / ".lock"

    def result(self, method: str) -> Path:
        """What the run is for: the adapter, or the model where the method is "full"."""
        return self.model if method == "full" else self.adapter

    def remove(self) -> None:
        """Remove what a run leaves, and nothing else that lies in its directory."""
        for folder in (self.adapter, self.model):
            shutil.rmtree(folder, ignore_errors=True)
        self.remove_intermediates()
        for file in (self.recipe, self.metrics, self.environment):
            file.unlink(missing_ok=True)

    def remove_intermediates(self) -> None:
        """Remove what only a run under way needs."""
        remove_checkpoints(self.checkpoints)
        self.remove_bests()

    def remove_bests(self, but: int | None = None) -> None:
        """Remove the bests, also half-written ones; all `but` the one of this step."""
        for one in self.best.glob("*"):
            if _BEST.fullmatch(one.name) and one.name != str(but):
                shutil.rmtree(one, ignore_errors=True)
        remove_if_empty(self.best)

    def last_checkpoint(self) -> Path | None:
        """The newest whole checkpoint."""
        return next((one for one in reversed(list_checkpoints(self.checkpoints)) if is_complete(one)), None)


class Interrupted(RolesumError):
    """Training was stopped before its end, by the user or by --max-minutes; a checkpoint was written."""

    exit_code = 1


@contextmanager
def lock_run(run: Run) -> Iterator[None]:
    """Keep other processes from training into the directory. Raises UsageError where one does."""
    run.path.mkdir(parents=True, exist_ok=True)
    try:
        with process_lock(run.lock, where=run.path, fix="wait until that process ends, or give another --out"):
            yield
    finally:
        remove_if_empty(run.path)


def check_run_directory(run: Run, recipe: Recipe, resume: bool) -> None:
    """Raise UsageError where the directory holds another run, or none to go on with. Nothing is written yet."""
    check_directory(run.path)
    path = str(run.path)
    if resume and not run.recipe.is_file():
        raise UsageError("nothing to resume: no run here", path, "leave --resume out, or check --out")
    if resume and run.recipe.read_text(encoding="utf-8", errors="replace") != dump_recipe(recipe):
        raise UsageError("the recipe differs from the one that this run began with", str(run.recipe), "use that one")
    if run.adapter.is_dir() or run.model.is_dir():
        done = "is finished already" if resume else "holds a finished run"
        raise UsageError(f"this directory {done}", path, "give another --out, or remove it")
    if not resume and list_checkpoints(run.checkpoints):
        raise UsageError("this directory holds a run that was stopped", path, "add --resume, or remove it")
    folders = (run.adapter, run.model, run.checkpoints, run.best)
    files = () if _environment(run) else (run.recipe, run.metrics, run.environment)
    foreign = [one.name for one in folders if one.is_file()] + [one.name for one in files if one.exists()]
    if foreign:
        what = f"this directory holds what no run of rolesum wrote: {', '.join(foreign)}"
        raise UsageError(what, path, "give another --out")


def start_run(run: Run, recipe: Recipe, loaded: LoadedModel, dtype: torch.dtype, resume: bool) -> None:
    """Write recipe.yaml and environment.json. A resumed run must find the data and the base that it began with.

    Also the dtype that it computes in: "auto" may be another on another machine.
    """
    now = describe_environment(recipe, loaded, dtype)
    if resume:
        began = _environment(run)
        changed = [part for part in ("data", "base", "instructions") if began.get(part) != now[part]]
        if changed:
            what = f"{' and '.join(changed)} changed since this run began"
            raise UsageError(what, str(run.environment), "restore what it began with, or train anew")
        if began.get("dtype") != now["dtype"]:
            what = f"this run began in {began.get('dtype')}, and dtype: {recipe.dtype} is {now['dtype']} on this device"
            raise UsageError(what, str(run.environment), "go on where it began, or train anew with that dtype set")
    if not resume:
        run.remove_bests()
    atomic_write_text(run.environment, json.dumps(now, indent=1, ensure_ascii=False) + "\n")
    if not resume:
        atomic_write_text(run.metrics, "")
    atomic_write_text(run.recipe, dump_recipe(recipe))


def finish_run(run: Run, costs: dict[str, Any]) -> None:
    """Note what the run cost beside its versions, and drop what it needs no more."""
    known = _environment(run)
    atomic_write_text(run.environment, json.dumps({**known, "costs": costs}, indent=1, ensure_ascii=False) + "\n")
    run.remove_intermediates()


def _environment(run: Run) -> dict[str, Any]:
    """What the run's environment.json says; empty where there is none that a run wrote."""
    try:
        known = json.loads(run.environment.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) and "rolesum" in known else {}


def describe_environment(recipe: Recipe, loaded: LoadedModel, dtype: torch.dtype) -> dict[str, Any]:
    """Versions, machine, data hashes and seed: what one needs to make the run again."""
    return {
        "python": platform.python_version(),
        "rolesum": metadata.version("rolesum"),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "device": torch.cuda.get_device_name() if loaded.device.type == "cuda" else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "dtype": str(dtype).removeprefix("torch."),
        "seed": recipe.training.seed,
        "base": {"name": recipe.base, "fingerprint": loaded.fingerprint},
        "data": {name: {"path": path, "sha256": _data_hash(path)} for name, path in _data_files(recipe).items()},
        "instructions": _data_hash(recipe.instructions) if recipe.instructions else "built in",
    }


def _data_files(recipe: Recipe) -> dict[str, str]:
    """Every file that decides what is trained on and looked at, by its key in the recipe."""
    data = recipe.data
    files = {"train": data.train.path} | {f"mix.{number}": file.path for number, file in enumerate(data.mix)}
    if data.validation:
        files["validation"] = data.validation.path
    return files | {f"apart_from: {path}": path for file in data.train_files for path in file.apart_from}


def adapter_metadata(recipe: Recipe, loaded: LoadedModel) -> dict[str, Any]:
    """What an adapter (or a tuned model) must know of how it was made, to be used the same way."""
    own = load_instruction_set(recipe.instructions).with_defaults().model_dump() if recipe.instructions else None
    built_in = {} if own else {language: instruction_set(language).model_dump() for language in LANGUAGES}
    return {
        "rolesum": metadata.version("rolesum"),
        "recipe": recipe.name,
        "base": recipe.base,
        "fingerprint": loaded.fingerprint,
        "roles": list(recipe.roles),
        "language": recipe.language,
        "instructions": own,
        "instruction_sets": built_in,
        "sections": recipe.section_set.model_dump() if recipe.section_set else None,
        "definitions": recipe.definitions,
        "aliases": {role: list(names) for role, names in recipe.aliases.items()},
    }


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process has held so far: of the GPU, or of main memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    if status.is_file():  # of Linux; ru_maxrss would begin with what the process held that started this one
        high = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), None)
        if high:
            return int(high.split()[1]) * 1024
    import resource  # not on Windows

    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024


def _data_hash(path: str) -> str:
    return hashlib.sha256(open_source(path).text.encode()).hexdigest()
