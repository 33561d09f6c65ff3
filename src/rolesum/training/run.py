"""One run: from a recipe to a Run directory with the adapter, the resolved recipe, the metrics and the environment."""

import hashlib
import json
import os
import platform
import shutil
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PrinterCallback, TrainingArguments
from transformers.integrations import get_available_reporting_integrations

from rolesum.dialogue import Bundle, Dialogue, bundle_of
from rolesum.errors import DataError, ResourceError, RolesumError, UsageError
from rolesum.files import write_whole
from rolesum.formats import open_source, read_dialogues
from rolesum.instructions import load_instruction_set
from rolesum.models.adapters import save_adapter
from rolesum.models.loading import LoadedModel, load_model
from rolesum.models.quiet import quiet_transformers
from rolesum.progress import meter, say
from rolesum.recipe import DataFile, Recipe, dump_recipe
from rolesum.training.batch import Draw, padding_share, split_to_budget, token_budget_batches
from rolesum.training.callbacks import MetricsFile, ProgressLine, SaveByClock, StopOnInterrupt
from rolesum.training.card import model_card
from rolesum.training.encode import EncodedBundle, encode_bundles
from rolesum.training.loss import summing_loss
from rolesum.training.trainer import BundleDataset, RoleTrainer

LIBRARIES = ("torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors")
DEFAULT_RUNS = Path("runs")


@dataclass(frozen=True)
class Run:
    """The directory that a recipe's run leaves."""

    path: Path

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

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
    def recipe(self) -> Path:
        return self.path / "recipe.yaml"

    def remove(self) -> None:
        """Remove what a run leaves, and nothing else that lies in its directory."""
        for folder in (self.adapter, self.checkpoints):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.recipe, self.metrics, self.environment):
            file.unlink(missing_ok=True)

    def last_checkpoint(self) -> Path | None:
        """The newest whole checkpoint. trainer_state.json is written last: without it the rest was cut short."""
        whole = {}
        for state in self.checkpoints.glob("checkpoint-*/trainer_state.json"):
            with suppress(ValueError, KeyError):
                whole[json.loads(state.read_text(encoding="utf-8"))["global_step"]] = state.parent
        return whole[max(whole)] if whole else None


class Interrupted(RolesumError):
    """Training was stopped by the user; a checkpoint was written."""

    exit_code = 1


def train(recipe: Recipe, out: str | Path | None = None, *, resume: bool = False, device: str = "auto") -> Run:
    """Train an adapter by the recipe and return its Run directory (default runs/NAME).

    With `resume`, go on from the last checkpoint. Raises Interrupted after Ctrl-C, DataError, ModelError and
    ResourceError as they come.
    """
    run = _prepare(recipe, Path(out) if out else DEFAULT_RUNS / recipe.name, resume, device)
    dialogues = _read(recipe, recipe.data.train)
    bundles = _bundles(recipe, recipe.data.train, dialogues)
    loaded = load_model(recipe.base, dtype=recipe.dtype, device=device)
    loaded.check_languages(dialogues)
    encoded = _encode(recipe, loaded, bundles)
    lengths = [bundle.tokens for bundle in encoded]
    options = recipe.training
    schedule = token_budget_batches(lengths, options.tokens_per_batch, seed=options.seed, epochs=options.epochs)
    say(
        f"training {recipe.base} on {len(bundles)} dialogues, {sum(len(one.branches) for one in encoded)} examples, "
        f"{sum(lengths):,} tokens, {len(schedule)} batches ({padding_share(schedule, lengths):.1%} padding)"
    )
    _record(run, recipe, loaded, resume)
    model = with_lora(loaded, recipe)
    note = adapter_note(recipe, loaded)
    _fit(run, recipe, loaded, model, encoded, schedule, resume)
    model.peft_config["default"].base_model_name_or_path = recipe.base  # PEFT keeps the path on this machine there
    save_adapter(model, run.adapter, note, model_card(recipe, note, len(bundles)))
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    return run


def with_lora(loaded: LoadedModel, recipe: Recipe) -> PeftModel:
    """The base with fresh LoRA layers: float32 adapters over a frozen base, seeded by the recipe."""
    torch.manual_seed(recipe.training.seed)
    targets = recipe.lora.targets or loaded.family.lora_targets
    config = LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
    try:
        model = get_peft_model(loaded.model, config)
    except ValueError as error:
        raise UsageError(f"lora.targets do not fit {recipe.base}: {error}", fix="leave lora.targets out") from None
    if recipe.lora.targets:  # PEFT is content if one of them matches
        adapted = model.base_model.targeted_module_names
        lost = [name for name in recipe.lora.targets if not any(f".{one}".endswith(f".{name}") for one in adapted)]
        if lost:
            what = f"lora.targets: {recipe.base} has no module {', '.join(lost)}"
            raise UsageError(what, fix="leave lora.targets out for all linear layers")
    return model


