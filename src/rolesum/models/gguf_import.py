"""Convert a GGUF file into a directory of safetensors, config and tokenizer that transformers reads.

The weights are dequantized in float32 and stored as bfloat16: the rounding (2^-9 of each weight) is far below the
4-bit quantization that the file has gone through.
"""

import json
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

from rolesum.models.catalog import MARKER_FILE, CatalogEntry
from rolesum.models.transformers_logging import quiet_transformers

# llama.cpp's name of a pre-tokenizer -> what the model's own tokenizer.json does. transformers reads byte-level BPE
# from GGUF without it; SmolLM cuts digits one by one.
PRE_TOKENIZERS = {
    "smollm": lambda: pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
}


def convert_gguf(gguf: Path, target: Path, entry: CatalogEntry) -> None:
    """Write `target`: model.safetensors (bfloat16), config.json, tokenizer files, and the marker with its alias."""
    with quiet_transformers(), redirect_stderr(StringIO()):  # the GGUF reader draws a bar of its own
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        # Any: the attributes changed below exist on instances only.
        model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        pre = PRE_TOKENIZERS.get(_field(gguf, "tokenizer.ggml.pre"))
        if pre is not None:
            tokenizer.backend_tokenizer.pre_tokenizer = pre()
        # transformers 5 calls a dequantized model quantized and would refuse to save it.
        model.hf_quantizer = None
        model.is_quantized = False
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.to(torch.bfloat16).save_pretrained(target)
        tokenizer.save_pretrained(target)
    marker = {"alias": entry.alias, "gguf_sha256": entry.gguf_sha256, "transformers": transformers.__version__}
    (target / MARKER_FILE).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")


def _field(gguf: Path, name: str) -> str:
    from gguf import GGUFReader

    field = GGUFReader(gguf).fields.get(name)
    return str(field.contents()) if field else ""
