"""A model's forward in training: the summed loss, by the fastest exact kernels that the model and device allow."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import cast

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from rolesum.models.attention.segments import segment_attention, supports_segment_attention
from rolesum.models.families import OTHER, Family
from rolesum.training.kernels.layers import fused_layers
from rolesum.training.kernels.lora import fused_lora
from rolesum.training.loss import Reduce, sum_losses, summed_loss


def packs_rows(causal_lm: PreTrainedModel, family: Family, device: torch.device) -> bool:
    """Whether a batch's rows are packed into one without padding, which attention by segments allows."""
    known = family is not OTHER and family.shares_prefix
    return known and supports_segment_attention(causal_lm.config.get_text_config(), device)


@contextmanager
def training_forward(
    model: PreTrainedModel | PeftModel,
    family: Family,
    neftune_alpha: float,
    device: torch.device,
    reduce: Reduce = sum_losses,
) -> Iterator[None]:
    """Inside, `model(**batch)` returns the summed loss of a batch, or what `reduce` makes of its losses (see loss.py).

    `device` is the one that it trains on: a model that FSDP will shard is not there yet.
    """
    causal_lm = cast(PreTrainedModel, model.get_base_model()) if isinstance(model, PeftModel) else model
    with ExitStack() as stack:
        stack.enter_context(summed_loss(causal_lm, neftune_alpha, reduce))
        stack.enter_context(fused_lora(model))
        stack.enter_context(fused_layers(model))
        if packs_rows(causal_lm, family, device):
            stack.enter_context(segment_attention(causal_lm))
        yield
