"""Write a directory of a Llama-shaped model as one GGUF file for llama.cpp and the tools that build on it.

What llama.cpp would run otherwise than transformers does is refused, with the reason: the file gives the same logits
up to rounding, and its tokenizer the same ids. What llama.cpp does by itself, no file can change: it also stops at
tokens whose names look like an end, such as <|endoftext|>, and a space that Llama 2 puts before a text it puts before
every text, also where one begins with a space (transformers 5 does not) or follows a control token.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, RopeScalingType
from gguf.quants import quant_shape_to_byte_shape, quantize
from safetensors import SafetensorError, safe_open
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from rolesum.atomic_io import check_writable, flush_to_disk
from rolesum.errors import ModelError, UsageError, did_you_mean
from rolesum.models.checkpoint import read_config
from rolesum.models.export.gguf_vocabulary import chat_template, read_vocabulary, special_ids, write_vocabulary
from rolesum.os_errors import os_error

PRECISIONS = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
_BLOCK = 32  # values of a row that share one scale in Q8_0
_LARGEST_F16 = 65504.0


def write_gguf(directory: Path, target: Path, precision: str = "f16") -> None:
    """Write the model and tokenizer in `directory` as the file `target`: whole, or not at all.

    Matrices are stored in `precision`, norms in float32. One tensor at a time is in memory. Raises ModelError for
    what llama.cpp would not run exactly so, and ResourceError where the file cannot be written.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision}", "", did_you_mean(precision, PRECISIONS))
    raw = read_config(directory)
    reason = gguf_incompatibility(raw)
    if reason:
        fix = "run it with transformers or vLLM instead, which read the directory as it is"
        raise ModelError(f"cannot be written as GGUF: {reason}", str(directory), fix)
    config = LlamaConfig.from_dict(raw)
    tensors = _plan(config, directory, precision)
    vocabulary = read_vocabulary(directory).padded_to(config.vocab_size, directory)
    ids = special_ids(directory, raw, vocabulary)
    check_writable(target)
    work = target.with_name(f".{target.name}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        writer = GGUFWriter(work, "llama")
        try:
            _write_sizes(writer, config, precision)
            write_vocabulary(writer, vocabulary, ids, chat_template(directory))
            _write_tensors(writer, tensors, config)
        finally:
            writer.close()
        flush_to_disk(work)
        work.replace(target)
        flush_to_disk(target.parent)
    except OSError as error:
        raise os_error(error, "cannot write the GGUF file", target) from None
    finally:
        with suppress(OSError):
            work.unlink(missing_ok=True)


def gguf_incompatibility(config: Mapping[str, Any]) -> str | None:
    """Why a model with this config.json cannot be written as GGUF; None where it can, its tokenizer aside."""
    kind = config.get("model_type")
    if kind != "llama":
        return f"its model_type is {kind}, and only llama is written so far"
    architectures = config.get("architectures") or ["LlamaForCausalLM"]
    if "LlamaForCausalLM" not in architectures:
        return f"it is a {architectures[0]}, no language model"
    if config.get("quantization_config"):
        return "its weights are quantized already"
    try:
        llama = LlamaConfig.from_dict(dict(config))
    except Exception as error:  # transformers has several kinds of errors for a config that it does not take
        return f"transformers does not take its config.json: {str(error).strip().splitlines()[-1]}"
    for key in ("attention_bias", "mlp_bias"):
        if getattr(llama, key):
            return f"its {key} is true: its layers have biases"
    if llama.hidden_act != "silu":
        return f"its activation is {llama.hidden_act}, and llama.cpp computes silu"
    rope = llama.rope_parameters or {}
    if rope.get("rope_type", "default") not in ("default", "linear", "llama3"):
        return f"llama.cpp computes its rotary embedding of type {rope['rope_type']} in another way"
    if rope.get("partial_rotary_factor", 1.0) != 1.0 or _head_dim(llama) % 2:
        return "its rotary embedding does not turn whole heads"
    return None


@dataclass(frozen=True)
class _Tensor:
    """One tensor of the file: its names there and in the checkpoint, and how many rotary heads its rows hold."""

    name: str
    source: str
    file: Path
    shape: tuple[int, ...]
    type: GGMLQuantizationType
    rotary_heads: int = 0

    def values(self) -> np.ndarray[Any, Any]:
        """The stored values, packed. Raises ModelError for values that the type cannot hold."""
        try:
            with safe_open(self.file, framework="pt") as tensors:
                stored = tensors.get_tensor(self.source)
        except (SafetensorError, OSError) as error:
            what, fix = f"cannot read {self.source}", "restore the file"
            raise os_error(error, what, self.file, fix, kind=ModelError) from None
        values = stored.to(torch.float32).numpy()
        if not np.isfinite(values).all():
            raise ModelError(f"{self.source} holds values that are not finite", str(self.file), "train it again")
        if self.type is GGMLQuantizationType.F16 and np.abs(values).max() > _LARGEST_F16:
            what = f"{self.source} holds values above {_LARGEST_F16:.0f}, the largest that f16 holds"
            raise ModelError(what, str(self.file), "take the precision bf16, q8_0 or f32")
        if self.rotary_heads:
            values = _interleaved(values, self.rotary_heads)
        return np.ascontiguousarray(quantize(values, self.type))


def _interleaved(values: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rows of q or k for llama.cpp, which turns neighbors (2i, 2i + 1) where transformers turns (i, i + half)."""
    rows, width = values.shape
    return values.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def _plan(config: LlamaConfig, directory: Path, precision: str) -> list[_Tensor]:
    """All tensors of the file in order. Raises ModelError where the checkpoint does not hold exactly these."""
    stored = _stored_tensors(directory)
    kind = PRECISIONS[precision][0]
    tensors: list[_Tensor] = []
    problems: list[str] = []
    for name, source, shape, heads in _layout(config):
        file, found = stored.pop(source, (None, ()))
        if file is None:
            problems.append(f"{source} is missing")
        elif found != shape:
            problems.append(f"{source} has the shape {found}, not {shape}")
        elif len(shape) == 2 and precision == "q8_0" and shape[1] % _BLOCK:
            what = f"q8_0 needs rows of a multiple of {_BLOCK} values, and those of {source} have {shape[1]}"
            raise ModelError(what, str(directory), "take the precision f16, bf16 or f32")
        else:
            tensors.append(_Tensor(name, source, file, shape, kind if len(shape) == 2 else PRECISIONS["f32"][0], heads))
    if config.tie_word_embeddings:
        stored.pop("lm_head.weight", None)
    surplus = [name for name in stored if not name.endswith("rotary_emb.inv_freq")]  # older checkpoints store it
    problems += [f"{name} is not a tensor of this architecture" for name in surplus]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise ModelError("; ".join(problems[:3]) + more, str(directory), "give a whole checkpoint, adapters merged")
    return tensors


def _layout(config: LlamaConfig) -> list[tuple[str, str, tuple[int, ...], int]]:
    """llama.cpp's name, transformers' name, shape, and rotary heads of each tensor."""
    hidden, inner, rows = config.hidden_size, config.intermediate_size, config.vocab_size
    heads, kv_heads = config.num_attention_heads, _kv_heads(config)
    query, key = heads * _head_dim(config), kv_heads * _head_dim(config)
    found: list[tuple[str, str, tuple[int, ...], int]] = [
        ("token_embd.weight", "model.embed_tokens.weight", (rows, hidden), 0)
    ]
    for layer in range(config.num_hidden_layers):
        for name, source, shape, turned in (
            ("attn_norm", "input_layernorm", (hidden,), 0),
            ("attn_q", "self_attn.q_proj", (query, hidden), heads),
            ("attn_k", "self_attn.k_proj", (key, hidden), kv_heads),
            ("attn_v", "self_attn.v_proj", (key, hidden), 0),
            ("attn_output", "self_attn.o_proj", (hidden, query), 0),
            ("ffn_norm", "post_attention_layernorm", (hidden,), 0),
            ("ffn_gate", "mlp.gate_proj", (inner, hidden), 0),
            ("ffn_up", "mlp.up_proj", (inner, hidden), 0),
            ("ffn_down", "mlp.down_proj", (hidden, inner), 0),
        ):
            found.append((f"blk.{layer}.{name}.weight", f"model.layers.{layer}.{source}.weight", shape, turned))
    found.append(("output_norm.weight", "model.norm.weight", (hidden,), 0))
    if not config.tie_word_embeddings:
        found.append(("output.weight", "lm_head.weight", (rows, hidden), 0))
    return found


def _head_dim(config: LlamaConfig) -> int:
    return config.head_dim or config.hidden_size // config.num_attention_heads


def _kv_heads(config: LlamaConfig) -> int:
    return config.num_key_value_heads or config.num_attention_heads


def _rope_parameters(config: LlamaConfig) -> dict[str, Any]:
    return dict(config.rope_parameters or {})


def _stored_tensors(directory: Path) -> dict[str, tuple[Path, tuple[int, ...]]]:
    """File and shape of each tensor of the checkpoint's safetensors files."""
    stored: dict[str, tuple[Path, tuple[int, ...]]] = {}
    for file in sorted(directory.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                    part = tensors.get_slice(name)
                    if part.get_dtype() not in ("F64", "F32", "F16", "BF16"):
                        what = f"{name} is stored as {part.get_dtype()}"
                        raise ModelError(what, str(file), "give a checkpoint in float32, float16 or bfloat16")
                    stored[name] = (file, tuple(part.get_shape()))
        except (SafetensorError, OSError) as error:
            raise os_error(error, "cannot read the weights", file, "restore the file", kind=ModelError) from None
    if not stored:
        raise ModelError("no *.safetensors here", str(directory), "convert the weights to safetensors")
    return stored


def _write_sizes(writer: GGUFWriter, config: LlamaConfig, precision: str) -> None:
    writer.add_file_type(PRECISIONS[precision][1])
    writer.add_quantization_version(2)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(_kv_heads(config))
    writer.add_key_length(_head_dim(config))
    writer.add_value_length(_head_dim(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(_head_dim(config))
    rope = _rope_parameters(config)
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def _write_tensors(writer: GGUFWriter, tensors: Sequence[_Tensor], config: LlamaConfig) -> None:
    """First all names and sizes, as the format wants it, then the values, one tensor after the other."""
    factors = _rotary_factors(config)
    if factors is not None:
        writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
    for tensor in tensors:
        size = prod(quant_shape_to_byte_shape(tensor.shape, tensor.type))
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), size, raw_dtype=tensor.type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if factors is not None:
        writer.write_tensor_data(factors)
    for tensor in tensors:
        writer.write_tensor_data(tensor.values())


def _rotary_factors(config: LlamaConfig) -> np.ndarray[Any, Any] | None:
    """By what llama.cpp divides each rotary frequency, (head_dim / 2,), for Llama 3's scaling."""
    rope, width = _rope_parameters(config), _head_dim(config)
    if rope["rope_type"] != "llama3":
        return None
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    exponents = torch.arange(0, width, 2, dtype=torch.float64) / width
    plain = rope["rope_theta"] ** -exponents
    factors: np.ndarray[Any, Any] = (plain / scaled.double()).float().numpy()
    return factors
