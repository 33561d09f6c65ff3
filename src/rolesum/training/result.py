"""What a run ends with: the trained weights with their metadata and model card, and what the training cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from rolesum.models.adapters import save_adapter, save_model
from rolesum.models.prompt_model import LoadedModel
from rolesum.training.callbacks import ProgressLine, nan_error
from rolesum.training.cost_model import measured_peak_memory
from rolesum.training.data import TrainingData
from rolesum.training.distributed import DistributedContext


def save_result(
    loaded: LoadedModel,
    directory: Path,
    metadata: Mapping[str, Any],
    card: str,
    context: DistributedContext,
    files: Sequence[Path] = (),
) -> None:
    """Write the adapter, or the whole model, with its present weights, and copies of `files`.

    Every process must call this: the weights of a sharded model are gathered from all of them. Raises RolesumError
    where they are no longer numbers.
    """
    model = loaded.model
    state = _gather_weights(loaded) if context.sharded else None

    def write() -> None:
        weights = {name: one for name, one in model.named_parameters() if one.requires_grad} if state is None else state
        if not all(bool(torch.isfinite(weight).all()) for weight in weights.values()):
            raise nan_error("the trained weights are no longer numbers")
        if isinstance(model, PeftModel):
            save_adapter(model, directory, metadata, card, state, files)
        else:
            save_model(model, loaded.tokenizer, loaded.path, directory, metadata, card, state, files)

    context.run_on_main(write)


def _gather_weights(loaded: LoadedModel) -> dict[str, torch.Tensor]:
    """The trained weights of a sharded model by name: complete in the main process, empty in the others."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict  # slow to import

    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    tied = loaded.language_model.all_tied_weights_keys  # the same tensor under a second name
    weights = get_model_state_dict(loaded.model, options=options)
    return {name: weight for name, weight in weights.items() if name not in tied and isinstance(weight, torch.Tensor)}


def training_costs(data: TrainingData, progress: ProgressLine, device: torch.device) -> dict[str, Any]:
    """What this start's steps took, without evaluations and checkpoints."""
    steps = slice(progress.first, progress.last)
    samples = [sample for step in data.steps[steps] for batch in step for sample in batch]
    examples = sum(len(data.encoded[sample.index].branches) for sample in samples)
    tokens = sum(progress.tokens[steps])
    seconds = progress.seconds
    return {
        "steps": progress.last - progress.first,
        "examples": examples,
        "tokens": tokens,
        "seconds": round(seconds, 2),
        "examples_per_second": round(examples / seconds, 3) if seconds else None,
        "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
        "peak_memory_bytes": measured_peak_memory(device),
    }
