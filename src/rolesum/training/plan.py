"""Plans a run before it starts: data, steps, parameters, memory and time, estimated or measured.

Estimates come from the cost model and a short matrix product on this device, or the data sheet of a GPU that is not
present. Measurements come from the run's own largest batch and a few others, trained once and thrown away.
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import psutil
import torch

from rolesum.console import progress_bar
from rolesum.counts import counted
from rolesum.dialogue import Bundle
from rolesum.errors import UsageError
from rolesum.models.base_adapter import base_adapter_notes, read_base_adapter, with_base_adapter
from rolesum.models.dtype_choice import DtypeChoice
from rolesum.models.loading import load_prompt_model, load_weights, pick_device, pick_dtype
from rolesum.models.prompt_model import PromptModel
from rolesum.models.transformers_logging import quiet_transformers
from rolesum.recipe import Recipe
from rolesum.training.batching import SampleBatch
from rolesum.training.collate import make_collate_fn, to_device
from rolesum.training.cost_model import CostModel, GpuSpec, find_gpu, measured_peak_memory
from rolesum.training.data import (
    TrainingData,
    data_notes,
    encode,
    read_bundles,
    read_training_data,
    read_validation_data,
)
from rolesum.training.encode import LengthLimits
from rolesum.training.forward import training_forward
from rolesum.training.objective import loss_of_recipe
from rolesum.training.prepare_model import check_base_weights, check_targets, prepare_model, with_prompts_of
from rolesum.training.training_arguments import check_loggers

TIMED_BATCHES = 4
UNLIMITED = 10**9
# The share of the matrix product's rate that a step reaches: on a CPU as measured (docs/training.md), on a GPU a guess.
STEP_EFFICIENCY = {"cpu": 0.5, "cuda": 0.45}
# The minimum time of a layer's forward and backward: a GPU waits while small kernels are launched. Measured with
# SmolLM2-135M on one H100, where a batch took 0.4 s whether of 2,048 tokens or of 4,096 (docs/training.md).
LAYER_SECONDS = {"cuda": 0.013}
# What may be used of the memory that is free.
USABLE = 0.9


@dataclass(frozen=True)
class Plan:
    """What a run will need. Memory is in bytes, of the device; `measured` is False for estimates."""

    recipe: str
    base: str
    base_adapter: str | None  # what the run goes on from
    method: str
    device: str
    dtype: str
    dialogues: int
    examples: int
    bundles: int
    tokens: int  # in all epochs, padding not counted
    tokens_shared: int
    padding_share: float
    batches: int
    steps: int
    longest_example: int
    largest_batch: tuple[int, int]  # rows, length
    trained_parameters: int
    parameters: int
    peak_memory: int
    free_memory: int
    tokens_per_second: float
    train_seconds: float
    evaluate_seconds: float
    measured: bool
    notes: tuple[str, ...]  # fallbacks, what does not fit, and the settings that would


def plan(recipe: Recipe, *, device: str = "auto", gpu: str | None = None, measure: bool = False) -> Plan:
    """Plan a run, on this machine's `device` or on a `gpu` of the table in cost_model.py. Raises as `train` does.

    With `measure`, load the base and train a few batches.
    """
    if gpu and measure:
        raise UsageError("--measure needs this GPU to be present", fix="leave out --measure, or --gpu")
    planned = find_gpu(gpu) if gpu else None
    check_loggers(recipe.training.report_to)
    recipe = with_base_adapter(recipe)
    adapter = read_base_adapter(recipe)
    prompt_model = with_prompts_of(adapter, load_prompt_model(recipe.base))
    check_targets(prompt_model, recipe)
    if measure and _is_unchecked(prompt_model):
        prompt_model = _checked(prompt_model, recipe, device)
    files = [file for file in (*recipe.data.train_files, recipe.data.validation) if file and file.path]
    fitted, notes = _fitting(
        recipe, prompt_model, [bundle for file in files for bundle in read_bundles(recipe, file)[0]]
    )
    if recipe.training.share_prefix:
        notes += _prefix_notes(prompt_model, measure)
    data = read_training_data(fitted, prompt_model)
    validation = read_validation_data(fitted, prompt_model)
    notes += [*base_adapter_notes(recipe, adapter, len(data.dialogues)), *data_notes(recipe, data, validation)]
    if recipe.preference:
        notes.append("before the first step, the reference's log-probabilities take one more forward over the data")
    on = torch.device("cuda") if planned else pick_device(device)
    if planned and recipe.dtype == "auto":
        choice = DtypeChoice(torch.bfloat16, "GPUs compute it faster")
    else:
        choice = pick_dtype(recipe.dtype, on, prompt_model.config)
    dtype = choice.dtype
    if recipe.dtype == "auto":
        notes.append(f"dtype auto is {choice.name}: {choice.reason}")
    cost_model = CostModel.from_recipe(prompt_model, fitted, on)
    free = planned.free_bytes if planned else _free_memory(on)
    cost = _estimate(cost_model, fitted, data, dtype, planned)
    notes += _memory_notes(cost, cost_model, fitted, data, dtype, free)
    measured = measure and cost.memory <= free  # else the measurement itself would be killed
    if measured:
        cost = _measure(fitted, prompt_model, data, _by_size(cost_model, data), device)
    evaluations = recipe.validation.per_epoch * recipe.training.epochs if validation else 0
    evaluated = evaluations * validation.tokens * cost_model.forward_share if validation else 0.0
    tokens = data.tokens * recipe.training.epochs
    return Plan(
        recipe=recipe.name,
        base=recipe.base,
        base_adapter=recipe.base_adapter,
        method=recipe.method,
        device=gpu.lower() if gpu else str(on),
        dtype=choice.name,
        dialogues=len(data.dialogues),
        examples=data.examples,
        bundles=len(data.encoded),
        tokens=tokens,
        tokens_shared=data.tokens_shared * recipe.training.epochs,
        padding_share=0.0 if cost_model.packed else data.padding,
        batches=len(data.batches),
        steps=len(data.steps),
        longest_example=max(one.longest_example for one in data.encoded),
        largest_batch=_size(data, _by_size(cost_model, data)[-1]),
        trained_parameters=cost_model.trained_parameters,
        parameters=cost_model.parameters,
        peak_memory=round(cost.memory),
        free_memory=free,
        tokens_per_second=cost.rate,
        train_seconds=tokens / cost.rate,
        evaluate_seconds=evaluated / cost.rate,
        measured=measured,
        notes=tuple(notes),
    )


def _is_unchecked(prompt_model: PromptModel) -> bool:
    """Whether only the weights can show that roles share a prefix: see models/self_check.py."""
    return prompt_model.shares_prefix and not prompt_model.is_listed


def _prefix_notes(prompt_model: PromptModel, measure: bool) -> list[str]:
    """What keeps, or may keep, roles from sharing a prefix."""
    if not prompt_model.shares_prefix:
        return [f"prefixes are not shared: {prompt_model.unshared_reason}, so that each example is computed alone"]
    if _is_unchecked(prompt_model) and not measure:
        return ["whether roles can share a prefix is checked when this base is first loaded: see --measure"]
    return []


def _checked(prompt_model: PromptModel, recipe: Recipe, device: str) -> PromptModel:
    """The same with `shares_prefix` as the check of its weights found it."""
    loaded = load_weights(prompt_model, dtype=recipe.dtype, device=device, quantize=recipe.quantize)
    return replace(prompt_model, shares_prefix=loaded.shares_prefix)


@dataclass(frozen=True)
class _Cost:
    """Peak memory in bytes, and true tokens per second."""

    memory: float
    rate: float


def _fitting(recipe: Recipe, prompt_model: PromptModel, bundles: list[Bundle]) -> tuple[Recipe, list[str]]:
    """The recipe with the settings that its data needs, and notes of what was changed."""
    options = recipe.training
    if options.long_dialogues == "drop-middle":
        return recipe, []
    encoded = encode(recipe, prompt_model, bundles, max_length=UNLIMITED).bundles
    limits = LengthLimits(
        min(options.max_length or prompt_model.max_length, prompt_model.max_length),
        prompt_model.encoder_decoder_spec.target_length if prompt_model.encoder_decoder_spec else None,
    )
    longest = max(encoded, key=limits.length_of)
    need, limit = limits.length_of(longest), limits.length
    changed: dict[str, Any] = {}
    notes = []
    if need > limit:
        over = sum(limits.length_of(one) > limit for one in encoded)
        fits = need <= prompt_model.max_length
        changed |= {"max_length": need} if fits else {"long_dialogues": "drop-middle"}
        notes.append(
            f"more than {limit} tokens in {counted(over, 'dialogue')}, the longest ({longest.id}) has {need}: "
            + (f"training.max_length={need} would" if fits else "training.long_dialogues=drop-middle would")
        )
    # The target's tokens, where the limit is for the source alone.
    separate = max(one.longest_row(recipe.branches_together) - limits.length_of(one) for one in encoded)
    largest = (
        max(one.longest_row(recipe.branches_together) for one in encoded)
        if "long_dialogues" not in changed
        else limit + separate
    )
    if largest > options.tokens_per_batch:
        changed["tokens_per_batch"] = largest
        notes.append(
            f"an example of {largest} tokens ({longest.id}) does not fit a batch of {options.tokens_per_batch}: "
            f"training.tokens_per_batch={largest} would"
        )
    if notes:
        notes.append("the figures here are for the settings that would")
    return recipe.model_copy(update={"training": options.model_copy(update=changed)}), notes


def _estimate(
    cost_model: CostModel, recipe: Recipe, data: TrainingData, dtype: torch.dtype, gpu: GpuSpec | None
) -> _Cost:
    """The cost by the cost model and the rate of matrix products: this device's, or a GPU's by its data sheet.

    A batch takes as long as its arithmetic or, where that is longer, as the kernel launches of its layers.
    """
    largest = _by_size(cost_model, data)[-1]
    positions = cost_model.positions(_lengths(data, largest))
    memory = cost_model.peak_memory(recipe, _lengths(data, largest), _targets(data, largest), dtype)
    again = recipe.training.gradient_checkpointing
    flop = [cost_model.step_flops(_lengths(data, batch), _targets(data, batch), again) for batch in data.batches]
    rate = (
        gpu.peak_flops(dtype)
        if gpu
        else matmul_flops(cost_model.device, dtype, positions, cost_model.hidden, cost_model.intermediate)
    )
    rate *= STEP_EFFICIENCY.get(cost_model.device.type, 0.5)
    least = LAYER_SECONDS.get(cost_model.device.type, 0.0) * cost_model.layers * (4 / 3 if again else 1)
    seconds = sum(max(one / rate, least) for one in flop)
    return _Cost(memory, data.tokens * recipe.training.epochs / seconds)


def matmul_flops(device: torch.device, dtype: torch.dtype, rows: int, inner: int, columns: int) -> float:
    """Floating-point operations per second of a matrix product of this cost_model."""
    left = torch.randn(rows, inner, dtype=dtype, device=device)
    right = torch.randn(columns, inner, dtype=dtype, device=device)
    best, began = 0.0, time.monotonic()
    while time.monotonic() - began < 1.0:
        start = time.monotonic()
        for _ in range(3):
            product = left @ right.T
        float(product[0, 0])  # waits for a GPU
        best = max(best, 3 * 2 * rows * inner * columns / (time.monotonic() - start))
    return best


def _measure(
    recipe: Recipe, prompt_model: PromptModel, data: TrainingData, ordered: list[SampleBatch], device: str
) -> _Cost:
    """The cost of real steps on the largest batch, the last of `ordered`, and on some others. No weights are kept."""
    dtype = "float32" if recipe.method == "full" else recipe.dtype
    loaded = load_weights(prompt_model, dtype=dtype, device=device, quantize=recipe.quantize)
    if adapter := read_base_adapter(recipe):
        check_base_weights(adapter, loaded)
    loaded.model = model = prepare_model(loaded.language_model, prompt_model.family, recipe)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.0)
    collate = make_collate_fn(loaded)

    def step(samples: SampleBatch) -> float:
        started = time.monotonic()
        batch = collate([(sample, data.encoded[sample.index]) for sample in samples])
        loss = model(**to_device(batch, loaded.device)) / len(batch["target_ids"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        float(loss)  # waits for a GPU
        return time.monotonic() - started

    timed = [ordered[len(ordered) * (2 * number + 1) // (2 * TIMED_BATCHES)] for number in range(TIMED_BATCHES)]
    autocast = (
        recipe.method == "full" and pick_dtype(recipe.dtype, loaded.device, prompt_model.config).dtype is torch.bfloat16
    )
    with (
        quiet_transformers(),
        training_forward(model, loaded.family, recipe.neftune.alpha, loaded.device, loss_of_recipe(recipe)),
        torch.autocast(loaded.device.type, torch.bfloat16, enabled=autocast),
        progress_bar("measure", len(timed) + 1, "batches") as bar,
    ):
        model.train()
        step(ordered[-1])
        memory = measured_peak_memory(loaded.device)
        bar.advance(1)
        seconds = 0.0
        for batch in timed:
            seconds += step(batch)
            bar.advance(1)
    tokens = sum(data.encoded[sample.index].tokens for batch in timed for sample in batch)
    return _Cost(max(memory, measured_peak_memory(loaded.device)), tokens / seconds)


def _memory_notes(
    cost: _Cost, cost_model: CostModel, recipe: Recipe, data: TrainingData, dtype: torch.dtype, free: int
) -> list[str]:
    """What to change where there is not enough memory."""
    room = free * USABLE
    if cost.memory <= room:
        return []
    positions = cost_model.positions(_lengths(data, _by_size(cost_model, data)[-1]))
    per_token = cost_model.activation_bytes_per_token(recipe, dtype.itemsize)
    budget = int((room - (cost.memory - per_token * positions)) / per_token) // 64 * 64
    what = f"not enough memory: {cost.memory / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free"
    if budget >= max(one.longest_row(recipe.branches_together) for one in data.encoded):
        return [f"{what}; training.tokens_per_batch={budget} would fit, with training.gradient_accumulation raised"]
    if not recipe.training.gradient_checkpointing:
        return [f"{what}; training.gradient_checkpointing=true needs less"]
    return [f"{what}; a smaller base, quantize: 4bit on a GPU, or FSDP over several would need less"]


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _by_size(cost_model: CostModel, data: TrainingData) -> list[SampleBatch]:
    """The batches of the run by their computed positions, the largest last."""
    return sorted(data.batches, key=lambda batch: cost_model.positions(_lengths(data, batch)))


def _lengths(data: TrainingData, batch: SampleBatch) -> list[int]:
    return [data.encoded[sample.index].tokens for sample in batch]


def _size(data: TrainingData, batch: SampleBatch) -> tuple[int, int]:
    """Rows, and the longest of them in tokens."""
    lengths = _lengths(data, batch)
    return len(lengths), max(lengths)


def _targets(data: TrainingData, batch: SampleBatch) -> int:
    return sum(branch.targets for sample in batch for branch in data.encoded[sample.index].branches)
