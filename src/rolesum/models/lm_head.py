"""A model's body and head apart, so that the head can be applied to chosen positions only."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel

from rolesum.errors import ModelError

# Config fields by which some families change their logits behind the head; a value here would be silently lost.
UNSUPPORTED_LOGIT_SCALES = ("logit_scale", "logits_scaling")


def backbone(model: PreTrainedModel) -> torch.nn.Module:
    """A causal model without its head: ids or embeddings to hidden states (rows, length, width)."""
    return getattr(model, model.base_model_prefix)


def apply_lm_head(
    model: PreTrainedModel, hidden: torch.Tensor, head: Callable[[torch.Tensor], torch.Tensor] | None = None
) -> torch.Tensor:
    """The logits of hidden states (positions, width) as float32 (positions, vocabulary).

    An encoder-decoder's are those of its decoder: T5 scales them before the head, BART and its kin add a bias behind.

    `head` is called in the place of the model's own head, for a caller that stands inside that module's call already.
    """
    hidden = hidden * model.config.d_model**-0.5 if _scales_hidden(model.config) else hidden
    raw = (head or model.get_output_embeddings())(hidden).float()
    bias = getattr(model, "final_logits_bias", None)  # (1, vocabulary)
    raw = raw if bias is None else raw + bias
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return torch.tanh(raw / cap) * cap if cap else raw


def _scales_hidden(config: Any) -> bool:
    """Whether the hidden states are scaled by width^-0.5: T5's first version and UMT5, not T5 v1.1 and mT5."""
    said = getattr(config, "scale_decoder_outputs", None)
    return bool(config.model_type == "umt5" if said is None else said)


def check_head(model: PreTrainedModel, place: str) -> None:
    """Raise ModelError for a model whose logits are not what `logits` gives."""
    config: Any = model.config.get_text_config()
    scaled = [name for name in UNSUPPORTED_LOGIT_SCALES if getattr(config, name, None) not in (None, 1, 1.0)]
    if scaled:
        what = f"{type(model).__name__} scales its logits by {scaled[0]}, which rolesum does not do yet"
        raise ModelError(what, place, "use a model of another family: rolesum models")
