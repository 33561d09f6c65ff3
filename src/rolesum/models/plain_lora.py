"""The matrices of a LoRA adapter read from its files, for generation: without PEFT, whose import takes seconds."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel

from rolesum.models.adapter_metadata import CONFIG_FILE, HARMLESS_OPTIONS

_PREFIX = "base_model.model."
# Options of LoRA whose usual value is neither empty nor False.
_USUAL = {"bias": "none", "init_lora_weights": True}


@dataclass(frozen=True, slots=True)
class LowRank:
    """What LoRA adds to the weight of a layer: `b` (out, rank) times `a` (rank, in); `b` holds the scale."""

    a: torch.Tensor
    b: torch.Tensor

    def merge_into(self, weight: nn.Parameter) -> None:
        """Add the product to a layer's weight, in float32, and round the sum to the weight's dtype."""
        added = self.b.to(weight.device, torch.float32) @ self.a.to(weight.device, torch.float32)
        weight.data.copy_(added.add_(weight.data))


def read_plain_lora(directory: Path, model: PreTrainedModel) -> dict[str, LowRank] | None:
    """The low-rank matrices of an adapter by the name of their linear layer.

    None for all that is more than finite A and B of one rank and scale on exactly the layers that its config names, and
    for files that cannot be read: PEFT loads those, or attach_adapter says what is wrong with them.
    """
    try:
        config = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))
        tensors = load_file(directory / "adapter_model.safetensors")
    except (OSError, ValueError, SafetensorError):
        return None
    if not isinstance(config, dict) or not _is_plain(config):
        return None
    rank: int = config["r"]
    scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
    layers = _target_layers(config["target_modules"], model)
    found: dict[str, LowRank] = {}
    for name, layer in layers.items():
        a, b = (tensors.pop(f"{_PREFIX}{name}.lora_{side}.weight", None) for side in "AB")
        if a is None or b is None or (a.shape, b.shape) != ((rank, layer.in_features), (layer.out_features, rank)):
            return None
        if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
            return None
        found[name] = LowRank(a, scale * b.float())
    return found if found and not tensors else None


def _is_plain(config: Mapping[str, Any]) -> bool:
    """Whether a config asks for A and B with one rank and one scale, on layers by their names, and nothing else."""
    if config.get("peft_type", "LORA") != "LORA" or not isinstance(config.get("target_modules"), list):
        return False
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
        return False
    return all(
        name in HARMLESS_OPTIONS or value in (None, False, {}, [], "") or value == _USUAL.get(name)
        for name, value in config.items()
    )


def _target_layers(targets: list[str], model: PreTrainedModel) -> dict[str, nn.Linear]:
    """The linear layers of these names, or that end with them after a point; none if another kind of layer does.

    None too where the head is among them, which may share its weight with the embeddings.
    """
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]  # not annotated
    found: dict[str, nn.Linear] = {}
    for name, layer in model.named_modules():
        if any(f".{name}".endswith(f".{target}") for target in targets):
            if type(layer) is not nn.Linear or layer is head:
                return {}
            found[name] = layer
    return found
