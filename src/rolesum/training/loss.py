"""The training loss of a batch of bundles: the body, then the head on the positions that predict a target only.

`summing_loss` puts this in the place of a causal model's forward while it trains, so that PEFT, DDP and the Trainer
call it through their own wrappers as they would call the model's.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from rolesum.models.attention import bundle_visibility, model_mask
from rolesum.models.causal import body, logits
from rolesum.training.noise import neftune_noise

# Target positions whose logits exist at one time: 1,024 rows of 262,144 words are 1 GiB in float32.
CHUNK = 1024


@contextmanager
def summing_loss(causal_lm: PreTrainedModel, neftune_alpha: float) -> Iterator[None]:
    """Inside, `causal_lm(**batch)` gives the summed loss over the batch's target tokens (a scalar, float32).

    In training mode with NEFTune noise of `neftune_alpha` (0 is none); never in evaluation mode.
    """

    def forward(self: PreTrainedModel, **inputs: Any) -> torch.Tensor:
        batch = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
        return _summed_loss(self, batch, neftune_alpha if self.training else 0.0)

    causal_lm.forward = MethodType(forward, causal_lm)
    try:
        yield
    finally:
        del causal_lm.forward


def _summed_loss(model: PreTrainedModel, batch: dict[str, torch.Tensor], alpha: float) -> torch.Tensor:
    embedded = model.get_input_embeddings()(batch["input_ids"])  # (rows, length, width)
    if alpha > 0:
        embedded = embedded + neftune_noise(
            batch["example_lengths"], batch["noise_seeds"], embedded.shape[-1], alpha, embedded.dtype
        )
    hidden = body(model)(inputs_embeds=embedded, use_cache=False, **_attention(model, batch, embedded.dtype))[0]
    predicting = hidden.flatten(0, 1)[batch["predicting"]]  # (targets, width)
    return _targets_loss(model, predicting, batch["target_ids"])


def _attention(model: PreTrainedModel, batch: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, Any]:
    """Mask and positions. A row of one branch is a plain left-to-right text: padding on its right changes nothing."""
    if int(batch["branches"].max()) <= 1:
        return {}
    positions = batch["position_ids"]
    visible = bundle_visibility(batch["branches"])
    mask = model_mask(model.config.get_text_config(), visible, positions, positions, dtype)
    return {"attention_mask": mask, "position_ids": positions}


def _targets_loss(model: PreTrainedModel, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The summed loss, chunk by chunk, inside one call of the head's module.

    In that call's hooks FSDP gathers the head's weight. Were the module called for each chunk, it would be gathered for
    each of them in the backward, and processes with different numbers of chunks would wait for each other for ever.
    """
    head = model.get_output_embeddings()
    plain = head.forward

    def chunked(hidden: torch.Tensor) -> torch.Tensor:
        if len(targets) <= CHUNK:
            return _chunk_loss(model, plain, hidden, targets)
        chunks = zip(hidden.split(CHUNK), targets.split(CHUNK), strict=True)
        losses = [checkpoint(_chunk_loss, model, plain, *chunk, use_reentrant=False) for chunk in chunks]
        return torch.stack(losses).sum()

    head.forward = chunked
    try:
        return head(hidden)
    finally:
        del head.forward


def _chunk_loss(
    model: PreTrainedModel, head: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    return functional.cross_entropy(logits(model, hidden, head), targets, reduction="sum")
