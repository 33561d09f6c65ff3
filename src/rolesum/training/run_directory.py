"""A run's directory: its files, the checks before a run starts or resumes there, its lock and its checkpoints."""

import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text, check_directory, flush_to_disk, flush_tree_to_disk, remove_if_empty
from rolesum.console import log
from rolesum.dialogue import Dialogue
from rolesum.errors import UsageError
from rolesum.formats import Source, open_source
from rolesum.formats.jsonl import to_json
from rolesum.instructions import load_instruction_set
from rolesum.instructions.sets import LANGUAGES, instruction_set
from rolesum.interrupts import Stopped, signal_name, signal_number
from rolesum.locks import process_lock
from rolesum.models.adapter_metadata import (
    AdapterMetadata,
    custom_instructions,
    custom_sections,
    instruction_sets,
)
from rolesum.models.base_adapter import BaseAdapter, provenance, read_base_adapter
from rolesum.models.prompt_model import LoadedModel
from rolesum.models.revisions import commit_of
from rolesum.recipe import DataFile, Recipe, changed_keys, dump_recipe

_BEST = re.compile(r"\d+|\.\d+\.rolesum-.*")  # named by its step; the second form while it is written

UNFINISHED = ".unfinished"  # holds a checkpoint while it is written
KEPT = 2  # checkpoints
# Written last into a checkpoint: the size of every other file.
SIZES = "sizes.json"

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_SHOWN_KEYS = 8  # of a recipe, in an error
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
        """The result of full fine-tuning, in place of an adapter."""
        return self.path / "model"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def held_out(self) -> Path:
        """The dialogues that data.validation.share keeps out of training, to evaluate the adapter on."""
        return self.path / "validation.jsonl"

    @property
    def references(self) -> Path:
        """What the reference model of preference tuning gives the pairs: see preference.py."""
        return self.path / "references.json"

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
        """Held by the main process while it trains; released when that process ends in any way."""
        return self.path / ".lock"

    def result(self, method: str) -> Path:
        """What the run ends with: the adapter, or the model where the method is "full"."""
        return self.model if method == "full" else self.adapter

    def remove(self) -> None:
        """Remove the run's files, and nothing else that is in its directory."""
        for folder in (self.adapter, self.model):
            shutil.rmtree(folder, ignore_errors=True)
        self.remove_intermediates()
        for file in (self.recipe, self.metrics, self.environment, self.held_out, self.references):
            file.unlink(missing_ok=True)

    def remove_intermediates(self) -> None:
        """Remove what only an unfinished run needs: checkpoints and bests."""
        remove_checkpoints(self.checkpoints)
        self.remove_bests()

    def remove_bests(self, but: int | None = None) -> None:
        """Remove the saved bests, also half-written ones, except the one of step `but`."""
        for one in self.best.glob("*"):
            if _BEST.fullmatch(one.name) and one.name != str(but):
                shutil.rmtree(one, ignore_errors=True)
        remove_if_empty(self.best)

    def last_checkpoint(self) -> Path | None:
        """The newest complete checkpoint."""
        return next((one for one in reversed(list_checkpoints(self.checkpoints)) if is_complete(one)), None)


class Interrupted(Stopped):
    """Training was stopped before its end, by a signal or by --max-minutes (exit code 1); a checkpoint was written."""


