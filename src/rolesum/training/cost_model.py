"""The cost model of training: memory and arithmetic of a step, estimated from a model's config without its weights.

Also the data sheets of GPUs for which a run may be planned where they are not present, and the memory that a process
has really taken.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rolesum.errors import UsageError, did_you_mean
from rolesum.models.config_sizes import key_width, layer_configs, mlp_width, query_width
from rolesum.models.prompt_model import PromptModel
from rolesum.recipe import Recipe
from rolesum.training.forward import packs_rows
from rolesum.training.loss import FROZEN_HEAD_CHUNK, LOGITS_CHUNK
from rolesum.training.prepare_model import count_parameters, empty_model, prepare_model

GIB = 2**30
# GPU memory that the driver, CUDA's context and its libraries take.
_RESERVED = 0.7 * GIB
# A process that has imported torch and transformers, before a model is loaded.
INTERPRETER_BYTES = 550e6
# What a processor's heap holds for each byte that is kept for the backward: temporary tensors, freed between kept
# ones, leave holes. Found on SmolLM2-135M with glibc, in float32 and bfloat16: 1.5 to 1.9.
HEAP_SHARE = 1.7
# NF4 with its scales, per parameter.
FOUR_BIT_BYTES = 0.55


@dataclass(frozen=True)
class CostModel:
    """A model's sizes, and from them the memory and arithmetic of a training step."""

    layers: int
    hidden: int
    intermediate: int
    query_width: int  # of all heads together
    key_width: int  # of all key heads together
    vocabulary: int
    parameters: int
    trained_parameters: int
    body_parameters: int
    active_parameters: int  # parameters of the body that one token meets: of an encoder-decoder, its larger half's
    full: bool  # all weights are trained
    device: torch.device
    packed: bool  # a batch's rows are computed as one, without padding
    alibi_heads: int  # heads of a mask that holds an ALiBi bias for each; 0 for other models

    @classmethod
    def from_recipe(cls, prompt_model: PromptModel, recipe: Recipe, device: torch.device) -> "CostModel":
        """The cost model of a recipe's base, read from its config: the model is built on the meta device."""
        model: Any = empty_model(prompt_model)
        packed = packs_rows(model, prompt_model.family, device)
        table = model.get_input_embeddings().weight.numel()
        tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
        own = _size(model)
        half = _size(model.get_decoder()) - table if prompt_model.encoder_decoder_spec else None
        with torch.device("meta"):
            model = prepare_model(model, prompt_model.family, recipe)
        trained, everything = count_parameters(model)
        body = own - table * (1 if tied else 2)
        config: Any = prompt_model.config.get_text_config()
        layers = layer_configs(config)
        return cls(
            layers=len(layers),
            hidden=config.hidden_size,
            intermediate=_mean(mlp_width, layers),
            query_width=_mean(query_width, layers),
            key_width=_mean(key_width, layers),
            vocabulary=config.vocab_size,
            parameters=everything,
            trained_parameters=trained,
            body_parameters=body,
            active_parameters=body if half is None else half,
            full=recipe.method == "full",
            device=device,
            packed=packed,
            alibi_heads=config.num_attention_heads if getattr(config, "alibi", False) else 0,
        )

    @property
    def forward_share(self) -> float:
        """The share of the forward in a training step: a frozen weight needs one product in the backward, not two."""
        return 1 / 3 if self.full else 1 / 2

    def positions(self, lengths: Sequence[int]) -> int:
        """The tokens that are computed for rows of these lengths: padding too, where rows are not packed."""
        return sum(lengths) if self.packed else len(lengths) * max(lengths, default=0)

    def step_flops(self, lengths: Sequence[int], targets: int, recomputes: bool = False) -> float:
        """Floating-point operations of a step on a batch: the body, attention, the head on the targets.

        `recomputes` where the body's forward is run again in the backward, as gradient checkpointing does.
        """
        body = 2 * self.positions(lengths) * self.active_parameters
        head = 2 * targets * self.hidden * self.vocabulary
        pairs = sum(length**2 for length in lengths) / 2 if self.packed else len(lengths) * max(lengths) ** 2
        attention = 2 * 2 * pairs * self.query_width * self.layers
        step = (body + head) / self.forward_share + 3.5 * attention
        return step + (body + attention if recomputes else 0.0)

    def activation_bytes_per_token(self, recipe: Recipe, size: int) -> float:
        """What the forward keeps of a token for the backward, with elements of `size` bytes.

        Inputs of norms and products, what attention and the gated MLP need again (kernels/layers.py, segments.py).
        """
        keys = self.key_width if self.packed else self.query_width
        layer = 4 * self.hidden + 2 * self.query_width + 2 * keys + 3 * self.intermediate
        kept = self.hidden * self.layers + layer if recipe.training.gradient_checkpointing else layer * self.layers
        return kept * size * (HEAP_SHARE if self.device.type == "cpu" else 1)

    def peak_memory(self, recipe: Recipe, lengths: Sequence[int], targets: int, dtype: torch.dtype) -> float:
        """Peak bytes of a step: weights, gradients, AdamW's two moments in float32, activations, logits, ALiBi's bias.

        `dtype` is what the step computes in. Quantization to 4 bits covers the body only. In full fine-tuning the
        weights are in float32 and, where the step computes in less, in autocast's copies too.
        """
        frozen: float = (self.parameters - self.trained_parameters) * dtype.itemsize
        if recipe.quantize:
            frozen -= self.body_parameters * (dtype.itemsize - FOUR_BIT_BYTES)
        trained = self.trained_parameters * 4 * (1 + 1 + 2)
        if self.full and dtype.itemsize < 4:
            trained += self.trained_parameters * dtype.itemsize
        chunk = LOGITS_CHUNK if self.full else FROZEN_HEAD_CHUNK.get(self.device.type, LOGITS_CHUNK)
        logits = 3 * min(targets, chunk) * self.vocabulary * 4  # with their log-softmax and its gradient, in float32
        kept = self.positions(lengths) * self.activation_bytes_per_token(recipe, dtype.itemsize)
        bias = self.alibi_heads * len(lengths) * max(lengths, default=0) ** 2 * (4 + dtype.itemsize)
        held = frozen + trained + logits + kept + bias
        return held + (INTERPRETER_BYTES if self.device.type == "cpu" else 0)


