"""Convert a GGUF file into a directory of safetensors, config and tokenizer that transformers reads.

The weights are dequantized and stored as bfloat16: the rounding (2^-9 of each weight) is far below the quantization to
8 bits or fewer that the file has gone through. What the conversion would read wrongly is refused, with the reason.
"""

import json
import re
import shutil
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer as RustTokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from rolesum.atomic_io import atomic_directory
from rolesum.console import format_bytes, log
from rolesum.errors import ModelError, ResourceError, error_summary
from rolesum.models.architectures.sentencepiece import SPACE
from rolesum.models.catalog import MARKER_FILE
from rolesum.models.checkpoint import raise_tensor_problems
from rolesum.models.export.gguf_vocabulary import PRE_TOKENIZERS
from rolesum.models.gguf_header import GGUFHeader
from rolesum.models.int4_weights import write_int4_weights
from rolesum.models.transformers_logging import quiet_transformers

# llama.cpp's names of the architectures that are read, each with the tokenizers that are read with it: byte-level BPE
# ("gpt2") or SentencePiece's ("llama").
ARCHITECTURES = {
    "llama": ("gpt2", "llama"),
    "qwen2": ("gpt2",),
    "qwen3": ("gpt2",),
    "gemma2": ("llama",),
    "gemma3": ("llama",),
}
# Pre-tokenizers behind whose names the originals also normalize the text, which the file does not say.
_NORMALIZERS = {"qwen2": {"type": "NFC"}}
_SPACE_PREFIX = "tokenizer.ggml.add_space_prefix"
# What an architecture's fields say, and where the config says the same.
_SIZES = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "vocab_size": "vocab_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.sliding_window": "sliding_window",
    "rope.dimension_count": "head_dim",
    "rope.freq_base": "rope_theta",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
_TENSORS = re.compile(
    r"(token_embd|output|output_norm|blk\.\d+\.(attn_(q|k|v|output|norm|q_norm|k_norm)|ffn_(gate|up|down|norm)"
    r"|post_attention_norm|post_ffw_norm))\.(weight|bias)"
)
# Rounding to b bits changes a matrix by about 1.4 * 2^-b of its norm: twice that for two roundings of one matrix.
_ROUNDING = 3.0
# Bytes of memory a parameter that a conversion takes, the weights twice in bfloat16 and some; and of disk at most: the
# weights in bfloat16, and as sums of two matrices of four bits with their scales.
_MEMORY, _DISK = 4, 3.25
_ROWS = 8192  # that are compared at a time
_BITS = {"F32": 24, "F16": 11, "BF16": 8}  # of a significand


@dataclass(frozen=True, slots=True)
class GGUFOrigin:
    """What is written into a converted directory about the file that it was made from."""

    file_name: str
    sha256: str
    size: int
    alias: str | None = None  # of the catalog
    found_at: dict[str, Any] | None = None  # the FileState of a file of the user's


def check_gguf(header: GGUFHeader) -> None:
    """Raise ModelError for a file that cannot be converted, or of which something would be left out."""
    arch, where = header.architecture, str(header.path)
    fix = "give the model as a directory of safetensors, or run the file in llama.cpp: --engine llamacpp --gguf FILE"
    if header.fields.get("split.count", 0) > 1:
        parts = header.fields["split.count"]
        raise ModelError(f"one of {parts} parts of a model", where, "join them: llama-gguf-split --merge")
    if arch not in ARCHITECTURES:
        raise ModelError(
            f'GGUF files of the architecture "{arch}" are not read, but {_listed(ARCHITECTURES)}', where, fix
        )
    kind = str(header.fields.get("tokenizer.ggml.model", ""))
    if kind not in ARCHITECTURES[arch]:
        raise ModelError(
            f'its tokenizer is of the kind "{kind}", and {arch} is read with {_listed(ARCHITECTURES[arch])}', where, fix
        )
    pre = _pre_tokenizer(header)
    if kind == "gpt2" and pre not in PRE_TOKENIZERS:
        raise ModelError(f'its pre-tokenizer "{pre}" is not known, but {_listed(PRE_TOKENIZERS)}', where, fix)
    if unread := [name for name in _own_fields(header) if name not in _SIZES and name != "rope.scaling.type"]:
        raise ModelError(f"settings of the file that are not read: {', '.join(unread)}", where, fix)
    if (scaling := header.fields.get(f"{arch}.rope.scaling.type", "none")) != "none":
        raise ModelError(f'scaled positions (rope.scaling.type "{scaling}") are not read', where, fix)
    if foreign := [one.name for one in header.tensors if not _TENSORS.fullmatch(one.name)]:
        raise_tensor_problems({"unknown": set(foreign)}, where, fix)


