"""Adapters of others: each of PEFT's options is read and merged exactly, or refused with a reason."""

import copy

import pytest
import torch
from peft import AdaLoraConfig, IA3Config, LoHaConfig, LoKrConfig, LoraConfig, PromptTuningConfig, get_peft_model

from helpers.tiny import model_dir
from rolesum.errors import ModelError
from rolesum.models.adapter_metadata import beyond_plain_lora
from rolesum.models.export.exporter import export, write_model
from rolesum.models.loading import load_model

TARGETS = ["q_proj", "v_proj", "up_proj"]
CAUSAL = {"task_type": "CAUSAL_LM"}


def lora(**options):
    return LoraConfig(
        **{"r": 4, "lora_alpha": 8, "target_modules": TARGETS, "init_lora_weights": False, **CAUSAL, **options}
    )


MERGED = {
    "plain": lora(),
    "dora": lora(use_dora=True),
    "rslora": lora(use_rslora=True),
    "patterns": lora(rank_pattern={"q_proj": 2}, alpha_pattern={"v_proj": 3}),
    "saved head": lora(modules_to_save=["lm_head"]),
    "saved embeddings": lora(modules_to_save=["embed_tokens"]),
    "saved norm": lora(modules_to_save=["norm"]),
    "tokens": lora(trainable_token_indices=[5, 6, 7]),
    "parameters": lora(target_parameters=["mlp.down_proj.weight"]),
    "embeddings": lora(target_modules=["embed_tokens", "q_proj"]),
    "head": lora(target_modules=["lm_head", "q_proj"]),
    "all biases": lora(bias="all"),
    "its biases": lora(bias="lora_only"),
    "fan in": lora(fan_in_fan_out=True),
    "layers": lora(layers_to_transform=[0, 1]),
    "excluded": lora(exclude_modules=["up_proj"]),
    "pissa": lora(init_lora_weights="pissa"),
    "ia3": IA3Config(
        target_modules=["v_proj", "down_proj"], feedforward_modules=["down_proj"], init_ia3_weights=False, **CAUSAL
    ),
    "adalora": AdaLoraConfig(target_modules=TARGETS, total_step=10, init_lora_weights=False, **CAUSAL),
    "loha": LoHaConfig(target_modules=TARGETS, init_weights=False, **CAUSAL),
    "lokr": LoKrConfig(target_modules=TARGETS, init_weights=False, **CAUSAL),
}
READ_ONLY = {  # with what must be said of merging
    "lora_bias": (lora(lora_bias=True), "lora_bias adds a bias to 9 layers of which the base has none"),
    "replication": (lora(layer_replication=[[0, 2], [1, 3]]), "layer_replication gives several layers the same"),
}


def logits(model):
    with torch.no_grad():
        return model(torch.arange(3, 40)[None]).logits


def loaded(base, adapter=None, dtype="float32"):
    return load_model(model_dir(base) if isinstance(base, str) else base, adapter=adapter, dtype=dtype, device="cpu")


def written(folder, config, base="llama"):
    """An adapter as PEFT writes it, with random weights, and the logits of PEFT's own model."""
    torch.manual_seed(0)
    model = get_peft_model(loaded(base).model, copy.deepcopy(config))  # PEFT changes it
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(str(folder), save_embedding_layers=False)
    return logits(model.eval())


def assert_same(found, expected):
    assert (found - expected).abs().max() < 3e-5 * expected.abs().max()


@pytest.mark.parametrize("base", ["llama", "qwen2"])  # qwen2's q, k and v have biases
@pytest.mark.parametrize("name", MERGED)
def test_an_adapter_is_read_and_merged_with_the_logits_that_peft_gives(tmp_path, name, base):
    expected = written(tmp_path / "adapter", MERGED[name], base)
    assert (expected - logits(loaded(base).model)).abs().max() > 0.1
    model = loaded(base, tmp_path / "adapter")
    assert_same(logits(model.model), expected)
    write_model(model, "merged", tmp_path / "merged")
    assert_same(logits(loaded(tmp_path / "merged").model), expected)


@pytest.mark.parametrize("name", READ_ONLY)
def test_what_no_weights_of_the_base_can_hold_is_read_and_not_merged(tmp_path, name):
    config, why = READ_ONLY[name]
    expected = written(tmp_path / "adapter", config)
    assert_same(logits(loaded("llama", tmp_path / "adapter").model), expected)
    for kind in ("merged", "llama"):
        with pytest.raises(ModelError, match=f"cannot be merged: {why}.*\n  → use --to adapter"):
            export(str(tmp_path / "adapter"), kind, tmp_path / "out", model=str(model_dir("llama")))
    assert not (tmp_path / "out").exists()


def test_a_bias_of_lora_is_merged_where_the_base_has_biases(tmp_path):
    config = lora(lora_bias=True, target_modules=["q_proj", "v_proj"])
    expected = written(tmp_path / "adapter", config, "qwen2")
    write_model(loaded("qwen2", tmp_path / "adapter"), "merged", tmp_path / "merged")
    assert_same(logits(loaded(tmp_path / "merged").model), expected)


@pytest.mark.parametrize(
    "options",
    [{"modules_to_save": ["lm_head"]}, {"modules_to_save": ["embed_tokens"]}, {"trainable_token_indices": [5]}],
)
def test_an_adapter_that_unties_head_and_embeddings_is_merged_into_two_matrices(tmp_path, options):
    expected = written(tmp_path / "adapter", lora(**options), "tied-llama")
    assert_same(logits(loaded("tied-llama", tmp_path / "adapter").model), expected)
    write_model(loaded("tied-llama", tmp_path / "adapter"), "merged", tmp_path / "merged")
    assert_same(logits(loaded(tmp_path / "merged").model), expected)


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_lora_on_a_matrix_that_head_and_embeddings_share_is_not_merged(tmp_path, target):
    expected = written(tmp_path / "adapter", lora(target_modules=[target, "q_proj"]), "tied-llama")
    assert_same(logits(loaded("tied-llama", tmp_path / "adapter").model), expected)
    with pytest.raises(ModelError, match="this base has one matrix for head and embeddings"):
        write_model(loaded("tied-llama", tmp_path / "adapter"), "merged", tmp_path / "merged")


def test_other_kinds_are_merged_in_float32_only(tmp_path):
    written(tmp_path / "adapter", MERGED["ia3"])
    with pytest.raises(ModelError, match="IA3 is checked in float32 only"):
        write_model(loaded("llama", tmp_path / "adapter", "bfloat16"), "merged", tmp_path / "merged")


@pytest.mark.parametrize(
    "config", [PromptTuningConfig(num_virtual_tokens=4, **CAUSAL), lora(alora_invocation_tokens=[5, 6])]
)
def test_prompts_and_invocation_tokens_are_refused(tmp_path, config):
    written(tmp_path / "adapter", config)
    with pytest.raises(ModelError, match="prompts or invocation tokens"):
        loaded("llama", tmp_path / "adapter")


def test_tools_that_read_a_and_b_only_get_plain_lora_only():
    plain = {"plain", "rslora"}
    for name, config in {**MERGED, **{name: config for name, (config, _) in READ_ONLY.items()}}.items():
        assert bool(beyond_plain_lora(config.to_dict())) == (name not in plain), name
    assert beyond_plain_lora({"peft_type": "LORA", "option_of_a_later_peft": 3}) == ["option_of_a_later_peft: 3"]
