"""ChatGLM2 and ChatGLM3 checkpoints as they were published, on the GLM architecture.

The tensors are renamed, and the one matrix of queries, keys and values is cut, as they are loaded; no file is
rewritten and no code of the authors runs.
"""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GlmConfig, GlmForCausalLM
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import Split, WeightConverter, WeightRenaming

from rolesum.errors import ModelError, Problem

# The original's name of a setting -> GLM's.
SETTINGS = {
    "num_layers": "num_hidden_layers",
    "padded_vocab_size": "vocab_size",
    "ffn_hidden_size": "intermediate_size",
    "kv_channels": "head_dim",
    "layernorm_epsilon": "rms_norm_eps",
    "seq_length": "max_position_embeddings",
    "add_qkv_bias": "attention_bias",
}
# Settings that are the same in both.
SHARED = ("hidden_size", "num_attention_heads", "attention_dropout", "tie_word_embeddings", "use_cache")
# What GLM's architecture has not: the setting, and the value that it must have.
REFUSED = {
    "add_bias_linear": False,
    "rmsnorm": True,
    "apply_residual_connection_post_layernorm": False,
    "post_layer_norm": True,
    "quantization_bit": 0,
    "pre_seq_len": None,
}
ROPE_THETA = 10_000.0

# What the authors' tokenizer code adds to the pieces of tokenizer.model. "sop" and "eop" get brackets: as bare surfaces
# they would split the word "people".
CONTROL_TOKENS = {
    64789: "[MASK]",
    64790: "[gMASK]",
    64791: "[sMASK]",
    64792: "<sop>",
    64793: "<eop>",
    64794: "<|system|>",
    64795: "<|user|>",
    64796: "<|assistant|>",
    64797: "<|observation|>",
}

WEIGHT_NAMES = {
    "transformer.embedding.word_embeddings": "model.embed_tokens",
    "transformer.encoder.layers": "model.layers",
    "transformer.encoder.final_layernorm": "model.norm",
    "transformer.output_layer": "lm_head",
    "self_attention.dense.": "self_attn.o_proj.",
    "mlp.dense_h_to_4h": "mlp.gate_up_proj",
    "mlp.dense_4h_to_h": "mlp.down_proj",
}


class ChatGLMConfig(GlmConfig):  # type: ignore[no-untyped-call]  # not annotated
    """The config.json of the original, as a GLM's."""

    model_type = "chatglm"

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> "ChatGLMConfig":
        """From the raw config.json. Raises ModelError for settings that GLM's architecture has not."""
        return super().from_dict(glm_settings(config_dict), **kwargs)


def glm_settings(raw: dict[str, Any]) -> dict[str, Any]:
    """GLM's settings from a raw config.json of ChatGLM's."""
    if "num_layers" not in raw:  # a GLM's already
        return raw
    odd = [name for name, value in REFUSED.items() if raw.get(name) not in (None, value)]
    if odd:
        fix = "take the checkpoint as its authors published it, in float16"
        raise ModelError([Problem(f"{name}: {raw[name]} is not read", "config.json", fix) for name in odd])
    lost = [name for name in (*SETTINGS, "hidden_size", "num_attention_heads") if name not in raw]
    if lost:
        raise ModelError(f"{', '.join(lost)} missing: not ChatGLM2 or 3", "config.json", "fetch the model again")
    ratio = raw.get("rope_ratio", 1)
    if not isinstance(ratio, int | float) or isinstance(ratio, bool) or ratio <= 0:
        raise ModelError(f"rope_ratio: {ratio!r} is no positive number", "config.json", "fetch the model again")
    heads = raw["num_attention_heads"]
    return {
        **{ours: raw[theirs] for theirs, ours in SETTINGS.items()},
        **{name: raw[name] for name in SHARED if name in raw},
        "num_key_value_heads": raw.get("multi_query_group_num", heads) if raw.get("multi_query_attention") else heads,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": ROPE_THETA * ratio,
            "partial_rotary_factor": 0.5,
        },
        "pad_token_id": 0,
        "eos_token_id": 2,
        "torch_dtype": raw.get("torch_dtype", "float16"),
    }


class ChatGLMForCausalLM(GlmForCausalLM):  # type: ignore[no-untyped-call]  # not annotated
    """The causal model."""

    config: ChatGLMConfig
    _keys_to_ignore_on_load_unexpected = [r"rotary_pos_emb\.inv_freq"]  # noqa: RUF012 - declared by transformers


class SplitByTargetShape(Split):
    """Split by the sizes of the target parameters. The last piece is the rest, so a wrong size is reported by name."""

    @torch.no_grad()
    def convert(  # type: ignore[override]  # transformers' decorator hides the signature of Split.convert
        self, input_dict: dict[str, Any], source_patterns: list[str], target_patterns: list[str], **kwargs: Any
    ) -> dict[str, Any]:
        fused, model, first = next(iter(input_dict.values())), kwargs["model"], kwargs["full_layer_name"]
        fused = fused[0] if isinstance(fused, list) else fused
        names = [first.replace(target_patterns[0], target) for target in target_patterns]
        ends = torch.tensor([len(model.get_parameter(name)) for name in names]).cumsum(0)[:-1]
        pieces = torch.tensor_split(fused, ends)
        return {target: piece.contiguous() for target, piece in zip(target_patterns, pieces, strict=True)}


def register() -> None:
    """Make transformers' Auto classes read these checkpoints."""
    AutoConfig.register("chatglm", ChatGLMConfig, exist_ok=True)
    AutoModelForCausalLM.register(ChatGLMConfig, ChatGLMForCausalLM, exist_ok=True)
    fused = "self_attention.query_key_value"
    mapping: list[WeightConverter | WeightRenaming] = [
        *(WeightRenaming(theirs, ours) for theirs, ours in WEIGHT_NAMES.items()),
        *(
            WeightConverter(
                f"{fused}.{kind}", [f"self_attn.{name}_proj.{kind}" for name in "qkv"], [SplitByTargetShape(dim=0)]
            )
            for kind in ("weight", "bias")
        ),
    ]
    register_checkpoint_conversion_mapping("ChatGLMForCausalLM", mapping, overwrite=True)
