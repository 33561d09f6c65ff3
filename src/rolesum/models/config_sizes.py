"""A model's sizes from its config, by each family's names, also where layers differ from each other (Gemma 4)."""

from typing import Any


def layer_configs(config: Any) -> list[Any]:
    """The config of each layer: the same one for all, or one each where a model's layers differ."""
    if getattr(config, "is_heterogeneous", False):
        return list(config.per_layer_config)
    return [config] * int(config.num_hidden_layers)


def query_width(layer: Any) -> int:
    """The numbers of a token's query of one layer, of all heads together."""
    return _heads(layer) * _head_width(layer)


def key_width(layer: Any) -> int:
    """The numbers of a token's key of one layer, of all key heads together."""
    return (getattr(layer, "num_key_value_heads", None) or _heads(layer)) * _head_width(layer)


def mlp_width(layer: Any) -> int:
    """The width between the two products of a layer's MLP."""
    named = (getattr(layer, name, None) for name in ("intermediate_size", "encoder_ffn_dim", "d_ff"))
    return next((int(width) for width in named if isinstance(width, int) and width), 4 * int(layer.hidden_size))


def kv_cache_numbers_per_token(config: Any) -> int:
    """Keys and values of one token in all layers; sliding windows not taken off."""
    return sum(2 * key_width(layer) for layer in layer_configs(config))


def _heads(layer: Any) -> int:
    return getattr(layer, "num_attention_heads", None) or 16


def _head_width(layer: Any) -> int:
    return getattr(layer, "head_dim", None) or int(layer.hidden_size) // _heads(layer)