def _listed(words: Any) -> str:
    return ", ".join(sorted(words))


def _own_fields(header: GGUFHeader) -> list[str]:
    prefix = f"{header.architecture}."
    return [name.removeprefix(prefix) for name in header.fields if name.startswith(prefix)]


def _pre_tokenizer(header: GGUFHeader) -> str:
    return str(header.fields.get("tokenizer.ggml.pre", ""))


def convert_gguf(header: GGUFHeader, target: Path, origin: GGUFOrigin) -> None:
    """Write `target`: model.safetensors (bfloat16), config.json, tokenizer files, and the marker that says from what.

    4-bit weights for decoding on a CPU are written too: see int4_weights.py.

    Where the file holds one matrix twice, as embeddings and as head, each rounded for itself, the one with more bits
    is kept for both, as the original had it.

    Raises:
        ModelError: The file cannot be converted (see check_gguf), or the model that comes out is not whole.
        ResourceError: There is not enough space on the disk.
        OSError: `target` cannot be written.
    """
    check_gguf(header)
    _check_resources(target, header.parameters)
    log(f"converting {origin.file_name} ({header.quantization}) to bfloat16, once …")
    with quiet_transformers(), redirect_stderr(StringIO()), atomic_directory(target) as work:
        model = _read_model(header)
        kept = _tie_head(model, header)
        # transformers 5 calls a dequantized model quantized and would refuse to save it.
        model.hf_quantizer = None
        model.is_quantized = False
        for config in (model.config, model.config.get_text_config()):
            if hasattr(config, "quantization_config"):
                del config.quantization_config
        model.save_pretrained(work)
        write_int4_weights(header, model, work)
        del model
        _read_tokenizer(header).save_pretrained(work)
        _write_marker(work, header, origin, kept)
    log(f"{target}: {format_bytes(sum(one.stat().st_size for one in target.rglob('*') if one.is_file()))}")


def _check_resources(target: Path, parameters: int) -> None:
    """Raise ResourceError where disk or memory are too small for the conversion of so many parameters."""
    import psutil

    folder = next(one for one in target.parents if one.exists())
    disk, memory = int(_DISK * parameters), _MEMORY * parameters
    if (free := shutil.disk_usage(folder).free) < disk:
        what = f"not enough space for the converted model: {format_bytes(disk)} are needed, {format_bytes(free)} free"
        raise ResourceError(what, str(folder), "free some disk space, or set ROLESUM_CACHE to another place")
    if (free := psutil.virtual_memory().available) < memory:
        what = f"not enough memory to convert the model: {format_bytes(memory)} are needed, {format_bytes(free)} free"
        raise ResourceError(what, "", "close other programs, or convert it on a larger machine and copy the directory")


def _read_model(header: GGUFHeader) -> Any:
    """The model in bfloat16, with every tensor of the file in its place. Raises ModelError.

    Its type is not PreTrainedModel: the attributes that are changed later exist on instances only.
    """
    place, file = str(header.path), header.path
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.bfloat16, output_loading_info=True
        )
    except (ValueError, KeyError, IndexError, TypeError, RuntimeError, NotImplementedError) as error:
        raise ModelError(
            f"the GGUF file cannot be converted: {error_summary(error)}", place, "fetch it again"
        ) from None
    model, info = loaded
    faults = {"missing": set(info["missing_keys"]), "surplus": set(info["unexpected_keys"])}
    raise_tensor_problems(faults, place, "fetch the file again")
    count = len(list(model.named_parameters()))
    if count != len(header.tensors):
        what = f"the file has {len(header.tensors)} tensors, and the model that is made of it {count}"
        raise ModelError(what, place, "give the model as a directory of safetensors")
    _check_config(model.config.get_text_config(), header)
    return model


def _check_config(config: Any, header: GGUFHeader) -> None:
    """Raise ModelError where the config that transformers made says another thing than the file."""
    rope = getattr(config, "rope_parameters", None) or {}
    thetas = {one.get("rope_theta") for one in (rope, *rope.values()) if isinstance(one, dict)} | {
        getattr(config, "rope_theta", None)
    }
    for field in _own_fields(header):
        name = _SIZES.get(field)
        if name is None:
            continue
        stated = header.fields[f"{header.architecture}.{field}"]
        known = thetas if name == "rope_theta" else {_config_value(config, name)}
        if not any(_same(stated, one) for one in known):
            what = f"{field} is {stated} in the file, and {_config_value(config, name)} in the model made of it"
            raise ModelError(what, str(header.path), "give the model as a directory of safetensors")


