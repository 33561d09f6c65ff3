"""The hidden states behind one layer of a causal model, without the layers after it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from rolesum.models.lm_head import backbone


class _LayerReached(Exception):  # no error: it ends the pass
    """The layer has been computed, and what follows it is not needed."""


def num_layers(model: PreTrainedModel) -> int:
    """How many layers can be read; 0 where the model keeps them in a way that is not known here."""
    return len(_layers(model))


def _layers(model: PreTrainedModel) -> Any:
    return getattr(backbone(model), "layers", ())


@contextmanager
def stop_behind_layer(model: PreTrainedModel, layer: int) -> Iterator[list[torch.Tensor]]:
    """End a pass through the model behind one of its layers, counted from 0.

    Yields a list, to which the hidden states (batch, length, hidden) are added that this layer gives. Raises IndexError
    where the model has no such layer.

    Example:
        >>> with stop_behind_layer(model, 18) as found:
        ...     backbone(model)(input_ids=ids, use_cache=False)
        >>> found[0].shape
        torch.Size([1, 500, 1536])
    """
    found: list[torch.Tensor] = []

    def stop(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)
        raise _LayerReached

    hook = _layers(model)[layer].register_forward_hook(stop)
    try:
        yield found
    except _LayerReached:
        pass
    finally:
        hook.remove()


def read_hidden_states(model: PreTrainedModel, ids: Sequence[int], layer: int) -> torch.Tensor:
    """The hidden states (tokens, hidden) behind a layer, of one text alone."""
    tokens = torch.tensor([list(ids)], device=model.device)
    with torch.inference_mode(), stop_behind_layer(model, layer) as found:
        backbone(model)(input_ids=tokens, use_cache=False)
    return found[0][0]
