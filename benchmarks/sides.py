"""Measures one training run, by rolesum or by TRL's SFTTrainer, and any adapter's validation loss in one way for all.

Both sides train on the same token ids with loss on the same target tokens: rolesum encodes them for both. The functions
run in child processes (record.py): they take a job as plain data and return what they measured.
"""

import json
import math
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from record import Job

from rolesum.recipe import Recipe, dump_recipe
from rolesum.recipe_loading import load_recipe, parse_recipe

# TRL's SFTTrainer as its users may set it, see `variant_options`.
TRL_VARIANTS = ("padding", "length-grouped", "padding-free", "packing", "one by one")


def recipe_of(job: Job, *, validation: bool = False) -> Recipe:
    """The job's recipe; without its validation set where it would only cost time."""
    raw = job["recipe"]
    return parse_recipe(raw if validation else {**raw, "data": {**raw["data"], "validation": None}}, "the benchmark")


def samsum_recipe(name: str, options: Namespace, dtype: str) -> Job:
    """The recipe `name` on the SAMSum files and the numbers of examples that the command line names."""
    raw = load_recipe(name).model_dump(mode="json")
    raw["data"]["train"] |= {"path": str(options.train), "limit": options.examples}
    raw["data"]["validation"] |= {"path": str(options.validation), "limit": options.validation_limit}
    raw["dtype"] = dtype
    return raw


def train_with_rolesum(job: Job) -> Job:
    """Train the recipe into job["out"], as a user does."""
    from rolesum.training import train

    run = train(recipe_of(job), job["out"], device=job["device"])
    costs = json.loads(run.environment.read_text(encoding="utf-8"))["costs"]
    return {name: costs[name] for name in ("seconds", "tokens", "examples", "steps")} | {"adapter": str(run.adapter)}


def run_of(recipe: Recipe, out: str, device: str) -> Any:
    """The recipe's run in `out`: the finished one, the rest of one that was stopped, or a new one."""
    from rolesum.training import Run, train

    run = Run(Path(out))
    same = run.recipe.is_file() and run.recipe.read_text(encoding="utf-8") == dump_recipe(recipe)
    if same and run.result(recipe.method).is_dir():
        return run
    if not same:
        run.remove()
    return train(recipe, run.path, resume=same and run.last_checkpoint() is not None, device=device)


def train_with_trl(job: Job) -> Job:
    """Train the recipe's examples with a variant of SFTTrainer, `job["batch"]` of them per step."""
    from peft import LoraConfig

    from rolesum.models import load_model
    from rolesum.training.data import read_training_data

    recipe = recipe_of(job)
    options = recipe.training
    loaded = load_model(recipe.base, dtype=recipe.dtype, device=job["device"])
    rows = trl_rows(read_training_data(recipe, loaded).encoded)
    targets = recipe.lora.targets or loaded.family.lora_targets
    lora = LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
    tokens = sum(len(row["input_ids"]) for row in rows) * options.epochs
    packs = job["variant"] == "packing"
    steps = math.ceil(tokens / options.tokens_per_batch if packs else len(rows) * options.epochs / job["batch"])
    settings = {
        "num_train_epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "lr_scheduler_type": options.schedule,
        "warmup_steps": round(options.warmup * steps),  # as rolesum rounds it
        "weight_decay": options.weight_decay,
        "max_grad_norm": options.max_grad_norm,
        "logging_steps": options.log_steps,
        "seed": options.seed,
        "gradient_checkpointing": options.gradient_checkpointing,
        **variant_options(job["variant"], job["batch"], options.tokens_per_batch),
    }
    trainer, clock = sft_trainer(loaded.model, loaded.tokenizer, lora, rows, settings)
    trainer.train()
    trainer.model.save_pretrained(job["out"], save_embedding_layers=False)
    return {
        "seconds": clock.seconds,
        "tokens": tokens,
        "examples": len(rows) * options.epochs,
        "steps": trainer.state.global_step,
        "adapter": job["out"],
    }


def trl_rows(encoded: Sequence[Any]) -> list[dict[str, list[int]]]:
    """Every example of the encoded bundles as SFTTrainer takes tokenized data; label -100 carries no loss."""
    return [
        {
            "input_ids": [*bundle.prefix, *branch.ids],
            "labels": [-100] * (len(bundle.prefix) + len(branch.ids) - branch.targets)
            + list(branch.ids[len(branch.ids) - branch.targets :]),
        }
        for bundle in encoded
        for branch in bundle.branches
    ]


def variant_options(variant: str, batch: int, budget: int) -> dict[str, Any]:
    """What sets a variant apart: each takes `batch` examples a step, or packed rows of `budget` tokens.

    All compute the loss as TRL 1.16 does by default, in tiles, without the logits of the whole vocabulary at once.
    """
    batched = {"per_device_train_batch_size": batch, "max_length": None}
    single = batched | {"per_device_train_batch_size": 1}
    return {
        "padding": batched,
        "length-grouped": batched | {"train_sampling_strategy": "group_by_length"},
        "padding-free": batched | {"padding_free": True},
        "packing": single | {"packing": True, "max_length": budget},
        "one by one": single | {"gradient_accumulation_steps": batch},
    }[variant]


def sft_trainer(
    model: Any, tokenizer: Any, lora: Any, rows: Sequence[dict[str, list[int]]], settings: dict[str, Any]
) -> tuple[Any, Any]:
    """An SFTTrainer with `settings` of SFTConfig, and the clock of its steps."""
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    config = SFTConfig(
        output_dir=tempfile.gettempdir(),  # nothing is saved
        bf16=model.dtype == torch.bfloat16,  # TRL's default where the base is in bfloat16
        use_cpu=model.device.type == "cpu",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **settings,
    )
    clock = step_clock(model.device)
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[clock],
    )
    return trainer, clock


def step_clock(device: Any) -> Any:
    """A callback whose `seconds` are those of all optimizer steps: forward, backward and update, not the logging."""
    import torch
    from transformers import TrainerCallback

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    class StepClock(TrainerCallback):
        seconds = begin = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.begin = now()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.seconds += now() - self.begin

    return StepClock()


def validation_loss(job: Job) -> Job:
    """The mean loss per target token of job["adapter"] (or of the bare base) on the recipe's validation set.

    One example at a time through the library's own forward, without noise or padding, the adapter loaded by PEFT.
    """
    import torch
    from torch.nn.functional import cross_entropy

    from rolesum.models import load_model
    from rolesum.training.data import read_validation_data

    recipe = recipe_of(job, validation=True)
    adapter = Path(job["adapter"]) if job["adapter"] else None
    loaded = load_model(recipe.base, adapter=adapter, dtype=recipe.dtype, device=job["device"])
    data = read_validation_data(recipe, loaded)
    assert data is not None, "the recipe has no validation set"
    total, targets = 0.0, 0
    with torch.no_grad():
        for row in trl_rows(data.encoded):
            labels = [label for label in row["labels"] if label != -100]
            ids = torch.tensor([row["input_ids"]], device=loaded.device)
            logits = loaded.model(input_ids=ids, logits_to_keep=len(labels) + 1, use_cache=False).logits
            expected = torch.tensor(labels, device=loaded.device)
            total += float(cross_entropy(logits[0, :-1].float(), expected, reduction="sum"))
            targets += len(labels)
    return {"validation_loss": total / targets, "target_tokens": targets}


SIDES = {"rolesum": train_with_rolesum, "trl": train_with_trl, "loss": validation_loss}


def work(job: Job) -> Job:
    """Do a child's job: one side's training, or the loss of an adapter."""
    return SIDES[job["side"]](job)
