"""A program of its own: what stock transformers computes from a directory, for a comparison with what was exported.

python stock_logits.py DIRECTORY INPUT OUTPUT: INPUT holds ids and texts, OUTPUT gets their logits and the texts' ids.
Where INPUT says "native", rolesum's readers of original layouts are used; else nothing of rolesum is imported.
"""

import importlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging


def last_logits(model: torch.nn.Module, ids: list[int], positions: int) -> torch.Tensor:
    """float32 (positions, vocabulary): the logits behind the last of `ids`, in the decoder of a model that has one."""
    tokens = torch.tensor([ids], device=model.device)
    how = {"decoder_input_ids": tokens[:, -positions:]} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model(input_ids=tokens, **how).logits[0, -positions:].float().cpu()


def main(directory: str, source: str, target: str) -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    asked = torch.load(source, weights_only=True)
    ids_of_texts = []
    if asked["native"]:
        importlib.import_module("rolesum.models.checkpoint")
    else:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        how = {"add_special_tokens": False, "split_special_tokens": True}
        ids_of_texts = [tokenizer.encode(text, **how) for text in asked["texts"]]
    kind = AutoModelForSeq2SeqLM if asked["encoder_decoder"] else AutoModelForCausalLM
    dtype = getattr(torch, asked["dtype"])
    model = kind.from_pretrained(directory, dtype=dtype, local_files_only=True).to(asked["device"]).eval()
    logits = [last_logits(model, ids, asked["positions"]) for ids in asked["ids"]]
    torch.save({"logits": logits, "ids_of_texts": ids_of_texts, "class": type(model).__name__}, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
