"""An adapter that is loaded for generation without PEFT computes what PEFT computes."""

import json
import subprocess
import sys

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from helpers.gguf_files import write_qwen_gguf
from helpers.tiny import model_dir
from rolesum.errors import ModelError
from rolesum.generation.decoding.linear import prepare_for_generation
from rolesum.models.int4_weights import read_int4_weights
from rolesum.models.loading import load_model

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ROLESUM_CACHE", str(tmp_path / "cache"))


def adapter(folder, base, **options):
    """A random adapter on a base, saved by PEFT with the metadata that rolesum needs."""
    torch.manual_seed(2)
    options = {"r": 4, "lora_alpha": 12, "target_modules": ALL, "init_lora_weights": False} | options
    model = get_peft_model(load_model(base, device="cpu", dtype="float32").model, LoraConfig(**options))
    model.save_pretrained(str(folder), save_embedding_layers=False)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["init_lora_weights"] = True  # what training writes
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "rolesum.json").write_text(json.dumps({"base": str(base)}))
    return folder


def logits(loaded, tokens):
    with torch.inference_mode():
        return loaded.model(input_ids=torch.arange(5, 5 + tokens)[None]).logits


def both(base, folder, dtype="float32"):
    """The model as PEFT loads it, and as it is prepared for generation."""
    by_peft = load_model(base, adapter=folder, device="cpu", dtype=dtype)
    ours = load_model(base, adapter=folder, device="cpu", dtype=dtype, attach=False)
    prepare_for_generation(ours)
    return by_peft, ours


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"target_modules": ["q_proj", "mlp.up_proj"]}])
def test_merged_logits_are_pefts(options, tmp_path):
    by_peft, ours = both(model_dir("llama"), adapter(tmp_path, model_dir("llama"), **options))
    assert not isinstance(ours.model, PeftModel)
    base = load_model(model_dir("llama"), device="cpu", dtype="float32")
    assert not torch.allclose(logits(base, 7), logits(by_peft, 7), atol=1e-2)
    for tokens in (1, 7, 20):
        assert torch.allclose(logits(ours, tokens), logits(by_peft, tokens), rtol=1e-5, atol=1e-4)


def test_beside_4_bit_weights_logits_are_pefts_on_those_weights(tmp_path):
    base = write_qwen_gguf(tmp_path / "qwen.gguf")
    by_peft, ours = both(base, adapter(tmp_path / "adapter", base))
    weights = read_int4_weights(ours.path)
    assert weights
    for name, weight in weights.items():
        layer = by_peft.language_model.get_submodule(name)
        layer.base_layer.weight.data = weight.dequantized(layer.in_features)
    for tokens in (1, 3, 20):
        assert torch.allclose(logits(ours, tokens), logits(by_peft, tokens), rtol=1e-5, atol=1e-4)


def test_in_bfloat16_the_sum_is_rounded_once(tmp_path):
    by_peft, ours = both(model_dir("llama"), adapter(tmp_path, model_dir("llama")), "bfloat16")
    layer = by_peft.language_model.model.layers[0].mlp.up_proj
    added = layer.scaling["default"] * layer.lora_B["default"].weight.float() @ layer.lora_A["default"].weight.float()
    expected = (layer.base_layer.weight.float() + added).to(torch.bfloat16)
    assert torch.equal(ours.language_model.model.layers[0].mlp.up_proj.weight, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"use_dora": True},
        {"rank_pattern": {"q_proj": 2}},
        {"alpha_pattern": {"q_proj": 2}},
        {"target_modules": "all-linear"},
        {"target_modules": r".*\.q_proj"},
        {"bias": "all"},
        {"lora_bias": True, "target_modules": ["q_proj"]},
        {"layers_to_transform": [0]},
        {"modules_to_save": ["norm"]},
    ],
)
def test_whatever_is_more_is_loaded_by_peft(options, tmp_path):
    base = model_dir("qwen2" if "lora_bias" in options else "llama")
    by_peft, ours = both(base, adapter(tmp_path, base, **options))
    if "all-linear" not in str(options):  # which PEFT writes as the names of the layers
        assert isinstance(ours.model, PeftModel)
    assert torch.allclose(logits(ours, 7), logits(by_peft, 7), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tensors: tensors.popitem(), "missing"),
        (lambda tensors: tensors.update({"base_model.model.x.lora_A.weight": torch.ones(4, 4)}), "surplus"),
        (lambda tensors: next(iter(tensors.values())).fill_(float("nan")), "not finite"),
    ],
)
def test_broken_weights_are_refused_as_elsewhere(change, told, tmp_path):
    folder = adapter(tmp_path, model_dir("llama"))
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")
    ours = load_model(model_dir("llama"), adapter=folder, device="cpu", dtype="float32", attach=False)
    with pytest.raises(ModelError, match=told):
        prepare_for_generation(ours)


def test_an_adapter_of_another_base_is_refused(tmp_path):
    folder = adapter(tmp_path, model_dir("llama"))
    (folder / "rolesum.json").write_text(json.dumps({"base": "other", "fingerprint": {"weights": "0"}}))
    ours = load_model(model_dir("llama"), adapter=folder, device="cpu", dtype="float32", attach=False)
    with pytest.raises(ModelError, match="trained on other"):
        prepare_for_generation(ours)


def test_peft_is_not_imported(tmp_path):
    folder = adapter(tmp_path, model_dir("llama"))
    code = (
        "import sys; from rolesum.generation.factory import EngineSpec\n"
        f"EngineSpec(model={str(model_dir('llama'))!r}, adapter={str(folder)!r}, device='cpu').open()\n"
        "sys.exit('peft' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
