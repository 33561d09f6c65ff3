"""Merge an adapter into the weights of its base, exactly or not at all."""

from typing import cast

import torch
from peft import PeftModel
from peft.tuners import lora
from transformers import PreTrainedModel

from rolesum.counts import counted
from rolesum.errors import ModelError, error_summary

_WATCHED = 8  # layers whose merged weights are compared with the formula
_FIX = "use --to adapter: PEFT and rolesum read it as it is"


def merge(model: PeftModel) -> PreTrainedModel:
    """Add the adapter to the weights. Raises ModelError for one that no weights of the base can hold.

    Also where layers did not get s B A, as far as their dtype holds it: in 16 bits the logits cannot tell, since an
    adapter that is not there moves them little more than rounding does.
    """
    if problem := _unmergeable(model):
        raise ModelError(f"the adapter cannot be merged: {problem}", fix=_FIX)
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, lora.Linear)]
    expected = {
        name: _expected(layer)
        for name, layer in layers[:: max(1, len(layers) // _WATCHED)]
        if not any(layer.use_dora.values())
    }
    try:
        merged: PreTrainedModel = model.merge_and_unload(safe_merge=True)
    except (RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise ModelError(f"the adapter cannot be merged: {error_summary(error)}", fix=_FIX) from None
    for name, (weight, added) in expected.items():
        found = merged.get_parameter(f"{name.removeprefix('base_model.model.')}.weight")
        rounding = torch.finfo(found.dtype).eps * (weight.abs() + added.abs())
        if ((found.float() - weight - added).abs() > rounding + 1e-6).any():
            raise ModelError(f"the adapter was not merged into {name}", fix="please report this")
    _check_tied(merged)
    return merged


def _unmergeable(model: PeftModel) -> str | None:
    """Why the weights of the base cannot hold what this adapter computes; None where they can."""
    config = model.peft_config[model.active_adapter]
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if getattr(config, "layer_replication", None):
        return "layer_replication gives several layers the same weights, and each would be added to them"
    without_bias = [
        name.removeprefix("base_model.model.")
        for name, layer in model.named_modules()
        if isinstance(layer, lora.LoraLayer)
        and any(layer.lora_bias.values())
        and getattr(layer.get_base_layer(), "bias", None) is None
    ]
    if without_bias:
        layers = counted(len(without_bias), "layer")
        return f"lora_bias adds a bias to {layers} of which the base has none, such as {without_bias[0]}"
    if tied := _tied_layers(model):
        return f"it adds to the {' and the '.join(tied)}, and this base has one matrix for head and embeddings"
    dtype = next(model.parameters()).dtype
    if kind != "LORA" and dtype != torch.float32:
        return f"one of the kind {kind} is checked in float32 only; or add --dtype float32"
    return None


def _tied_layers(model: PeftModel) -> list[str]:
    """Which of the embeddings and the head have a LoRA layer where they share one matrix, to which it would be added.

    What modules_to_save replaces is not shared any more: PEFT unties it.
    """
    base = cast(PreTrainedModel, model.get_base_model())
    if not getattr(base.config.get_text_config(), "tie_word_embeddings", False):
        return []
    both = {"embeddings": base.get_input_embeddings(), "head": _head(base)}
    return [name for name, layer in both.items() if isinstance(layer, lora.LoraLayer)]


def _head(model: PreTrainedModel) -> torch.nn.Module | None:
    found: torch.nn.Module | None = model.get_output_embeddings()  # type: ignore[no-untyped-call]  # not annotated
    return found


def _check_tied(merged: PreTrainedModel) -> None:
    """Raise ModelError where the adapter untied the head from the embeddings: a reader would tie them again."""
    if not getattr(merged.config.get_text_config(), "tie_word_embeddings", False) or merged.config.is_encoder_decoder:
        return
    head, embeddings = _head(merged), merged.get_input_embeddings()
    if head is not None and not torch.equal(cast(torch.Tensor, head.weight), cast(torch.Tensor, embeddings.weight)):
        what = "the adapter cannot be merged: it gives the head and the embeddings weights of their own, and this base "
        raise ModelError(f"{what}has one matrix for both (tie_word_embeddings)", fix=_FIX)


def _expected(layer: lora.Linear) -> tuple[torch.Tensor, torch.Tensor]:
    """A layer's weight and what its adapters add to it, float32, by LoRA's formula."""
    weight = cast(torch.Tensor, layer.get_base_layer().weight).detach().float().clone()
    added = torch.zeros_like(weight)
    for name in layer.active_adapters:
        b, a = (cast(torch.Tensor, part[name].weight).detach().float() for part in (layer.lora_B, layer.lora_A))
        added += layer.scaling[name] * (b @ a)
    return weight, added