@contextmanager
def kept_checkpoints(run: Run) -> Iterator[None]:
    """Raise Stopped at a signal that training does not handle itself, with the checkpoint that is kept, if any."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise stopped_run(run, signal_number(interrupt)) from None


def stopped_run(run: Run, number: int) -> Stopped:
    """The error for a run that signal `number` stopped between two checkpoints, or before the first."""
    text = f"stopped by {signal_name(number)}: "
    if last := run.last_checkpoint():
        fix = "continue from it with the same command and --resume"
        return Interrupted(f"{text}{last.name} is kept", str(run.path), fix, number=number, adds=["--resume"])
    if run.adapter.is_dir() or run.model.is_dir():
        return Stopped(f"{text}the result is written", str(run.path), "it can be used as it is", number=number)
    fix = "run the same command again"
    return Stopped(f"{text}no checkpoint was written yet", str(run.path), fix, number=number)


@contextmanager
def lock_run(run: Run) -> Iterator[None]:
    """Inside, no other process can train into the directory. Raises UsageError where one does."""
    run.path.mkdir(parents=True, exist_ok=True)
    try:
        with process_lock(run.lock, where=run.path, fix="wait until that process ends, or give another --out"):
            yield
    finally:
        remove_if_empty(run.path)


def check_run_directory(run: Run, recipe: Recipe, resume: bool) -> None:
    """Raise UsageError where the directory holds another run, or none to resume. Nothing is written."""
    check_directory(run.path)
    path = str(run.path)
    if resume and not run.recipe.is_file():
        raise UsageError("nothing to resume: no run here", path, "leave --resume out, or check --out")
    if resume and (keys := changed_keys(run.recipe.read_text(encoding="utf-8", errors="replace"), recipe)):
        shown = ", ".join(keys[:_SHOWN_KEYS]) + (" …" if len(keys) > _SHOWN_KEYS else "")
        what = f"the recipe differs from the one that this run began with: {shown}"
        raise UsageError(what, str(run.recipe), "use that one")
    if run.adapter.is_dir() or run.model.is_dir():
        done = "is finished already" if resume else "holds a finished run"
        raise UsageError(f"this directory {done}", path, "give another --out, or remove it")
    if not resume and list_checkpoints(run.checkpoints):
        raise UsageError("this directory holds a run that was stopped", path, "add --resume, or remove it")
    folders = (run.adapter, run.model, run.checkpoints, run.best)
    files = () if _environment(run) else (run.recipe, run.metrics, run.environment, run.held_out, run.references)
    foreign = [one.name for one in folders if one.is_file()] + [one.name for one in files if one.exists()]
    if foreign:
        what = f"this directory holds what no run of rolesum wrote: {', '.join(foreign)}"
        raise UsageError(what, path, "give another --out")


def checkpoint_to_resume(run: Run, sharded: bool) -> Path | None:
    """What a resumed run continues from. Raises UsageError where FSDP was in use and is not now, or the reverse."""
    last = run.last_checkpoint()
    for broken in list_checkpoints(run.checkpoints)[::-1]:
        if broken == last:
            break
        log(f"{broken.name} is incomplete and is skipped")
    if last is None:
        log("there is no complete checkpoint: the run starts from the beginning")
    elif any(last.glob("pytorch_model_fsdp*")) != sharded:
        fix = "leave FSDP out" if sharded else "start it as before, with FSDP in accelerate's configuration"
        raise UsageError("this run began " + ("without FSDP" if sharded else "with FSDP"), str(last), fix)
    return last


def start_run(
    run: Run, recipe: Recipe, loaded: LoadedModel, dtype: torch.dtype, hashes: Mapping[str, str], resume: bool
) -> None:
    """Write recipe.yaml and environment.json. `hashes` are those of the data files as they were read.

    Raises UsageError where a resumed run's data, base, instructions or dtype differ from those that it began with:
    dtype "auto" may mean another on another machine.
    """
    now = describe_environment(recipe, loaded, dtype, hashes)
    if resume:
        began = _environment(run)
        parts = {"data": "data", "base": "base", "base_adapter": "base adapter", "instructions": "instructions"}
        changed = [name for part, name in parts.items() if began.get(part) != now[part]]
        if changed:
            what = f"{' and '.join(changed)} changed since this run began"
            raise UsageError(what, str(run.environment), "restore what it began with, or start a new run")
        if began.get("dtype") != now["dtype"]:
            what = f"this run began in {began.get('dtype')}, and dtype: {recipe.dtype} is {now['dtype']} on this device"
            raise UsageError(
                what, str(run.environment), "resume where it began, or start a new run with that dtype set"
            )
    if not resume:
        run.remove_bests()
    atomic_write_text(run.environment, strict_json.dumps(now, indent=1, ensure_ascii=False) + "\n")
    if not resume:
        atomic_write_text(run.metrics, "")
    atomic_write_text(run.recipe, dump_recipe(recipe))


def write_held_out(run: Run, dialogues: Sequence[Dialogue]) -> None:
    """Write the dialogues that are held out for validation, as JSON lines."""
    atomic_write_text(run.held_out, "".join(f"{to_json(one)}\n" for one in dialogues))


def finish_run(run: Run, costs: dict[str, Any], verify: dict[str, Any] | None = None) -> None:
    """Add to environment.json what the run cost, and how its result verifies; remove checkpoints and bests."""
    known = {**_environment(run), "costs": costs, **({"verify": verify} if verify else {})}
    atomic_write_text(run.environment, strict_json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    run.remove_intermediates()


def _environment(run: Run) -> dict[str, Any]:
    """The content of the run's environment.json; empty where a run wrote none."""
    try:
        known = json.loads(run.environment.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) and "rolesum" in known else {}


def describe_environment(
    recipe: Recipe, loaded: LoadedModel, dtype: torch.dtype, hashes: Mapping[str, str]
) -> dict[str, Any]:
    """Versions, machine, data hashes and seed: what reproducing the run needs."""
    adapter = read_base_adapter(recipe)
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
        "base_revision": commit_of(loaded.path),
        "base_adapter": {"name": adapter.name, "sha256": adapter.digest()} if adapter else None,
        "data": {name: {"path": file.path, "sha256": hashes[name]} for name, file in data_files(recipe).items()},
        "instructions": _text_hash(open_source(recipe.instructions)) if recipe.instructions else "built in",
    }


