"""A model's backbone and head apart, so that the head can be applied to chosen positions only."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel

from rolesum.models.protocols import Backbone


def backbone(model: PreTrainedModel) -> Backbone:
    """A causal model without its head: token ids or embeddings to hidden states (batch, length, hidden)."""
    named = getattr(model, model.base_model_prefix, None)
    body: Backbone = model.model if named is None else named  # Llama 4 names one that its text model has not
    return body


def apply_lm_head(
    model: PreTrainedModel, hidden: torch.Tensor, head: Callable[[torch.Tensor], torch.Tensor] | None = None
) -> torch.Tensor:
    """The logits of hidden states (positions, hidden) as float32 (positions, vocabulary).

    The hidden states of an encoder-decoder are those of its decoder: T5 scales them before the head, BART and its
    relatives add a bias after it. Cohere multiplies logits by its `logit_scale`, Granite divides them by its
    `logits_scaling`, and Gemma caps them. `head` replaces the model's own head module, for a caller inside that
    module's call.
    """
    hidden = hidden * model.config.d_model**-0.5 if _scales_hidden(model.config) else hidden
    own: torch.nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]  # not annotated
    layer: Callable[[torch.Tensor], torch.Tensor] = head or own
    logits = layer(hidden).float()  # (positions, vocabulary)
    bias: torch.Tensor | None = getattr(model, "final_logits_bias", None)  # (1, vocabulary)
    logits = logits if bias is None else logits + bias
    config = model.config.get_text_config()
    if scale := getattr(config, "logit_scale", None):
        logits = logits * scale
    if divisor := getattr(config, "logits_scaling", None):
        logits = logits / divisor
    cap = getattr(config, "final_logit_softcapping", None)
    return torch.tanh(logits / cap) * cap if cap else logits


def _scales_hidden(config: Any) -> bool:
    """Whether the hidden states are scaled by hidden^-0.5: T5's first version and UMT5, not T5 v1.1 and mT5."""
    scales = getattr(config, "scale_decoder_outputs", None)
    return bool(config.model_type == "umt5" if scales is None else scales)
