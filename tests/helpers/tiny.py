"""Tiny random models of several families with a small byte-level tokenizer, made on the spot."""

import atexit
import functools
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BloomConfig,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)
from transformers.models.auto import AutoModelForCausalLM

from helpers.tiny_checkpoints import CONFIGS as ORIGINALS
from helpers.tiny_checkpoints import write_tiny_checkpoint
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.formats.jsonl import to_json

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "</s>"]
SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 600}
GROUPED = {**SIZES, "intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 2048}
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}

# A window shorter than the dialogues, so that sliding layers really slide.
WINDOW = 24

CONFIGS = {
    "llama": lambda: LlamaConfig(**GROUPED, **IDS),
    "tied-llama": lambda: LlamaConfig(**GROUPED, **IDS, tie_word_embeddings=True),
    # bitsandbytes' processor kernels want widths that are multiples of 64.
    "wide-llama": lambda: LlamaConfig(**{**GROUPED, "hidden_size": 64, "intermediate_size": 128}, **IDS),
    "qwen2": lambda: Qwen2Config(**GROUPED, **IDS),
    "mistral": lambda: MistralConfig(**GROUPED, **IDS, sliding_window=WINDOW),
    "gemma3": lambda: Gemma3TextConfig(
        **GROUPED,
        **IDS,
        head_dim=8,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        final_logit_softcapping=20.0,
    ),
    "bloom": lambda: BloomConfig(
        hidden_size=32, n_layer=3, n_head=4, vocab_size=600, bos_token_id=1, eos_token_id=2, pad_token_id=0
    ),
}


@functools.cache
def folder() -> Path:
    path = Path(tempfile.mkdtemp(prefix="rolesum-tiny-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE of 600 words, trained on the sample dialogues, with ChatML control tokens."""
    texts = [
        turn.text for name in ("en-train", "zh-train") for one in read_dialogues(f"sample:{name}") for turn in one.turns
    ]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=600, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHAT_TEMPLATE
    )


@functools.cache
def short_dialogues(name: str = "en-train", count: int = 6, turns: int = 3) -> Path:
    """The first turns of sample dialogues with their summaries, as a file: real text, quick to train on."""
    path = folder() / f"{name}-{count}-{turns}.jsonl"
    lines = []
    for one in read_dialogues(f"sample:{name}", ReadOptions(limit=count)):
        kept = one.with_turns(one.turns[:turns])
        heard = {label: role for label, role in one.roles.items() if label in kept.speakers()}
        lines.append(to_json(replace(kept, roles=heard)))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@functools.cache
def model_dir(kind: str, seed: int = 0) -> Path:
    """A saved checkpoint of random float32 weights, spread widely so that greedy texts vary."""
    path = folder() / f"{kind}-{seed}"
    if kind in ORIGINALS:
        write_tiny_checkpoint(kind, path, seed=seed)
        return path
    torch.manual_seed(seed)
    config = CONFIGS[kind]()
    config.initializer_range = 0.2
    AutoModelForCausalLM.from_config(config).to(torch.float32).save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path
