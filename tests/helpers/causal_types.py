"""Tiny random checkpoints of the causal model types of the installed transformers, and what rolesum makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from helpers.tiny import short_dialogues, tokenizer
from rolesum.dialogue import make_bundle
from rolesum.formats import read_dialogues
from rolesum.generation.decoding.decoder_check import choose_decoder
from rolesum.generation.engine import Decoding
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.models.loading import load_model
from rolesum.models.prompt_model import LoadedModel
from rolesum.recipe import Recipe
from rolesum.training.batching import SampleRef
from rolesum.training.collate import collate, to_device
from rolesum.training.encode import EncodedBundle, encode_bundles
from rolesum.training.forward import training_forward
from rolesum.training.prepare_model import prepare_model

TYPES = tuple(sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
ROLES = ("overall", "user", "agent")
MAX_LENGTH = 1024

# By the names that configs have for them: whatever field of these a config has gets this value.
SIZES: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "text_vocab_size"), 600),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "emb_dim", "dim", "embed_dim", "embedding_size"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("intermediate_size", "n_inner", "d_inner", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim"), 48),
    **dict.fromkeys(("moe_intermediate_size", "expert_ffn_hidden_size", "shared_expert_intermediate_size"), 24),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_topk"), 2),
    **dict.fromkeys(
        (
            "max_position_embeddings",
            "n_positions",
            "n_ctx",
            "max_seq_len",
            "seq_length",
            "model_max_length",
            "max_target_positions",
        ),
        MAX_LENGTH,
    ),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "num_shared_experts"), 1),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 16),
    **dict.fromkeys(("head_dim", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads", "index_n_heads"), 2),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "index_head_dim", "index_topk"), 16),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads"), 8),
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 2,
    "swa_head_dim": 8,
    "rel_extent": 64,
    "sliding_window_size": 24,
    "unpadded_vocab_size": 600,
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim"), 8),
    "mamba_d_ssm": 64,
    "mamba_chunk_size": 16,
    "type_vocab_size": 2,
    "sliding_window": 24,
    "use_sliding_window": True,
}
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


@dataclass(frozen=True)
class Outcome:
    """How rolesum runs a model: "shared" or "separate" rows in training, and the name of its decoder."""

    training: str
    decoder: str


class NotBuilt(Exception):
    """A type of which no tiny checkpoint can be made, or whose own forward fails."""


def variants(model_type: str) -> dict[str, dict[str, Any]]:
    """What is tried of a type, by name: whether windows slide, how many experts a token has, and so on."""
    try:
        fields = CONFIG_MAPPING[model_type]().to_dict()
    except Exception:  # it has no defaults
        return {"": {}}
    found: dict[str, dict[str, Any]] = {"": {}}
    if "sliding_window" in fields:
        found["no window"] = {"sliding_window": MAX_LENGTH}
    if "num_experts_per_tok" in fields and SPECIAL.get(model_type, {}).get("num_experts_per_tok") != 1:
        found["one expert"] = {"num_experts_per_tok": 1}
    return found | VARIANTS.get(model_type, {})


def tiny_config(model_type: str, **overrides: Any) -> Any:
    """A config of the type with tiny sizes. Raises NotBuilt where the library makes none."""
    given = {**SPECIAL.get(model_type, {}), **overrides}
    kind = CONFIG_MAPPING[model_type]
    try:
        return kind(**{**IDS, **_fields(kind().to_dict(), given)})
    except Exception as error:
        raise NotBuilt(f"{type(error).__name__}: {error}") from error


def _fields(default: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in default.items():
        if isinstance(value, dict) and "model_type" in value:
            special = {**SPECIAL.get(value["model_type"], {}), **given.get(name, {})}
            fields[name] = {"model_type": value["model_type"], **_fields(value, special)}
        elif name in SIZES and isinstance(value, int | None):
            fields[name] = SIZES[name]
    if "is_decoder" in default:
        fields["is_decoder"] = True
    if default.get("is_encoder_decoder"):
        fields["is_encoder_decoder"] = False
    return {
        **fields,
        **{name: value for name, value in given.items() if not (name in fields and isinstance(value, dict))},
    }


def write_checkpoint(config: Any, path: Path) -> None:
    """A saved checkpoint of random float32 weights, spread widely so that greedy texts vary. Raises NotBuilt."""
    torch.manual_seed(0)
    try:
        for one in {id(each): each for each in (config, config.get_text_config())}.values():
            one.initializer_range = 0.2
        model = AutoModelForCausalLM.from_config(config).float().eval()
        size = sum(parameter.numel() for parameter in model.parameters())
        if size > 20_000_000:
            raise NotBuilt(f"{size:,} parameters")
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1 and float(parameter.std()) < 0.05:  # initialized in a way of its own
                    torch.nn.init.normal_(parameter, std=0.2)
            logits = model(input_ids=torch.arange(40)[None] + 10, use_cache=False).logits
        if logits.shape[:2] != (1, 40) or not bool(torch.isfinite(logits).all()):
            raise NotBuilt(f"its own forward gives logits {tuple(logits.shape)}")
        model.save_pretrained(path)
    except NotBuilt:
        raise
    except Exception as error:
        raise NotBuilt(f"{type(error).__name__}: {error}".splitlines()[0]) from error
    tokenizer().save_pretrained(path)


def examine(path: Path) -> Outcome:
    """Train and summarize with a checkpoint as users do, and compare with the model's own code.

    Raises ModelError (or UsageError) where rolesum refuses the model, and AssertionError where it is wrong.
    """
    loaded = load_model(path, device="cpu", dtype="float32")
    decoder = choose_decoder(loaded).func.__name__  # type: ignore[attr-defined]  # a partial
    dialogues = list(read_dialogues(short_dialogues(count=3, turns=6)))
    _assert_texts_equal(loaded, dialogues)
    trained = load_model(path, device="cpu", dtype="float32")
    bundles = [bundle for one in dialogues if (bundle := make_bundle(one, ROLES))]
    _assert_gradients_equal(trained, bundles)
    return Outcome("shared" if loaded.shares_prefix else "separate", decoder.removesuffix("Decoder"))


def _assert_texts_equal(loaded: LoadedModel, dialogues: Sequence[Any], new_tokens: int = 10) -> None:
    """Compare nine summaries, three of each dialogue, with the argmax of the model's own forward without a cache.

    One forward over a prompt and its text gives the argmax behind each token: all are equal only if the text is greedy.
    """
    engine, model = TransformersEngine(loaded), loaded.language_model
    decoding = Decoding(max_new_tokens=new_tokens, min_new_tokens=new_tokens)
    requests = [
        engine.make_request(index, engine.layout.prompt(one, ROLES), decoding) for index, one in enumerate(dialogues)
    ]
    seen = 0
    for completion in engine.new_scheduler().run(requests):
        index, branch = completion.hypothesis.key
        prompt, found = requests[index].prompt, list(completion.hypothesis.ids)
        ids = [*prompt.prefix, *prompt.branches[branch], *found[:-1]]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -new_tokens:]
        logits[:, list(loaded.stop_ids)] = float("-inf")
        assert found == logits.argmax(-1).tolist(), f"text {branch} of dialogue {index} is not greedy"
        seen += 1
    assert seen == len(ROLES) * len(dialogues)


def _assert_gradients_equal(loaded: LoadedModel, bundles: Sequence[Any]) -> None:
    """Compare loss and LoRA gradients of a batch with those of its examples, one at a time, by the model's own code."""
    recipe = Recipe.model_validate(
        {"name": "x", "base": "x", "data": {"train": {"path": "x"}}, "roles": ROLES, "lora": {"dropout": 0.0}}
    )
    data = encode_bundles(
        bundles, loaded.layout(), loaded.encoder, max_length=MAX_LENGTH, share_prefix=loaded.shares_prefix
    )
    batch = to_device(collate([(SampleRef(0, 0, 7), one) for one in data.bundles], pad_id=0), loaded.device)
    model = prepare_model(loaded.language_model, loaded.family, recipe)
    model.eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)
    with training_forward(model, loaded.family, 0.0, loaded.device):
        loss = model(**batch)
        loss.backward()
    found = _gradients(model)
    expected_loss = sum((_example_losses(model, one) for one in data.bundles), start=torch.zeros(()))
    expected_loss.backward()
    expected = _gradients(model)
    assert found.keys() == expected.keys()
    assert abs(float(loss) - float(expected_loss)) <= 1e-5 * abs(float(expected_loss)), "the loss differs"
    joined = [torch.cat([one[name].flatten().double() for name in sorted(expected)]) for one in (found, expected)]
    error = float((joined[0] - joined[1]).norm() / joined[1].norm())
    assert error <= 1e-5, f"gradients differ by {error:.1e}"
    model.train()
    with training_forward(model, loaded.family, 5.0, loaded.device):
        noisy = model(**batch)
        noisy.backward()
    assert bool(torch.isfinite(noisy)) and float(noisy) != float(loss)