def adapter_note(recipe: Recipe, loaded: LoadedModel) -> dict[str, Any]:
    """What an adapter must know of how it was made, to be used the same way."""
    own = load_instruction_set(recipe.instructions).model_dump() if recipe.instructions else None
    return {
        "rolesum": metadata.version("rolesum"),
        "recipe": recipe.name,
        "base": recipe.base,
        "fingerprint": loaded.fingerprint,
        "roles": list(recipe.roles),
        "language": recipe.language,
        "instructions": own,
        "definitions": recipe.definitions,
        "aliases": {role: list(names) for role, names in recipe.aliases.items()},
    }


def environment(recipe: Recipe, loaded: LoadedModel) -> dict[str, Any]:
    """Versions, machine, data hashes and seed: what one needs to make the run again."""
    files = {"train": recipe.data.train, "validation": recipe.data.validation}
    return {
        "python": platform.python_version(),
        "rolesum": metadata.version("rolesum"),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "device": torch.cuda.get_device_name() if loaded.device.type == "cuda" else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
        "seed": recipe.training.seed,
        "base": {"name": recipe.base, "fingerprint": loaded.fingerprint},
        "data": {name: {"path": file.path, "sha256": _data_hash(file.path)} for name, file in files.items() if file},
        "instructions": _data_hash(recipe.instructions) if recipe.instructions else "built in",
    }


def _fit(
    run: Run,
    recipe: Recipe,
    loaded: LoadedModel,
    model: PeftModel,
    encoded: list[EncodedBundle],
    schedule: list[list[Draw]],
    resume: bool,
) -> None:
    """Train `model` in place, from the last checkpoint if asked."""
    options = recipe.training
    validation = _validation(recipe, loaded)
    validation_lengths = [bundle.tokens for bundle in validation]
    steps = [
        schedule[start : start + options.gradient_accumulation]
        for start in range(0, len(schedule), options.gradient_accumulation)
    ]
    tokens = [sum(encoded[draw.index].tokens for batch in step for draw in batch) for step in steps]
    stop = StopOnInterrupt()
    with (
        quiet_transformers(),
        summing_loss(loaded.causal_lm, recipe.neftune.alpha),
        meter("train", len(steps), "steps") as bar,
    ):
        trainer = RoleTrainer(
            model=model,
            args=_arguments(run, recipe, loaded, bool(validation), len(steps)),
            train_dataset=BundleDataset(encoded),
            eval_dataset=BundleDataset(validation) if validation else None,
            callbacks=[ProgressLine(bar, tokens), MetricsFile(run.metrics), SaveByClock(options.save_minutes), stop],
            schedule=schedule,
            validation=token_budget_batches(validation_lengths, options.tokens_per_batch, seed=0, epochs=1),
            epochs=options.epochs,
            pad_id=_pad_id(loaded),
        )
        trainer.pop_callback(PrinterCallback)
        last = run.last_checkpoint() if resume else None
        if resume and last is None:
            say("no whole checkpoint here: the run begins anew")
        try:
            trainer.train(resume_from_checkpoint=str(last) if last else None)
        except torch.OutOfMemoryError:
            fix = "lower training.tokens_per_batch and raise training.gradient_accumulation"
            raise ResourceError("the batch does not fit the device's memory", fix=fix) from None
        except OSError as error:
            what = f"could not write to the run: {error}"
            raise ResourceError(what, str(run.path), "free some disk space, then go on with --resume") from None
        finally:
            stop.restore()
    if stop.interrupted and trainer.state.global_step < len(steps):
        done = f"stopped at step {trainer.state.global_step} of {len(steps)}; a checkpoint was written"
        raise Interrupted(done, str(run.path), "go on with the same command and --resume")


