import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import Gemma3TextConfig, LlamaConfig, Phi3Config

from helpers.tiny import model_dir
from rolesum.errors import ModelError, ResourceError, UsageError
from rolesum.formats import read_dialogues
from rolesum.models import CATALOG, loading, pull
from rolesum.models.loading import load_model, load_prompt_model, load_weights


@pytest.fixture
def broken(tmp_path):
    """A copy of a tiny checkpoint to break."""
    return shutil.copytree(model_dir("llama"), tmp_path / "broken")


def change_weights(path, change):
    file = path / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def test_a_missing_tensor_is_named(broken):
    change_weights(broken, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(ModelError, match=r"1 missing tensor: model\.layers\.1\.mlp\.up_proj\.weight"):
        load_model(broken, device="cpu")


def test_a_surplus_tensor_is_named(broken):
    change_weights(broken, lambda tensors: tensors.update(stray=torch.zeros(2)))
    with pytest.raises(ModelError, match="1 surplus tensor: stray"):
        load_model(broken, device="cpu")


def test_a_misshapen_tensor_is_an_error(broken):
    change_weights(broken, lambda tensors: tensors.update({"model.norm.weight": torch.zeros(7)}))
    with pytest.raises(ModelError, match=r"model\.norm|mismatch|shape"):
        load_model(broken, device="cpu")


def test_a_truncated_weight_file_is_an_error(broken):
    file = broken / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(broken, device="cpu")


def test_a_directory_that_is_no_checkpoint_is_an_error(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_model(tmp_path)


def test_an_unknown_name_gets_a_hint():
    with pytest.raises(ModelError, match=r'did you mean "smollm2-135m"'):
        load_model("smollm-135m")


def test_an_unknown_dtype_and_device_get_a_hint():
    with pytest.raises(UsageError, match='did you mean "bfloat16"'):
        load_model(model_dir("llama"), dtype="bfloat")
    with pytest.raises(ResourceError, match="--device cpu"):
        load_model(model_dir("llama"), device="cuda:77")


def test_a_chinese_dialogue_for_an_english_base_names_one_that_reads_it():
    loaded = load_model(model_dir("llama"), device="cpu")
    loaded.catalog_entry, loaded.name = CATALOG["smollm2-135m"], "smollm2-135m"
    loaded.check_languages(read_dialogues("sample:en-test"))
    with pytest.raises(ModelError, match="does not read Chinese") as caught:
        loaded.check_languages(read_dialogues("sample:zh-test"))
    assert "gemma3-270m" in caught.value.problems[0].fix


def test_a_cache_that_cannot_be_written_is_a_resource_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ROLESUM_CACHE", str(tmp_path / "file"))
    with pytest.raises(ResourceError, match="ROLESUM_CACHE"):
        pull("smollm2-135m")


@pytest.mark.embedded
def test_the_embedded_model_is_whole_and_speaks():
    loaded = load_model("smollm2-135m", device="cpu", dtype="float32")
    ids = loaded.tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.inference_mode():
        assert loaded.tokenizer.decode(loaded.model(ids).logits[0, -1].argmax()) == " Paris"


def test_a_truncated_adapter_is_an_error_with_its_place(tmp_path):
    model = get_peft_model(load_model(model_dir("llama"), device="cpu").model, LoraConfig(target_modules=["q_proj"]))
    model.save_pretrained(tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(ModelError, match="the adapter cannot be loaded"):
        load_model(model_dir("llama"), adapter=tmp_path, device="cpu")


def test_a_hub_that_cannot_be_reached_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("ROLESUM_CACHE", str(tmp_path / "own"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between its attempts
    with pytest.raises(ResourceError, match="could not fetch owner/name") as caught:
        pull("owner/name")
    assert "without a network" in caught.value.problems[0].fix


def test_a_hub_model_that_is_here_whole_needs_no_network(monkeypatch, tmp_path):
    monkeypatch.setenv("ROLESUM_CACHE", str(tmp_path / "own"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between its attempts
    snapshot = tmp_path / "models--owner--name" / "snapshots" / ("a" * 40)
    shutil.copytree(model_dir("llama"), snapshot)
    (tmp_path / "models--owner--name" / "refs").mkdir()
    (tmp_path / "models--owner--name" / "refs" / "main").write_text("a" * 40)
    assert pull("owner/name") == snapshot
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(ResourceError, match="could not fetch owner/name"):
        pull("owner/name")


def test_four_bits_find_the_tensors_of_a_checkpoint_without_the_bodys_prefix(tmp_path):
    """As BLOOM was published: h.0 for transformer.h.0."""
    pytest.importorskip("bitsandbytes")
    path = shutil.copytree(model_dir("wide-llama"), tmp_path / "bare")
    tensors = load_file(path / "model.safetensors")
    bare = {name.removeprefix("model."): one for name, one in tensors.items()}
    save_file(bare, path / "model.safetensors", metadata={"format": "pt"})
    side = load_prompt_model(path)
    prints = [load_weights(side, dtype="float32", device="cpu", quantize=how).fingerprint for how in (None, "4bit")]
    assert prints[0] == prints[1]


def test_positions_end_where_rotary_factors_would_change_with_the_longest_row_of_a_batch():
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    sizes = {
        "hidden_size": 32,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 600,
        "pad_token_id": 0,
    }
    config = Phi3Config(**sizes, max_position_embeddings=512, original_max_position_embeddings=64, rope_parameters=rope)
    assert loading._max_length(config) == 64
    assert loading._max_length(Phi3Config(**sizes, max_position_embeddings=512)) == 512
    scaled = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0, "original_max_position_embeddings": 128}
    assert loading._max_length(LlamaConfig(max_position_embeddings=512, rope_parameters=scaled)) == 512
    dynamic = {**scaled, "rope_type": "dynamic"}
    layers = Gemma3TextConfig(max_position_embeddings=512)
    layers.rope_parameters = {"full_attention": dynamic, "sliding_attention": {"rope_type": "default"}}
    assert loading._max_length(layers) == 128
