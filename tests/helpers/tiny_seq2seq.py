"""Tiny random encoder-decoders, each with a small tokenizer of its family's own class, made on the spot."""

import functools
import json
import math

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForSeq2SeqLM,
    BartConfig,
    BartTokenizer,
    LEDConfig,
    MarianConfig,
    MBart50Tokenizer,
    MBartConfig,
    MBartTokenizer,
    MT5Config,
    PegasusConfig,
    PegasusTokenizer,
    T5Config,
    T5Tokenizer,
    UMT5Config,
)
from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES as CODES
from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES as CODES_50

from helpers.tiny import folder
from rolesum.formats import read_dialogues

LENGTH = 1024
_LIKE_BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": LENGTH,
    "dropout": 0.0,
}
_LIKE_T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "dropout_rate": 0.0,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}
_FAIRSEQ = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
_PEGASUS = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "scale_embedding": True}

CONFIGS = {
    "bart": lambda size: BartConfig(**_LIKE_BART, **_FAIRSEQ, vocab_size=size, decoder_start_token_id=2),
    "bart-dropout": lambda size: BartConfig(
        **{**_LIKE_BART, "dropout": 0.1}, **_FAIRSEQ, vocab_size=size, decoder_start_token_id=2
    ),
    "mbart": lambda size: MBartConfig(**_LIKE_BART, **_FAIRSEQ, vocab_size=size, scale_embedding=True),
    "mbart50": lambda size: MBartConfig(
        **_LIKE_BART, **_FAIRSEQ, vocab_size=size, scale_embedding=True, decoder_start_token_id=2
    ),
    "pegasus": lambda size: PegasusConfig(**_LIKE_BART, **_PEGASUS, vocab_size=size),
    "t5": lambda size: T5Config(**_LIKE_T5, vocab_size=size, n_positions=LENGTH),
    "t5-v1.1": lambda size: T5Config(
        **_LIKE_T5, vocab_size=size, feed_forward_proj="gated-gelu", tie_word_embeddings=False
    ),
    "mt5": lambda size: MT5Config(**_LIKE_T5, vocab_size=size, feed_forward_proj="gated-gelu"),
    "umt5": lambda size: UMT5Config(**_LIKE_T5, vocab_size=size),
    "marian": lambda size: MarianConfig(**_LIKE_BART, **_PEGASUS, vocab_size=size),
    "led": lambda size: LEDConfig(
        **_LIKE_BART, **_FAIRSEQ, vocab_size=size, decoder_start_token_id=2, attention_window=8
    ),
}
FAMILIES = ("bart", "mbart", "mbart50", "pegasus", "t5", "t5-v1.1", "mt5")


def seq2seq_dir(kind, seed=0):
    """A saved checkpoint of random float32 weights, spread so that what is read outweighs the last word."""
    return _seq2seq_dir(kind, seed)


@functools.cache
def _seq2seq_dir(kind, seed):
    path = folder() / f"{kind}-{seed}"
    tokenizer = tokenizer_of(kind)
    torch.manual_seed(seed)
    model = AutoModelForSeq2SeqLM.from_config(CONFIGS[kind](len(tokenizer))).to(torch.float32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad and weight.dim() > 1:
                words = len(weight) > 500 and "t5" not in kind  # T5 scales what its head takes
                weight.normal_(0, 0.5 if "encoder_attn" in name else 0.05 if words else 0.25)
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.normal_(0, 0.2)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@functools.cache
def tokenizer_of(kind):
    if kind in ("bart", "bart-dropout", "led"):
        return _bart_tokenizer()
    pieces = _pieces()
    if kind.startswith("mbart"):
        fairseq = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
        new = kind == "mbart50"
        codes = [(code, 0.0) for code in (CODES_50 if new else CODES)]
        make = MBart50Tokenizer if new else MBartTokenizer
        return make(vocab=[*fairseq, *pieces, *codes, ("<mask>", 0.0)], src_lang="en_XX", tgt_lang="en_XX")
    if kind in ("pegasus", "marian"):
        first = ["<pad>", "</s>", "<mask_1>", "<mask_2>", *(f"<unk_{number}>" for number in range(2, 10)), "<unk>"]
        return PegasusTokenizer(vocab=[*((token, 0.0) for token in first), *pieces], offset=10)
    first = [(token, 0.0) for token in ("<pad>", "</s>", "<unk>")]
    last = [(f"<extra_id_{number}>", 0.0) for number in range(9, -1, -1)]
    return T5Tokenizer(vocab=[*first, *pieces, *last], extra_ids=10)


def _texts():
    return [
        turn.text for name in ("en-train", "zh-train") for one in read_dialogues(f"sample:{name}") for turn in one.turns
    ]


@functools.cache
def _pieces():
    """Pieces of a SentencePiece-like unigram model with their scores, without the special ones.

    They are those of BPE, more frequent ones with a higher score: the trainer of unigram models gives others in each
    process.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Metaspace()
    bpe.train_from_iterator(_texts(), trainers.BpeTrainer(vocab_size=2499, show_progress=False))
    ranks = json.loads(bpe.to_str())["model"]["vocab"]
    return [(piece, -math.log(rank + 2)) for piece, rank in sorted(ranks.items(), key=lambda item: item[1])]


def _bart_tokenizer():
    """Byte-level BPE, as BART's."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        _texts(),
        trainers.BpeTrainer(vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    model = json.loads(bpe.to_str())["model"]
    return BartTokenizer(vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]])
