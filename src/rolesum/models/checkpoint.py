"""Read a checkpoint directory: raw config.json, config, tokenizer, weights, or one tensor by the model's name for it.

Every problem is a ModelError that names the file or directory.
"""

import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from tokenizers import AddedToken
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from rolesum.counts import counted
from rolesum.errors import ModelError, Problem, ResourceError, UsageError
from rolesum.models.architectures import baichuan, chatglm
from rolesum.models.architectures.sentencepiece import MODEL_FILE, fast_tokenizer
from rolesum.models.protocols import Tokenizer
from rolesum.os_errors import os_error

_WHOLE = "is it a whole language model?"
_AGAIN = "fetch the model again"
# Model types whose bare tokenizer.model is a plain Llama tokenizer.
_LIKE_LLAMA = ("llama", "mistral")

baichuan.register()
chatglm.register()


def read_config(path: Path) -> dict[str, Any]:
    """The raw config.json. Raises ModelError where there is none."""
    file = path / "config.json"
    if not file.is_file():
        raise ModelError("no config.json: not a checkpoint", str(path), "give the directory of a model")
    return read_json(file)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint; empty where the file is not there."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise os_error(error, f"broken {file.name}", file, _AGAIN, kind=ModelError) from None
    if not isinstance(value, dict):
        raise ModelError(f"broken {file.name}: not an object", str(file), _AGAIN)
    return value


def load_config(path: Path) -> PretrainedConfig:
    """The config as its architecture's class reads it."""
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        return config
    except ModelError as error:
        raise ModelError([Problem(one.what, str(path), one.fix) for one in error.problems]) from None
    except Exception as error:  # an unknown model_type, values that do not fit
        raise os_error(error, "the model cannot be loaded", path, _WHOLE, kind=ModelError) from None


def load_tokenizer(path: Path, config: dict[str, Any]) -> Tokenizer:
    """The tokenizer of a checkpoint whose raw config is `config`; from its tokenizer.model where the library errs."""
    model_type, own = config.get("model_type"), path / MODEL_FILE
    if model_type in ("baichuan", "chatglm"):
        if not own.is_file():
            raise ModelError(f"no {MODEL_FILE}", str(path), "copy it from the original checkpoint")
        special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unk>"}
        return as_protocol(fast_tokenizer(own, chatglm.CONTROL_TOKENS if model_type == "chatglm" else None, special))
    published = (path / "tokenizer.json").is_file()
    if model_type in _LIKE_LLAMA and own.is_file() and not published:
        return _llama_tokenizer(path)
    # The library builds a tokenizer of its own for this class, which reads a text that begins with a space otherwise.
    named = str(read_json(path / "tokenizer_config.json").get("tokenizer_class"))
    try:
        if published and named.startswith("LlamaTokenizer"):
            return as_protocol(PreTrainedTokenizerFast.from_pretrained(path, local_files_only=True))
        return as_protocol(AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False))
    except Exception as error:  # the libraries raise many kinds for a missing or broken tokenizer
        raise ModelError(f"the tokenizer cannot be loaded: {error}", str(path), _AGAIN) from None


