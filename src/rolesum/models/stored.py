"""One tensor of a checkpoint by the model's name for it, whatever the layout and the file format."""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import PretrainedConfig

from rolesum.errors import ModelError
from rolesum.models.architectures.chatglm import WEIGHT_NAMES


def read_tensor(checkpoint: Path, name: str, config: PretrainedConfig) -> torch.Tensor:
    """The tensor as it is stored; of a fused matrix, the part that the model calls `name`. Raises ModelError."""
    stored, rows = _where(name, config)
    # Some are published without the body's prefix: BLOOM's "h.0…" for "transformer.h.0…".
    named = (stored, stored.partition(".")[2])
    for file in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            if found := set(named) & set(tensors.keys()):
                return tensors.get_tensor(found.pop())[rows]
    for file in sorted(checkpoint.glob("pytorch_model*.bin")):
        tensors = torch.load(file, weights_only=True, map_location="cpu", mmap=True)
        if found := set(named) & set(tensors):
            return tensors[found.pop()][rows]
    what = f"quantize: 4bit needs the checkpoint's own {stored}, and it is in none of its files"
    raise ModelError(what, str(checkpoint), "fetch the model again, or leave quantize out")


def _where(name: str, config: PretrainedConfig) -> tuple[str, slice]:
    """The name in the checkpoint's layout, and the rows that are meant."""
    stem, _, kind = name.rpartition(".")
    for part, rows in _parts(config):
        if stem.endswith(f"self_attn.{part}_proj"):
            if config.model_type == "baichuan":
                return f"{stem.removesuffix(f'{part}_proj')}W_pack.{kind}", rows
            if config.model_type == "chatglm":
                fused = stem.replace(f"self_attn.{part}_proj", "self_attention.query_key_value")
                return _renamed(f"{fused}.{kind}"), rows
    return (_renamed(name) if config.model_type == "chatglm" else name), slice(None)


def _parts(config: PretrainedConfig) -> Iterator[tuple[str, slice]]:
    """q, k and v in a fused matrix."""
    keys = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    start = 0
    for part, heads in (("q", config.num_attention_heads), ("k", keys), ("v", keys)):
        yield part, slice(start, start + heads * width)
        start += heads * width


def _renamed(name: str) -> str:
    for theirs, ours in WEIGHT_NAMES.items():
        name = name.replace(ours, theirs)
    return name
