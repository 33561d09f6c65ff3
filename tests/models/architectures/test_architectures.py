"""What the readers of original checkpoints refuse, and how they tell the models apart."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from helpers.small_runs import recipe
from helpers.tiny import model_dir
from helpers.tiny_checkpoints import write_tiny_checkpoint
from rolesum.errors import ModelError, UsageError
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation import Decoding, summarize
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.models.families import family_of
from rolesum.models.loading import load_model
from rolesum.training.prepare_model import prepare_model


@pytest.fixture
def copy_of(tmp_path):
    """A copy of a tiny original checkpoint, with its config and its tensors changed."""

    def make(name, config=None, tensors=None):
        path = shutil.copytree(model_dir(name), tmp_path / name)
        if config:
            raw = json.loads((path / "config.json").read_text())
            config(raw)
            (path / "config.json").write_text(json.dumps(raw))
        if tensors:
            stored = torch.load(path / "pytorch_model.bin", weights_only=True)
            tensors(stored)
            torch.save(stored, path / "pytorch_model.bin")
        return path

    return make


def problems_of(path):
    with pytest.raises(ModelError) as caught:
        load_model(path, device="cpu")
    return str(caught.value)


def test_missing_surplus_and_misshapen_tensors_are_all_listed(copy_of):
    def spoil(tensors):
        del tensors["model.layers.0.self_attn.W_pack.weight"]
        tensors["model.layers.7.mlp.up_proj.weight"] = torch.zeros(2, 2)
        tensors["model.norm.weight"] = torch.zeros(63)

    told = problems_of(copy_of("baichuan2-7b", tensors=spoil))
    for part in "qkv":
        assert f"model.layers.0.self_attn.{part}_proj.weight" in told
    assert "3 missing" in told and "1 surplus tensor: model.layers.7.mlp.up_proj.weight" in told
    assert "1 misshapen tensor: model.norm.weight (63,) for (64,)" in told


@pytest.mark.parametrize("rows", [189, 96])
def test_a_fused_matrix_of_another_height_is_an_error(copy_of, rows):
    name = "model.layers.0.self_attn.W_pack.weight"
    told = problems_of(copy_of("baichuan2-7b", tensors=lambda stored: stored.update({name: torch.zeros(rows, 64)})))
    assert "misshapen" in told and "model.layers.0.self_attn" in told


def test_the_same_of_chatglm(copy_of):
    name = "transformer.encoder.layers.1.self_attention.query_key_value.weight"
    told = problems_of(copy_of("chatglm3-6b", tensors=lambda stored: stored.update({name: stored[name][:-1]})))
    assert "misshapen" in told and "model.layers.1.self_attn.v_proj.weight" in told
    told = problems_of(copy_of("chatglm2-6b", tensors=lambda stored: stored.pop("transformer.output_layer.weight")))
    assert "1 missing tensor: lm_head.weight" in told


@pytest.mark.parametrize(
    ("base", "buffer"),
    [
        ("chatglm3-6b", "transformer.rotary_pos_emb.inv_freq"),
        ("baichuan2-7b", "model.layers.0.self_attn.rotary_emb.inv_freq"),
    ],
)
def test_the_rotary_buffers_that_old_files_hold_are_no_surplus_and_change_nothing(copy_of, base, buffer):
    path = copy_of(base, tensors=lambda stored: stored.update({buffer: torch.zeros(4)}))
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        found, expected = (load_model(one, device="cpu").model(ids).logits for one in (path, model_dir(base)))
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("add_bias_linear", True),
        ("rmsnorm", False),
        ("apply_residual_connection_post_layernorm", True),
        ("quantization_bit", 4),
        ("pre_seq_len", 128),
    ],
)
def test_what_glm_has_not_is_refused_by_name(copy_of, setting, value):
    path = copy_of("chatglm3-6b", config=lambda raw: raw.update({setting: value}))
    assert f"{setting}: {value} is not read" in problems_of(path)


def test_baichuan_in_its_authors_four_bits_is_refused(copy_of):
    path = copy_of("baichuan2-7b", config=lambda raw: raw.update(quantization_config={"bits": 4}))
    assert "quantized by its authors' code" in problems_of(path)


def test_a_chatglm_that_does_not_say_its_generation_is_refused(copy_of):
    path = copy_of("chatglm3-6b", config=lambda raw: raw.pop("_name_or_path"))
    assert "ChatGLM2 or ChatGLM3" in problems_of(path)
    (path / "tokenizer_config.json").write_text(json.dumps({"name_or_path": "THUDM/chatglm3-6b"}))
    assert load_model(path, device="cpu").family.name == "chatglm3"


def test_the_family_comes_from_the_config_not_from_the_directory(tmp_path):
    path = shutil.copytree(model_dir("baichuan2-13b"), tmp_path / "chatglm3-llama-7b")
    loaded = load_model(path, device="cpu")
    assert loaded.family.name == "baichuan2" and loaded.language_model.config.alibi
    assert family_of({"model_type": "chatglm", "_name_or_path": "x/ChatGLM2-6B-32k"}).name == "chatglm2"


def test_no_code_beside_the_weights_runs(copy_of, tmp_path):
    path = copy_of("baichuan2-7b", config=lambda raw: raw.update(auto_map={"AutoModelForCausalLM": "evil.Evil"}))
    (path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Evil: ...\n")
    load_model(path, device="cpu")
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_without_its_tokenizer_model_says_so(copy_of):
    path = copy_of("baichuan2-7b")
    (path / "tokenizer.model").unlink()
    assert "no tokenizer.model" in problems_of(path)


@pytest.mark.parametrize("change", [{"lora": {"targets": ["q_proj", "lm_head"]}}, {"method": "full"}])
def test_training_a_normalized_head_is_refused_with_the_reason(change):
    loaded = load_model(model_dir("baichuan2-7b"), device="cpu")
    with pytest.raises(UsageError, match="NormHead"):
        prepare_model(loaded.model, loaded.family, recipe(**change))


def test_the_plain_head_of_the_first_baichuan_may_be_trained(copy_of):
    """Recognized by its vocabulary of 64,000."""

    def grow(tensors):
        for name in ("lm_head.weight", "model.embed_tokens.weight"):
            tensors[name] = torch.randn(64_000, 64)

    path = copy_of("baichuan2-7b", config=lambda raw: raw.update(vocab_size=64_000), tensors=grow)
    loaded = load_model(path, device="cpu", dtype="float32")
    stored = torch.load(path / "pytorch_model.bin", weights_only=True)["lm_head.weight"]
    assert torch.equal(loaded.model.lm_head.weight, stored)
    assert prepare_model(loaded.model, loaded.family, recipe(method="full")).lm_head.weight.requires_grad


def test_a_pickle_beside_the_tensors_is_refused_unread(copy_of, tmp_path):
    path = copy_of("baichuan2-7b")
    torch.save({"a": Path(tmp_path / "a")}, path / "pytorch_model.bin")
    told = problems_of(path)
    assert "code, which is not run" in told and "safetensors" in told


def test_a_setting_of_a_wrong_type_is_named(copy_of):
    told = problems_of(copy_of("baichuan2-7b", config=lambda raw: raw.update(hidden_size="64")))
    assert "hidden_size" in told and "no positive number" in told


def test_a_tiny_checkpoint_needs_a_whole_tokenizer(tmp_path):
    (tmp_path / "tokenizer.model").write_text("not a tokenizer")
    with pytest.raises(ModelError, match="cannot be read"):
        write_tiny_checkpoint("baichuan2-7b", tmp_path / "new", tmp_path / "tokenizer.model")
    assert not (tmp_path / "new").exists()


def test_a_tiny_checkpoint_is_not_written_over_another(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not an empty directory"):
        write_tiny_checkpoint("baichuan2-7b", tmp_path / "mine")
    with pytest.raises(UsageError, match='did you mean "baichuan2-7b"'):
        write_tiny_checkpoint("baichuan-7b", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["baichuan2-7b", "chatglm3-6b"])
def test_a_base_in_four_bits_has_the_fingerprint_of_the_whole_one(name):
    pytest.importorskip("bitsandbytes")
    from rolesum.models.loading import load_prompt_model, load_weights

    side = load_prompt_model(model_dir(name))
    plain = load_weights(side, dtype="float32", device="cpu")
    four = load_weights(side, dtype="float32", device="cpu", quantize="4bit")
    assert type(four.model.model.layers[0].self_attn.q_proj).__name__ == "Linear4bit"
    assert four.fingerprint == plain.fingerprint
    if name == "chatglm3-6b":  # its 32 columns are too few for bitsandbytes' kernels on a processor
        return
    ids = torch.arange(5, 15)[None]
    with torch.no_grad():
        near = torch.cosine_similarity(four.model(ids).logits.flatten(), plain.model(ids).logits.flatten(), dim=0)
    assert near > 0.9


@pytest.mark.parametrize("name", ["baichuan2-7b", "chatglm3-6b"])
def test_the_fingerprint_is_the_same_in_every_dtype(name):
    dtypes = ("float32", "bfloat16", "float16")
    prints = [load_model(model_dir(name), dtype=dtype, device="cpu").fingerprint for dtype in dtypes]
    assert prints[0] == prints[1] == prints[2]
    assert prints[0] != load_model(model_dir(name, seed=1), device="cpu").fingerprint


def test_a_ready_mask_without_the_bias_of_alibi_is_refused():
    model = load_model(model_dir("baichuan2-13b"), device="cpu").model
    mask = torch.ones(1, 1, 6, 6, dtype=torch.bool).tril()
    with pytest.raises(ValueError, match="must hold its bias"):
        model(torch.arange(5, 11)[None], attention_mask=mask)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("num_attention_heads", None), ("hidden_size", 0), ("max_position_embeddings", -1), ("hidden_size", 5120)],
)
def test_a_baichuan_config_that_lost_a_size_or_contradicts_itself_is_refused(copy_of, setting, value):
    def change(raw):
        raw.pop(setting) if value is None else raw.update({setting: value})

    told = problems_of(copy_of("baichuan2-7b", config=change))
    assert setting in told or "the length" in told or "alibi positions" in told


@pytest.mark.parametrize("ratio", [0, -1, "2", False])
def test_a_rope_ratio_that_is_no_positive_number_is_refused(copy_of, ratio):
    assert "rope_ratio" in problems_of(copy_of("chatglm3-6b-32k", config=lambda raw: raw.update(rope_ratio=ratio)))


def test_weights_that_are_no_numbers_give_no_summary(copy_of):
    def spoil(tensors):
        tensors["model.norm.weight"] *= torch.nan

    loaded = load_model(copy_of("baichuan2-7b", tensors=spoil), device="cpu")
    dialogues = read_dialogues("sample:en-test", ReadOptions(limit=1))
    with pytest.raises(ModelError, match="no numbers"):
        summarize(dialogues, TransformersEngine(loaded), ("user",), Decoding(max_new_tokens=2))


def test_a_tokenizer_with_more_tokens_than_the_model_has_rows_is_told(copy_of):
    def cut(tensors):
        for name in ("lm_head.weight", "model.embed_tokens.weight"):
            tensors[name] = tensors[name][:300].clone()

    path = copy_of("baichuan2-7b", config=lambda raw: raw.update(vocab_size=300), tensors=cut)
    loaded = load_model(path, device="cpu")
    dialogues = read_dialogues("sample:en-test", ReadOptions(limit=1))
    with pytest.raises(ModelError, match="and the model has 300 rows"):
        summarize(dialogues, TransformersEngine(loaded), ("user",), Decoding(max_new_tokens=2))


@pytest.mark.parametrize("value", ["2", [2, "x"], {"a": 1}, -1, True, 1.5])
def test_an_end_of_text_that_is_no_token_is_an_error_with_its_place(copy_of, value):
    path = copy_of("baichuan2-7b")
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": value}))
    assert "eos_token_id" in problems_of(path)


def test_a_pointer_in_the_place_of_weights_says_what_to_fetch(copy_of):
    path = copy_of("baichuan2-7b")
    (path / "pytorch_model.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "pytorch_model.bin: a Git LFS pointer" in problems_of(path)