def as_protocol(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """A tokenizer of transformers under the types of protocols.Tokenizer, which are narrower than its own."""
    return cast(Tokenizer, tokenizer)


def _llama_tokenizer(path: Path) -> Tokenizer:
    """A bare tokenizer.model with what tokenizer_config.json says of it: Llama 2 as Meta published it."""
    said = read_json(path / "tokenizer_config.json")
    tokenizer = fast_tokenizer(path / MODEL_FILE)
    _add_tokens(as_protocol(tokenizer), path, said)
    template = path / "chat_template.jinja"
    tokenizer.chat_template = template.read_text("utf-8") if template.is_file() else said.get("chat_template")
    if said.get("add_bos_token", True):
        begin = (tokenizer.bos_token, tokenizer.bos_token_id)
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{begin[0]} $A", special_tokens=[begin])
    return as_protocol(tokenizer)


def _add_tokens(tokenizer: Tokenizer, path: Path, said: dict[str, Any]) -> None:
    """The tokens that were added behind the pieces, and which tokens are the special ones. Raises ModelError."""
    try:
        added = {int(index): dict(one) for index, one in (said.get("added_tokens_decoder") or {}).items()}
        for surface, index in read_json(path / "added_tokens.json").items():
            added.setdefault(int(index), {"content": surface})
        surfaces = {index: str(one["content"]) for index, one in sorted(added.items())}
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        what = f"the added tokens cannot be read: {error}"
        raise ModelError(what, str(path), "restore tokenizer_config.json and added_tokens.json") from None
    for index, surface in surfaces.items():
        one = added[index]
        token = AddedToken(surface, special=bool(one.get("special")), normalized=False)
        if index >= len(tokenizer):
            tokenizer.add_tokens([token], special_tokens=bool(one.get("special")))
        if tokenizer.convert_tokens_to_ids(token.content) != index:
            what = f"the added token {token.content} should have the id {index}"
            raise ModelError(what, str(path), "give the tokenizer files that belong together, or a tokenizer.json")
    names = {**read_json(path / "special_tokens_map.json"), **said}
    for role in ("bos_token", "eos_token", "unk_token", "pad_token"):
        if named := names.get(role):
            setattr(tokenizer, role, str(named.get("content") if isinstance(named, dict) else named))


def load_pretrained(path: Path, dtype: torch.dtype, device: torch.device, quantize: str | None) -> PreTrainedModel:
    """The model with its weights on the device. Missing, surplus and misshapen tensors are an error that lists them."""
    auto = AutoModelForSeq2SeqLM if load_config(path).is_encoder_decoder else AutoModelForCausalLM
    how: dict[str, Any] = {"quantization_config": _four_bits(dtype), "device_map": {"": device}} if quantize else {}
    try:
        loaded: Any = auto.from_pretrained(
            path,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are told below, with the others
            **how,
        )
        model, info = loaded
        if quantize:
            _keep_differentiable(model)
        else:
            model = model.to(device)
    except torch.OutOfMemoryError:
        raise ResourceError("the model does not fit the device's memory", str(path), "use --device cpu") from None
    except Exception as error:  # safetensors, OSError, ValueError, RuntimeError: all mean a checkpoint that is no good
        if pointers := [file.name for file in path.iterdir() if _is_lfs_pointer(file)]:
            fix = "fetch the files themselves: git lfs pull"
            raise ModelError(
                f"{', '.join(sorted(pointers))}: a Git LFS pointer, not the file", str(path), fix
            ) from None
        if "Weights only load failed" in str(error):  # the library would have one trust the file
            fix = "take the checkpoint as safetensors"
            raise ModelError("its .bin holds more than tensors: code, which is not run", str(path), fix) from None
        raise os_error(error, "the model cannot be loaded", path, _WHOLE, kind=ModelError) from None
    _check_tensors(info, path)
    return cast(PreTrainedModel, model)


def _is_lfs_pointer(file: Path) -> bool:
    if not file.is_file() or file.stat().st_size > 1024:
        return False
    return file.read_bytes().startswith(b"version https://git-lfs")


def _check_tensors(info: dict[str, Any], path: Path) -> None:
    misshapen = {f"{name} {tuple(found)} for {tuple(wanted)}" for name, found, wanted in info["mismatched_keys"]}
    names = {one[0] for one in info["mismatched_keys"]}
    faults = {
        "missing": set(info["missing_keys"]) - names,
        "surplus": set(info["unexpected_keys"]),
        "misshapen": misshapen,
    }
    raise_tensor_problems(faults, str(path), _AGAIN)


def raise_tensor_problems(faults: Mapping[str, set[str]], place: str, fix: str) -> None:
    """Raise ModelError with the tensors of each fault, if there are any."""
    problems = [
        Problem(f"{counted(len(names), f'{fault} tensor')}: {_listed(names)}", place, fix)
        for fault, names in faults.items()
        if names
    ]
    if problems:
        raise ModelError(problems)


def _listed(names: set[str]) -> str:
    shown = sorted(names)[:20]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def _four_bits(dtype: torch.dtype) -> BitsAndBytesConfig:
    """QLoRA's form of a frozen base: NF4 with double quantization (arXiv 2305.14314)."""
    if not importlib.util.find_spec("bitsandbytes"):
        raise UsageError("quantize: 4bit needs bitsandbytes", fix="pip install 'rolesum[qlora]'")
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # not annotated
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def _keep_differentiable(model: PreTrainedModel) -> None:
    """Keep bitsandbytes from repacking weights for its AVX512-BF16 kernel at the first evaluation.

    That kernel has no backward, and the weights stay so: training after an evaluation would get wrong gradients.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]  # a flag of bitsandbytes


def read_tensor(checkpoint: Path, name: str, config: PretrainedConfig) -> torch.Tensor:
    """The tensor as it is stored; of a fused matrix, the part that the model calls `name`. Raises ModelError."""
    stored, rows = _stored_name(name, config)
    # Some are published without the body's prefix: BLOOM's "h.0…" for "transformer.h.0…".
    named = (stored, stored.partition(".")[2])
    for file in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            if found := set(named) & set(tensors.keys()):
                return cast(torch.Tensor, tensors.get_tensor(found.pop())[rows])
    for file in sorted(checkpoint.glob("pytorch_model*.bin")):
        tensors = torch.load(file, weights_only=True, map_location="cpu", mmap=True)
        if found := set(named) & set(tensors):
            return cast(torch.Tensor, tensors[found.pop()][rows])
    what = f"quantize: 4bit needs the checkpoint's own {stored}, and it is in none of its files"
    raise ModelError(what, str(checkpoint), "fetch the model again, or leave quantize out")


def _stored_name(name: str, config: PretrainedConfig) -> tuple[str, slice]:
    """The name in the checkpoint's layout, and the rows that are meant."""
    stem, _, kind = name.rpartition(".")
    for part, rows in _qkv_rows(config):
        if stem.endswith(f"self_attn.{part}_proj"):
            if config.model_type == "baichuan":
                return f"{stem.removesuffix(f'{part}_proj')}W_pack.{kind}", rows
            if config.model_type == "chatglm":
                fused = stem.replace(f"self_attn.{part}_proj", "self_attention.query_key_value")
                return _chatglm_name(f"{fused}.{kind}"), rows
    return (_chatglm_name(name) if config.model_type == "chatglm" else name), slice(None)


def _qkv_rows(config: PretrainedConfig) -> Iterator[tuple[str, slice]]:
    """q, k and v in a fused matrix."""
    keys = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    start = 0
    for part, heads in (("q", config.num_attention_heads), ("k", keys), ("v", keys)):
        yield part, slice(start, start + heads * width)
        start += heads * width


def _chatglm_name(name: str) -> str:
    for theirs, ours in chatglm.WEIGHT_NAMES.items():
        name = name.replace(ours, theirs)
    return name
