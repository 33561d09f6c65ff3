"""A converted adapter adds what the old one added: the old one is merged here into the original's own tensors."""

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import save_file

from helpers.tiny import model_dir
from rolesum.errors import ModelError, UsageError
from rolesum.models.export.convert_adapter import convert_adapter
from rolesum.models.loading import load_model

RANK, ALPHA = 4, 12
CONFIG = {
    "peft_type": "LORA",
    "r": RANK,
    "lora_alpha": ALPHA,
    "lora_dropout": 0.1,
    "bias": "none",
    "inference_mode": True,
}
# What the authors' scripts put LoRA on.
TARGETS = {
    "baichuan2-7b": ["W_pack"],
    "baichuan2-13b": ["W_pack", "o_proj", "gate_proj", "down_proj"],
    "chatglm3-6b": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h", "output_layer"],
}


def old_adapter(folder, base, binary=False, **config):
    """An adapter on the original's modules, and the original with it merged in: both directories."""
    stored = torch.load(model_dir(base) / "pytorch_model.bin", weights_only=True)
    torch.manual_seed(4)
    tensors = {}
    for name in list(stored):
        if name.endswith(".weight") and name.split(".")[-2] in TARGETS[base]:
            a = torch.randn(RANK, stored[name].shape[1]) / math.sqrt(RANK)
            b = torch.randn(len(stored[name]), RANK) * 0.1
            stem = f"base_model.model.{name.removesuffix('.weight')}"
            tensors |= {f"{stem}.lora_A.weight": a, f"{stem}.lora_B.weight": b}
            stored[name] = stored[name] + ALPHA / RANK * b @ a
    old, merged = folder / "old", shutil.copytree(model_dir(base), folder / "merged")
    old.mkdir()
    torch.save(stored, merged / "pytorch_model.bin")
    (old / "adapter_config.json").write_text(json.dumps({**CONFIG, "target_modules": TARGETS[base], **config}))
    if binary:
        torch.save(tensors, old / "adapter_model.bin")
    else:
        save_file(tensors, old / "adapter_model.safetensors")
    return old, merged


def logits(path, **how):
    model = load_model(path, device="cpu", dtype="float32", **how).model
    with torch.no_grad():
        return model(torch.arange(5, 40)[None]).logits


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("base", TARGETS)
def test_a_converted_adapter_gives_the_logits_of_the_old_one_merged(tmp_path, base, binary):
    old, merged = old_adapter(tmp_path, base, binary)
    done = convert_adapter(old, tmp_path / "new", str(model_dir(base)))
    assert done.largest_difference < 1e-6 and done.layers > done.layers_before
    expected, plain = logits(merged), logits(model_dir(base))
    assert (expected - plain).abs().max() > 0.1
    assert (logits(model_dir(base), adapter=tmp_path / "new") - expected).abs().max() < 2e-4


def test_a_converted_adapter_knows_its_base(tmp_path):
    old, _ = old_adapter(tmp_path, "baichuan2-7b")
    convert_adapter(old, tmp_path / "new", str(model_dir("baichuan2-7b")))
    with pytest.raises(ModelError, match="was trained on"):
        load_model(model_dir("baichuan2-7b", seed=1), adapter=tmp_path / "new", device="cpu")


@pytest.mark.parametrize("change", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"bias": "all"}])
def test_what_cannot_be_converted_exactly_is_refused(tmp_path, change):
    old, _ = old_adapter(tmp_path, "baichuan2-7b", **change)
    with pytest.raises(ModelError, match="is not converted"):
        convert_adapter(old, tmp_path / "new", str(model_dir("baichuan2-7b")))
    assert not (tmp_path / "new").exists()


def test_another_base_is_refused(tmp_path):
    old, _ = old_adapter(tmp_path, "baichuan2-7b")
    with pytest.raises(ModelError, match="rows"):
        convert_adapter(old, tmp_path / "new", str(model_dir("baichuan2-13b")))
    with pytest.raises(UsageError, match="not an original"):
        convert_adapter(old, tmp_path / "new", str(model_dir("llama")))
    with pytest.raises(UsageError, match="no adapter here"):
        convert_adapter(tmp_path, tmp_path / "new", str(model_dir("baichuan2-7b")))
