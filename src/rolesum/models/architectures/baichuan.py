"""Baichuan and Baichuan2 checkpoints as they were published, on the Llama architecture.

The 7B is Llama with q, k and v in one matrix and a head whose rows are normalized (NormHead). The 13B has ALiBi
(arXiv 2108.12409) instead of rotary positions. Both are read without the authors' code and without rewriting a
file: the matrices are cut, and the head normalized, as they are loaded.
"""

from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
)
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import Chunk, ConversionOps, WeightConverter, WeightRenaming

from rolesum.errors import ModelError
from rolesum.models.attention.masks import make_attention_mask

# The first generation has this vocabulary and a plain head.
FIRST_GENERATION_VOCABULARY = 64_000

# The published widths: the 7B's and the 13B's.
_POSITIONS_OF = {4096: "rotary", 5120: "alibi"}
_PIECE = 8192  # rows of the head that are normalized at a time


class BaichuanConfig(LlamaConfig):  # type: ignore[no-untyped-call]  # not annotated
    """The config.json of the original, as a Llama's. `alibi` and `norm_head` are read off what it holds."""

    model_type = "baichuan"

    alibi: bool = False
    norm_head: bool = True

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> "BaichuanConfig":
        """From the raw config.json. Only the 13B leaves `max_position_embeddings` out."""
        raw = {name: value for name, value in config_dict.items() if name not in ("auto_map", "_from_model_config")}
        if raw.get("quantization_config"):
            fix = "take the checkpoint in bfloat16, and quantize: 4bit in the recipe"
            raise ModelError("this Baichuan checkpoint is quantized by its authors' code", "config.json", fix)
        _check(raw)
        raw.setdefault("alibi", "max_position_embeddings" not in raw)
        raw.setdefault("norm_head", raw.get("vocab_size") != FIRST_GENERATION_VOCABULARY)
        raw.setdefault("max_position_embeddings", raw.get("model_max_length", 4096))
        raw["rope_parameters"] = {"rope_type": "default", "rope_theta": 10_000.0}
        return super().from_dict(raw, **kwargs)


def _check(raw: dict[str, Any]) -> None:
    """Raise ModelError for a config whose sizes would be guessed, or that has lost what tells the 7B from the 13B."""
    fix = "fetch the model again"
    sizes = ("hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size", "vocab_size")
    wrong = [name for name in sizes if not isinstance(raw.get(name), int) or raw[name] < 1]
    lengths = [raw[name] for name in ("max_position_embeddings", "model_max_length") if name in raw]
    if wrong or not all(isinstance(length, int) and length > 0 for length in lengths):
        what = f"{', '.join(wrong) or 'the length'} missing or no positive number: not a Baichuan's"
        raise ModelError(what, "config.json", fix)
    published = _POSITIONS_OF.get(raw["hidden_size"])
    if published and "alibi" not in raw and published != ("rotary" if "max_position_embeddings" in raw else "alibi"):
        what = f"a Baichuan of this width has {published} positions, and max_position_embeddings says otherwise"
        raise ModelError(what, "config.json", fix)


class IdentityRotaryEmbedding(nn.Module):
    """Rotary factors that turn nothing: the rotation by the angle 0, for a model with other positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, hidden: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        ones = hidden.new_ones(*position_ids.shape, self.width)
        return ones, torch.zeros_like(ones)


class BaichuanModel(LlamaModel):  # type: ignore[no-untyped-call]  # not annotated
    """Llama's body, with ALiBi where the config says so."""

    config: BaichuanConfig

    def __init__(self, config: BaichuanConfig) -> None:
        super().__init__(config)
        if config.alibi:
            width = config.head_dim or config.hidden_size // config.num_attention_heads
            self.rotary_emb = IdentityRotaryEmbedding(width)  # type: ignore[assignment]  # called like Llama's

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """As LlamaModel's. A ready 4D mask must hold the ALiBi bias (see attention.masks.make_attention_mask).

        Raises ValueError for a mask of yes and no, which cannot hold it.
        """
        if attention_mask is not None and attention_mask.dim() == 4:
            if self.config.alibi and attention_mask.dtype is torch.bool:
                raise ValueError("a ready mask of a model with ALiBi must hold its bias: float, not bool")
        elif self.config.alibi:
            if inputs_embeds is None:
                inputs_embeds, input_ids = self.embed_tokens(input_ids), None
            past = past_key_values.get_seq_length() if past_key_values is not None else 0
            attention_mask = self._left_to_right(inputs_embeds, attention_mask, past)
        return super().forward(input_ids, attention_mask, position_ids, past_key_values, inputs_embeds, **kwargs)

    def _left_to_right(self, embedded: torch.Tensor, valid: torch.Tensor | None, past: int) -> Any:
        """The mask of plain texts behind `past` cached tokens; `valid` (rows, keys) is 0 on padding."""
        new = embedded.shape[1]
        keys = torch.arange(past + new, device=embedded.device)[None]
        queries = keys[:, past:]
        visible = keys[:, None, None, :] <= queries[:, None, :, None]  # of one row for all, where nothing is padding
        if valid is not None:
            # A query on padding sees itself, so that its softmax is defined; the result is never used.
            itself = keys[:, None, None, :] == queries[:, None, :, None]
            visible = visible & (valid.bool()[:, None, None, :] | itself)
        return make_attention_mask(self.config, visible, queries, keys, embedded.dtype)


class BaichuanForCausalLM(LlamaForCausalLM):  # type: ignore[no-untyped-call]  # not annotated
    """The causal model. Where the config says so, the rows of its head have the length 1 and must stay so."""

    config: BaichuanConfig

    def __init__(self, config: BaichuanConfig) -> None:
        super().__init__(config)
        if config.alibi:
            self.model = BaichuanModel(config)
            self.post_init()  # type: ignore[no-untyped-call]  # not annotated


class NormalizeRows(ConversionOps):
    """NormHead: each row of the stored head divided by its length, in float32.

    Dividing again changes nothing but rounding, so that saving needs no reverse.
    """

    @torch.no_grad()
    def convert(
        self, input_dict: dict[str, Any], source_patterns: list[str], target_patterns: list[str], **kwargs: Any
    ) -> dict[str, Any]:
        config: BaichuanConfig = kwargs["config"]
        if not config.norm_head:
            return input_dict
        return {name: _normalized(one[0] if isinstance(one, list) else one) for name, one in input_dict.items()}

    @property
    def reverse_op(self) -> ConversionOps:
        return NormalizeRows()


def _normalized(rows: torch.Tensor) -> torch.Tensor:
    """The rows divided by their lengths, a piece at a time: float32 copies of a whole head are gigabytes."""
    out = torch.empty_like(rows)
    for start in range(0, len(rows), _PIECE):
        piece = rows[start : start + _PIECE]
        out[start : start + _PIECE] = nn.functional.normalize(piece.float(), dim=-1).to(rows.dtype)
    return out


def register() -> None:
    """Make transformers' Auto classes read these checkpoints."""
    AutoConfig.register("baichuan", BaichuanConfig, exist_ok=True)
    AutoModelForCausalLM.register(BaichuanConfig, BaichuanForCausalLM, exist_ok=True)
    projections = [f"self_attn.{name}_proj.weight" for name in "qkv"]
    mapping: list[WeightConverter | WeightRenaming] = [
        WeightConverter("self_attn.W_pack.weight", projections, [Chunk(dim=0)]),
        WeightConverter("lm_head.weight", "lm_head.weight", [NormalizeRows()]),
    ]
    register_checkpoint_conversion_mapping("BaichuanForCausalLM", mapping, overwrite=True)
