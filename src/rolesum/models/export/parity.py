"""Compute the logits of an exported directory with stock transformers; run as a program of its own.

python parity.py DIRECTORY INPUT OUTPUT: INPUT holds token ids and texts, OUTPUT gets their logits and the texts' ids.
Where INPUT says "native", rolesum's readers of original layouts are used; otherwise nothing of rolesum is imported.
"""

import importlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging


def last_logits(model: PreTrainedModel, ids: list[int], positions: int) -> torch.Tensor:
    """The logits at the last `positions` of `ids`, by the decoder if there is one: float32 (positions, vocabulary)."""
    tokens = torch.tensor([ids], device=model.device)
    how = {"decoder_input_ids": tokens[:, -positions:]} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=tokens, **how).logits
    return logits[0, -positions:].float().cpu()


def main(directory: str, source: str, target: str) -> None:
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # not annotated
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # not annotated
    request = torch.load(source, weights_only=True)
    text_ids = []
    if request["native"]:
        importlib.import_module("rolesum.models.checkpoint")
    else:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        how = {"add_special_tokens": False, "split_special_tokens": True}
        text_ids = [tokenizer.encode(text, **how) for text in request["texts"]]
    kind = AutoModelForSeq2SeqLM if request["encoder_decoder"] else AutoModelForCausalLM
    dtype = getattr(torch, request["dtype"])
    model = kind.from_pretrained(directory, dtype=dtype, local_files_only=True).to(request["device"]).eval()
    logits = [last_logits(model, ids, request["positions"]) for ids in request["prompts"]]
    torch.save({"logits": logits, "text_ids": text_ids, "class": type(model).__name__}, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