def data_hashes(recipe: Recipe) -> dict[str, str]:
    """The hashes of the data files' texts, by their keys in the recipe."""
    return {name: _text_hash(file.open()) for name, file in data_files(recipe).items()}


def data_files(recipe: Recipe) -> dict[str, DataFile]:
    """The files that decide what is trained on and validated, by their keys in the recipe."""
    files = {name: file for name, file in recipe.data.files.items() if file.path and name != "test"}
    apart = (file for one in recipe.data.train_files for file in one.apart_files)
    return files | {f"apart_from: {file.path}": file for file in apart}


def adapter_metadata(recipe: Recipe, loaded: LoadedModel, adapter: BaseAdapter | None = None) -> dict[str, Any]:
    """What is stored beside an adapter (or a tuned model) so that it is used as it was trained.

    `adapter` is the one that the run goes on from; `loaded.metadata` are its metadata, or those of a base whose own
    weights were tuned: what the recipe leaves open is asked in the words of that training, as PromptModel.layout does.
    """
    trained = loaded.metadata
    sections = recipe.section_set or custom_sections(trained)
    aliases = {**trained.get("aliases", {}), **{role: list(names) for role, names in recipe.aliases.items()}}
    return {
        "rolesum": metadata.version("rolesum"),
        "recipe": recipe.name,
        "base": recipe.base,
        "base_revision": commit_of(loaded.path),
        "fingerprint": loaded.fingerprint,
        "roles": list(recipe.roles),
        "verify": recipe.verify.model_dump() if recipe.verify else None,
        "data": [file.path for file in recipe.data.train_files],
        "base_adapter": adapter.provenance() if adapter else provenance(recipe.base, trained) if trained else None,
        "language": recipe.language or trained.get("language"),
        **_asked_in(recipe, trained),
        "sections": sections.model_dump() if sections else None,
        "definitions": {**trained.get("definitions", {}), **recipe.definitions},
        "aliases": aliases,
    }


def _asked_in(recipe: Recipe, trained: AdapterMetadata) -> dict[str, Any]:
    """The metadata's instruction sets: one of the recipe's own, or the built-in ones as they were worded first."""
    own = load_instruction_set(recipe.instructions) if recipe.instructions else custom_instructions(trained)
    if own is not None:
        return {"instructions": own.with_defaults().model_dump(), "instruction_sets": {}}
    worded = {language: instruction_set(language) for language in LANGUAGES} | instruction_sets(trained)
    return {
        "instructions": None,
        "instruction_sets": {language: one.with_defaults().model_dump() for language, one in worded.items()},
    }


def _text_hash(source: Source) -> str:
    return hashlib.sha256(source.text.encode()).hexdigest()


def finish_checkpoint(written: Path, folder: Path) -> None:
    """Move a written checkpoint into `folder`, complete or not at all, and remove all but the last KEPT."""
    (written / SIZES).write_text(strict_json.dumps(_sizes(written)), encoding="utf-8")
    flush_tree_to_disk(written)
    finished = folder / written.name
    shutil.rmtree(finished, ignore_errors=True)
    written.rename(finished)
    remove_if_empty(written.parent)
    flush_to_disk(folder)
    for older in list_checkpoints(folder)[:-KEPT]:
        shutil.rmtree(older, ignore_errors=True)


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoint directories, complete or not, the newest last."""
    found = [path for path in folder.glob("checkpoint-*") if _CHECKPOINT.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=_step_of)


def is_complete(checkpoint: Path) -> bool:
    """Whether all of its files are there with their full sizes, and its state is of the step in its name."""
    try:
        sizes = json.loads((checkpoint / SIZES).read_text(encoding="utf-8"))
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        return bool(sizes == _sizes(checkpoint) and state["global_step"] == _step_of(checkpoint))
    except (OSError, ValueError, TypeError, KeyError):
        return False


def remove_checkpoints(folder: Path) -> None:
    """Remove what training wrote there, and the folder if nothing else is in it."""
    for one in [*list_checkpoints(folder), folder / UNFINISHED]:
        shutil.rmtree(one, ignore_errors=True)
    remove_if_empty(folder)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _sizes(checkpoint: Path) -> dict[str, int]:
    files = [file for file in checkpoint.rglob("*") if file.is_file() and file.name != SIZES]
    return {file.relative_to(checkpoint).as_posix(): file.stat().st_size for file in sorted(files)}