def _mean(size: Callable[[Any], int], layers: Sequence[Any]) -> int:
    """The mean over layers, which may differ from each other."""
    return round(sum(map(size, layers)) / len(layers))


def _size(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def measured_peak_memory(device: torch.device) -> int:
    """The most bytes that this process has held so far: of the GPU's memory, or of main memory for a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    if status.is_file():  # Linux; ru_maxrss would start from what the parent process held
        peak = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), None)
        if peak:
            return int(peak.split()[1]) * 1024
    import resource  # not on Windows

    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024


@dataclass(frozen=True, slots=True)
class GpuSpec:
    """A GPU by its maker's data sheet: memory in GiB, peak rates of dense products in 10^12 operations per second."""

    gib: float
    bfloat16: float
    float32: float

    @property
    def free_bytes(self) -> int:
        return int(self.gib * GIB - _RESERVED)

    def peak_flops(self, dtype: torch.dtype) -> float:
        """Floating-point operations per second."""
        return 1e12 * (self.float32 if dtype == torch.float32 else self.bfloat16)


GPUS = {
    "rtx-3090": GpuSpec(24, 71, 35.6),
    "rtx-4090": GpuSpec(24, 165.2, 82.6),
    "a10": GpuSpec(24, 125, 31.2),
    "l4": GpuSpec(24, 121, 30.3),
    "l40s": GpuSpec(48, 362, 91.6),
    "a100-40": GpuSpec(40, 312, 19.5),
    "a100-80": GpuSpec(80, 312, 19.5),
    "h100": GpuSpec(80, 989, 67),
    "h200": GpuSpec(141, 989, 67),
}


def find_gpu(name: str) -> GpuSpec:
    """A GPU of the table by its name. Raises UsageError where it is not there."""
    if name.lower() not in GPUS:
        raise UsageError(f'no GPU "{name}" is known', fix=did_you_mean(name, GPUS))
    return GPUS[name.lower()]