def _gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    found = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def _example_losses(model: Any, bundle: EncodedBundle) -> torch.Tensor:
    """The summed cross-entropy of a bundle's examples by plain forwards."""
    total = torch.zeros(())
    for branch in bundle.branches:
        ids = torch.tensor([*bundle.prefix, *branch.ids])
        logits = model(input_ids=ids[None], use_cache=False).logits[0, -branch.targets - 1 : -1].float()
        total = total + functional.cross_entropy(logits, ids[-branch.targets :], reduction="sum")
    return total


# What a type needs beside SIZES, by model type, also of configs inside others.
_SLIDING, _FULL, _LINEAR = "sliding_attention", "full_attention", "linear_attention"
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "falcon": {"ALiBi": {"alibi": True}, "new decoder": {"new_decoder_architecture": True}},
    "gemma3n_text": {"no shared keys": {"num_kv_shared_layers": 0}},
    "gemma4_text": {
        "no input per layer": {"hidden_size_per_layer_input": 0},
        "other key heads": {"num_global_key_value_heads": 1},
        "shared keys": {"num_hidden_layers": 4, "layer_types": [_SLIDING, _FULL] * 2, "num_kv_shared_layers": 2},
    },
    "gpt_bigcode": {"a key head for each": {"multi_query": False}},
    "gpt_neo": {"default window": {"window_size": 256}},
    "nemotron_h": {},
    "phimoe": {
        "long rotary": {
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10_000.0,
                "short_factor": [1.0, 1.2, 1.4, 1.6],
                "long_factor": [2.0, 3.0, 4.0, 5.0],
                "short_mscale": 1.2,
                "long_mscale": 1.4,
                "original_max_position_embeddings": 600,
            }
        }
    },
}
_UNGROUPED = {"num_key_value_heads": 4}  # of multi-head latent attention
SPECIAL: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots3_note_text"), _UNGROUPED),
    **dict.fromkeys(("glm4_moe_lite", "glm_moe_dsa", "longcat_flash", "minicpm3", "youtu"), _UNGROUPED),
    **{key: {"rotary_dim": 4} for key in ("codegen", "gptj")},
    **dict.fromkeys(("emu3_text_model", "mllama_text_model"), IDS),
    **{
        key: {"layer_types": [_LINEAR, _FULL]}
        for key in ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "olmo_hybrid")
    },
    "bailing_hybrid": {**_UNGROUPED, "num_local_experts": 8, "n_group": 2, "topk_group": 1, "layer_group_size": 2},
    "bamba": {"attn_layer_indices": [1]},
    "blt": {"encoder_hash_byte_group_vocab": 600},
    "cohere_compass_text": {
        "layer_types": [_SLIDING, _FULL],
        "rope_parameters": {key: {"rope_type": "default", "rope_theta": 10000.0} for key in (_SLIDING, _FULL)},
    },
    "gemma3n_text": {
        "intermediate_size": [48, 48, 48],
        "num_hidden_layers": 3,
        "layer_types": [_SLIDING, _FULL, _FULL],
        "num_kv_shared_layers": 1,
        "vocab_size_per_layer_input": 600,
        "hidden_size_per_layer_input": 8,
    },
    "gemma4_text": {"vocab_size_per_layer_input": 600, "hidden_size_per_layer_input": 8, "global_head_dim": 16},
    "gemma4_unified_text": {"global_head_dim": 16},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 64},
    "kimi_linear": {**_UNGROUPED, "linear_num_heads": 2, "linear_head_dim": 16, "layer_types": [_LINEAR, _FULL]},
    "lfm2": {"layer_types": ["conv", _FULL]},
    "lfm2_moe": {"layer_types": ["conv", _FULL]},
    "lfm3": {"layer_types": ["conv", _FULL]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "mamba2": {"num_heads": 8, "head_dim": 8, "expand": 2},
    "qwen4_exp_text": {
        "layer_types": [_LINEAR, _FULL],
        "ngram_vocab_size_base": 600,
        "make_ngram_vocab_size_divisible_by": 8,
        "hc_lowrank": 8,
        "split_ngram_parts": 1,
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 16,
        "indexer_compress_ratio": 2,
    },
    "reformer": {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [32, 32], "attention_head_size": 8},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 5, "layers_block_type": ["mamba", "hybrid", "mamba", "mamba", "hybrid"]},
    "zamba2": {"num_hidden_layers": 3, "layers_block_type": ["mamba", "hybrid", "mamba"]},
    "zaya": {"num_experts_per_tok": 1},
}
