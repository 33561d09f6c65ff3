"""Tiny random BERT-like encoders and classifiers with a WordPiece tokenizer, made on the spot."""

import functools

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

from helpers.tiny import folder
from rolesum.formats import read_dialogues

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
NLI_LABELS = ("contradiction", "neutral", "entailment")
LAYERS = 6


@functools.cache
def word_pieces(length: int = 160) -> PreTrainedTokenizerFast:
    """WordPiece trained on the sample dialogues, Chinese by characters; texts of at most `length` tokens."""
    texts = [
        turn.text for name in ("en-train", "zh-train") for one in read_dialogues(f"sample:{name}") for turn in one.turns
    ]
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(
        texts,
        trainers.WordPieceTrainer(vocab_size=900, limit_alphabet=500, special_tokens=SPECIAL, show_progress=False),
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", SPECIAL.index("[CLS]")), ("[SEP]", SPECIAL.index("[SEP]"))],
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=length, **names)


def _config(**others):
    sizes = {"hidden_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "intermediate_size": 48}
    return BertConfig(
        vocab_size=len(word_pieces()), max_position_embeddings=160, initializer_range=0.2, **sizes, **others
    )


@functools.cache
def encoder_dir(name: str = "encoder"):
    """A saved BERT without a head."""
    return _save(name, BertModel, _config())


@functools.cache
def classifier_dir(labels=NLI_LABELS, name: str = "classifier"):
    """A saved classifier with `labels`."""
    named = dict(enumerate(labels))
    return _save(name, BertForSequenceClassification, _config(id2label=named, num_labels=len(labels)))


def _save(name, kind, config):
    path = folder() / name
    torch.manual_seed(0)
    kind(config).save_pretrained(path)
    word_pieces().save_pretrained(path)
    return path
