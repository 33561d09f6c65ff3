"""Write tiny checkpoints with random weights in the layouts that the models' authors published.

Architecture, file names and tensor names are the original's. With the original's tokenizer.model the ids are the
original's too; without one, a small tokenizer of the same kind is trained on the bundled dialogues.
"""

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import AutoModelForCausalLM, PreTrainedModel

from rolesum import strict_json
from rolesum.atomic_io import atomic_directory
from rolesum.errors import UsageError, did_you_mean
from rolesum.formats import read_dialogues
from rolesum.models.architectures import chatglm
from rolesum.models.architectures.sentencepiece import (
    BYTE,
    CONTROL,
    MODEL_FILE,
    NORMAL,
    SPACE,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    read_model,
    sentencepiece_proto,
)
from rolesum.models.checkpoint import load_config
from rolesum.models.transformers_logging import quiet_transformers
from rolesum.os_errors import os_error

_LLAMA = {
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "use_cache": True,
    "torch_dtype": "float32",
}
_BAICHUAN = {**_LLAMA, "model_type": "baichuan", "architectures": ["BaichuanForCausalLM"], "model_max_length": 4096}
_CHATGLM = {
    "model_type": "chatglm",
    "architectures": ["ChatGLMModel"],
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "apply_residual_connection_post_layernorm": False,
    "attention_dropout": 0.0,
    "ffn_hidden_size": 96,
    "hidden_size": 32,
    "kv_channels": 8,
    "layernorm_epsilon": 1e-5,
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "num_attention_heads": 4,
    "num_layers": 2,
    "padded_vocab_size": 65024,
    "post_layer_norm": True,
    "rmsnorm": True,
    "seq_length": 8192,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "eos_token_id": 2,
    "pad_token_id": 0,
}

# Name -> config.json. Only the vocabulary of Baichuan's and Llama's follows the tokenizer.
CONFIGS: dict[str, dict[str, Any]] = {
    "baichuan2-7b": {**_BAICHUAN, "hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 4096},
    "baichuan2-13b": {**_BAICHUAN, "hidden_size": 80, "num_attention_heads": 5},
    "chatglm2-6b": {**_CHATGLM, "_name_or_path": "zai-org/chatglm2-6b", "seq_length": 32768},
    "chatglm3-6b": {**_CHATGLM, "_name_or_path": "zai-org/chatglm3-6b"},
    "chatglm3-6b-32k": {
        **_CHATGLM, "_name_or_path": "zai-org/chatglm3-6b-32k", "seq_length": 32768, "rope_ratio": 50,
    },
    "llama2-7b": {
        **_LLAMA,
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 64,
        "num_attention_heads": 4,
        "max_position_embeddings": 4096,
    },
}  # fmt: skip

# USER_DEFINED pieces of Baichuan's tokenizer from id 3 on; the last two are the chat's, with the ids 195 and 196.
_BAICHUAN_PIECES = (
    *("<SEP>", "<CLS>", "\n", "\t"),
    *(f"<markup_{number}>" for number in range(7, 195)),
    *("<reserved_106>", "<reserved_107>"),
)
_WORDS = 400  # merges of a tokenizer that is trained here


def write_tiny_checkpoint(name: str, directory: Path, tokenizer: Path | None = None, seed: int = 0) -> None:
    """Write a tiny checkpoint of an architecture in CONFIGS, with random float32 weights, whole or not at all.

    Raises UsageError for an unknown name or a directory that is not empty, ResourceError where it cannot be written.
    """
    if name not in CONFIGS:
        raise UsageError(f'no architecture "{name}" to make', fix=did_you_mean(name, CONFIGS))
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError("this is not an empty directory", str(directory), "give the name of a new one")
    if tokenizer is not None and not tokenizer.is_file():
        raise UsageError("no such tokenizer.model", str(tokenizer), "leave it out to have one made")
    if tokenizer is not None:
        read_model(tokenizer)
    try:
        with atomic_directory(directory) as work:
            _write(name, work, tokenizer, seed)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch.save tells a full disk as a RuntimeError
        raise os_error(error, "cannot write", directory) from None


def _write(name: str, work: Path, tokenizer: Path | None, seed: int) -> None:
    config = dict(CONFIGS[name])
    if tokenizer is not None:
        shutil.copyfile(tokenizer, work / MODEL_FILE)
    else:
        (work / MODEL_FILE).write_bytes(_tokenizer_model(config["model_type"]))
    if config["model_type"] != "chatglm":
        config["vocab_size"] = len(read_model(work / MODEL_FILE).pieces)
    (work / "config.json").write_text(strict_json.dumps(config, indent=1) + "\n", encoding="utf-8")
    torch.manual_seed(seed)
    with quiet_transformers():
        model: PreTrainedModel = AutoModelForCausalLM.from_config(load_config(work), dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:  # so widely that greedy texts vary
                    parameter.normal_(std=1 / math.sqrt(parameter.shape[1]))
        model.save_pretrained(work / "saved")
    tensors = load_file(work / "saved" / "model.safetensors")
    if "lm_head.weight" in tensors:  # stored heads are not normalized
        tensors["lm_head.weight"] *= torch.rand(len(tensors["lm_head.weight"]), 1) + 0.5
    torch.save(tensors, work / "pytorch_model.bin")
    shutil.rmtree(work / "saved")


def _tokenizer_model(model_type: str) -> bytes:
    """A small SentencePiece BPE model with byte fallback, as a family's own is laid out."""
    model = sentencepiece_proto().ModelProto()
    model.trainer_spec.model_type = 2  # BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.unk_id, model.trainer_spec.bos_id, model.trainer_spec.eos_id = 0, 1, 2
    model.normalizer_spec.add_dummy_prefix = model_type != "baichuan"
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = True
    model.normalizer_spec.name = "identity"

    def add(pieces: Sequence[str], kind: int, score: float = 0.0, step: float = 0.0) -> None:
        for number, piece in enumerate(pieces):
            model.pieces.add(piece=piece, type=kind, score=score - step * number)

    add(["<unk>"], UNKNOWN)
    add(["<s>", "</s>"], CONTROL)
    if model_type == "baichuan":
        add(_BAICHUAN_PIECES, USER_DEFINED)
    add([f"<0x{byte:02X}>" for byte in range(256)], BYTE)
    merged, letters = _trained()
    add(merged, NORMAL, step=1.0)
    add(letters, NORMAL, -float(len(merged)), 1.0)
    if model_type == "chatglm":  # its control tokens stand behind 64,789 pieces
        missing = min(chatglm.CONTROL_TOKENS) - len(model.pieces)
        add([f"<{number:x}>" for number in range(missing)], UNUSED)
    return bytes(model.SerializeToString())


def _trained() -> tuple[list[str], list[str]]:
    """The pieces that were merged, in their order, and the letters, of a BPE trained on the bundled dialogues."""
    texts = [
        turn.text for name in ("en-train", "zh-train") for one in read_dialogues(f"sample:{name}") for turn in one.turns
    ]
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="always", split=True)
    letters = sorted(
        {letter for text in texts for letter in text if letter.isascii() and not letter.isspace()} | {SPACE}
    )
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=len(letters) + _WORDS, initial_alphabet=letters, limit_alphabet=len(letters), show_progress=False
        ),
    )
    merges = json.loads(bpe.to_str())["model"]["merges"]
    return ["".join(pair) for pair in merges], letters
