"""A model's forward in training: the summed loss, by the fastest exact kernels that the model and device allow."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import cast

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from rolesum.console import progress_bar
from rolesum.models.attention.segments import segment_attention, supports_segment_attention
from rolesum.models.families import OTHER, Family
from rolesum.models.prompt_model import LoadedModel
from rolesum.training.batching import SampleBatch, token_budget_batches
from rolesum.training.collate import make_collate_fn, to_device
from rolesum.training.encode import EncodedBundle
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


def outputs_by_batch(
    loaded: LoadedModel,
    bundles: Sequence[EncodedBundle],
    budget: int,
    reduce: Reduce,
    *,
    label: str,
    device: torch.device,
    autocast: bool = False,
) -> list[tuple[SampleBatch, list[float]]]:
    """What `reduce` makes of each batch of `budget` tokens, by the model as it is: no noise, dropout or gradients.

    The batches are in the order in which they are computed; each sample names its bundle. `autocast` is for weights in
    float32 that are trained in bfloat16, `label` for the progress bar.
    """
    model, collate = loaded.model, make_collate_fn(loaded)
    batches = token_budget_batches([bundle.tokens for bundle in bundles], budget, seed=0, epochs=1)
    found: list[tuple[SampleBatch, list[float]]] = []
    model.eval()
    with (
        torch.no_grad(),
        torch.autocast(device.type, torch.bfloat16, enabled=autocast),
        training_forward(model, loaded.family, 0.0, device, reduce),
        progress_bar(label, len(batches), "batches") as bar,
    ):
        for samples in batches:
            batch = collate([(sample, bundles[sample.index]) for sample in samples])
            found.append((samples, model(**to_device(batch, device)).tolist()))
            bar.advance(1)
    return found