def _arguments(run: Run, recipe: Recipe, loaded: LoadedModel, validate: bool, steps: int) -> TrainingArguments:
    options = recipe.training
    known = get_available_reporting_integrations()
    if missing := [name for name in options.report_to if name not in known]:
        what = f"training.report_to: {', '.join(missing)} is not installed, or not known to transformers"
        raise UsageError(what, fix=f"pip install it, or leave it out; installed: {', '.join(known) or 'none'}")
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(run.path / "tensorboard"))  # not beside the checkpoints
    arguments = TrainingArguments(
        output_dir=str(run.checkpoints),
        num_train_epochs=1,  # the schedule holds all epochs
        learning_rate=options.learning_rate,
        lr_scheduler_type="constant_with_warmup" if options.schedule == "constant" else options.schedule,
        warmup_steps=round(options.warmup * steps),
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        gradient_accumulation_steps=options.gradient_accumulation,
        eval_strategy="steps" if validate else "no",
        eval_steps=max(1, -(-steps // (2 * options.epochs))),  # twice an epoch
        save_strategy="no",  # by the clock, see SaveByClock
        save_total_limit=2,
        logging_steps=options.log_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # a loss that is no number must be seen
        report_to=list(options.report_to) or "none",
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=loaded.device.type == "cpu",
        seed=options.seed,
        neftune_noise_alpha=None,  # ours is in the loss, scaled per example
    )
    _ = arguments.device  # counts the GPUs
    arguments._n_gpu = min(arguments.n_gpu, 1)  # DataParallel would cut our flat positions apart
    return arguments


def _prepare(recipe: Recipe, path: Path, resume: bool, device: str) -> Run:
    """The run's directory, checked before anything costly happens; nothing is written yet."""
    run = Run(path)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("training in several processes is not supported yet", fix="run it without torchrun")
    if device.startswith("cuda:") and device != "cuda:0":
        fix = f"CUDA_VISIBLE_DEVICES={device.removeprefix('cuda:')} rolesum train … --device cuda"
        raise UsageError("training runs on the first GPU that it sees", fix=fix)
    if resume and not run.recipe.is_file():
        raise UsageError("nothing to resume: no run here", str(path), "leave --resume out, or check --out")
    if resume and run.recipe.read_text(encoding="utf-8") != dump_recipe(recipe):
        raise UsageError("the recipe differs from the one that this run began with", str(run.recipe), "use that one")
    if run.adapter.is_dir():
        done = "is finished already" if resume else "holds a finished run"
        raise UsageError(f"this directory {done}", str(path), "give another --out, or remove it")
    if not resume and run.checkpoints.is_dir() and any(run.checkpoints.iterdir()):
        raise UsageError("this directory holds a run that was stopped", str(path), "add --resume, or remove it")
    return run


def _record(run: Run, recipe: Recipe, loaded: LoadedModel, resume: bool) -> None:
    """Write recipe.yaml and environment.json. A resumed run must find the data and the base that it began with."""
    now = environment(recipe, loaded)
    if resume and run.environment.is_file():
        began = json.loads(run.environment.read_text(encoding="utf-8"))
        changed = [part for part in ("data", "base", "instructions") if began.get(part) != now[part]]
        if changed:
            what = f"{' and '.join(changed)} changed since this run began"
            raise UsageError(what, str(run.environment), "restore what it began with, or train anew")
    if not resume:
        write_whole(run.metrics, "")
    write_whole(run.environment, json.dumps(now, indent=1, ensure_ascii=False) + "\n")
    write_whole(run.recipe, dump_recipe(recipe))


def _read(recipe: Recipe, file: DataFile) -> list[Dialogue]:
    return read_dialogues(file.path, file.format, skip=file.skip, limit=file.limit, custom_roles=recipe.aliases)


def _bundles(recipe: Recipe, file: DataFile, dialogues: list[Dialogue]) -> list[Bundle]:
    found = [bundle_of(dialogue, recipe.roles, file.references) for dialogue in dialogues]
    bundles = [bundle for bundle in found if bundle is not None]
    if not bundles:
        has = sorted({role for dialogue in dialogues for role in dialogue.summaries}) or ["none"]
        what = f"no summaries for the roles {', '.join(recipe.roles)}; the file has: {', '.join(has)}"
        raise DataError(what, file.path, "set roles in the recipe to roles that the data has")
    return bundles


def _encode(recipe: Recipe, loaded: LoadedModel, bundles: list[Bundle]) -> list[EncodedBundle]:
    options = recipe.training
    own = load_instruction_set(recipe.instructions) if recipe.instructions else None
    data = encode_bundles(
        bundles,
        loaded.layout(recipe.language, own, recipe.definitions),
        loaded.encoder,
        max_length=min(options.max_length or loaded.max_length, loaded.max_length),
        on_long=options.on_long,
        share_prefix=loaded.shares_prefix,
    )
    if data.shortened:
        say(f"{data.dropped_turns} turns dropped from the middle of {data.shortened} dialogues that did not fit")
    return split_to_budget(data.bundles, options.tokens_per_batch)


def _validation(recipe: Recipe, loaded: LoadedModel) -> list[EncodedBundle]:
    file = recipe.data.validation
    return _encode(recipe, loaded, _bundles(recipe, file, _read(recipe, file))) if file else []


def _pad_id(loaded: LoadedModel) -> int:
    pad = loaded.tokenizer.pad_token_id
    return int(pad if pad is not None else loaded.stop_ids[0])


def _data_hash(path: str) -> str:
    return hashlib.sha256(open_source(path).text.encode()).hexdigest()