def _config_value(config: Any, name: str) -> Any:
    if name == "head_dim":
        return getattr(config, name, None) or config.hidden_size // config.num_attention_heads
    return getattr(config, name, None)


def _same(stated: Any, found: Any) -> bool:
    numbers = isinstance(found, int | float) and isinstance(stated, int | float)
    return numbers and abs(stated - found) <= 1e-5 * abs(stated)  # the file holds float32


def _tie_head(model: Any, header: GGUFHeader) -> str:
    """Keep one matrix for embeddings and head where they differ by no more than their roundings; its name, or "".

    The matrices of a tied model are written apart by some converters, and rounded to different numbers of bits.
    """
    head, embeddings = header.tensor("output.weight"), header.tensor("token_embd.weight")
    if head is None or embeddings is None or head.shape != embeddings.shape:
        return ""
    ours, theirs = model.get_output_embeddings().weight.data, model.get_input_embeddings().weight.data
    coarse, fine = sorted((head, embeddings), key=_bits)
    if _relative_difference(ours, theirs) > _ROUNDING * 2.0 ** -_bits(coarse):
        return ""
    if fine is embeddings:
        ours.copy_(theirs)
    else:
        theirs.copy_(ours)
    model.get_output_embeddings().weight = model.get_input_embeddings().weight
    model.config.get_text_config().tie_word_embeddings = True
    return fine.name


def _bits(tensor: Any) -> float:
    """The bits of a weight by the quantization's name, such as 4 of Q4_K."""
    found = re.search(r"\d+", tensor.quantization)
    return _BITS.get(tensor.quantization) or float(found[0] if found else 0)


def _relative_difference(left: torch.Tensor, right: torch.Tensor) -> float:
    """The norm of the difference of two matrices (rows, hidden) by that of the first."""
    difference = norm = 0.0
    for some, others in zip(torch.split(left, _ROWS), torch.split(right, _ROWS), strict=True):
        difference += float((some.float() - others.float()).square().sum())
        norm += float(some.float().square().sum())
    return (difference / norm) ** 0.5 if norm else float("inf")


def _read_tokenizer(header: GGUFHeader) -> Any:
    """The tokenizer, with the pre-tokenizer that the file names. Raises ModelError."""
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(header.path.parent, gguf_file=header.path.name)
    except Exception as error:  # the library raises many kinds
        what = f"its tokenizer cannot be converted: {error_summary(error)}"
        raise ModelError(what, str(header.path), "give the model as a directory of safetensors") from None
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    if header.fields.get("tokenizer.ggml.model") == "gpt2":
        name = _pre_tokenizer(header)
        steps, ignores_merges = PRE_TOKENIZERS[name]
        parts["normalizer"] = _NORMALIZERS.get(name)
        parts["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [_with_offsets(one) for one in steps]}
        parts["model"]["ignore_merges"] = ignores_merges
    elif header.architecture == "llama":
        # transformers puts no space before a text that begins with one; SentencePiece does.
        prefix = [{"type": "Prepend", "prepend": SPACE}] * bool(header.fields.get(_SPACE_PREFIX, True))
        spaces = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
        parts["normalizer"] = {"type": "Sequence", "normalizers": [*prefix, spaces]}
        parts["pre_tokenizer"] = None
    tokenizer._tokenizer = RustTokenizer.from_str(json.dumps(parts))
    return tokenizer


def _with_offsets(step: dict[str, Any]) -> dict[str, Any]:
    return {**step, "trim_offsets": True} if step["type"] == "ByteLevel" else step


def _write_marker(work: Path, header: GGUFHeader, origin: GGUFOrigin, kept: str) -> None:
    marker = {
        "alias": origin.alias,
        "gguf": {
            "file": origin.file_name,
            "bytes": origin.size,
            "sha256": origin.sha256,
            "architecture": header.architecture,
            "quantization": header.quantization,
        },
        "tied_to": kept or None,
        "found_at": origin.found_at,
        "transformers": transformers.__version__,
    }
    (work / MARKER_FILE).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
