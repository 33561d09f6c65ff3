import json
import shutil

import numpy as np
import pytest
import torch
from gguf import GGUFReader, GGUFWriter
from gguf.quants import dequantize
from safetensors.torch import load_file, save_file
from tokenizers import pre_tokenizers
from transformers import LlamaConfig

from helpers.tiny import model_dir
from rolesum.errors import ModelError, ResourceError, UsageError
from rolesum.models.architectures.sentencepiece import fast_tokenizer, sentencepiece_proto
from rolesum.models.export.gguf_writer import gguf_incompatibility, write_gguf

LLAMA = {"model_type": "llama", "hidden_size": 32, "num_attention_heads": 4}


@pytest.fixture
def checkpoint(tmp_path):
    """A copy of a tiny Llama whose rows are wide enough for every precision, to change."""
    return shutil.copytree(model_dir("wide-llama"), tmp_path / "checkpoint")


def edit_json(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def edit_weights(checkpoint, change):
    file = checkpoint / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def field(file, name):
    return GGUFReader(file).fields[name].contents()


@pytest.mark.parametrize(("precision", "error"), [("f32", 0.0), ("f16", 2**-11), ("bf16", 2**-8), ("q8_0", 1 / 127)])
def test_every_tensor_is_in_the_file_and_differs_by_its_precision_only(checkpoint, precision, error):
    target = checkpoint / "model.gguf"
    write_gguf(checkpoint, target, precision)
    stored = load_file(checkpoint / "model.safetensors")
    written = {tensor.name: tensor for tensor in GGUFReader(target).tensors}
    assert len(written) == len(stored)
    names = {"token_embd": "model.embed_tokens", "output": "lm_head", "blk.1.ffn_down": "model.layers.1.mlp.down_proj"}
    for name, source in names.items():
        tensor, values = written[f"{name}.weight"], stored[f"{source}.weight"].numpy()
        found = dequantize(tensor.data, tensor.tensor_type)
        assert np.abs(found - values).max() <= error * np.abs(values).max()
    assert written["blk.0.attn_norm.weight"].tensor_type.name == "F32"


def test_a_rotary_head_s_halves_are_interleaved(checkpoint):
    write_gguf(checkpoint, checkpoint / "model.gguf", "f32")
    written = {tensor.name: tensor.data for tensor in GGUFReader(checkpoint / "model.gguf").tensors}
    key = load_file(checkpoint / "model.safetensors")["model.layers.0.self_attn.k_proj.weight"].numpy()
    width = 16
    for head in range(2):
        for pair in range(width // 2):
            rows = written["blk.0.attn_k.weight"][head * width + 2 * pair :][:2]
            halves = key[[head * width + pair, head * width + pair + width // 2]]
            assert np.array_equal(rows, halves)


def test_weights_in_several_files_are_one_gguf(checkpoint):
    write_gguf(checkpoint, checkpoint / "one.gguf", "f32")
    tensors = load_file(checkpoint / "model.safetensors")
    names = sorted(tensors)
    (checkpoint / "model.safetensors").unlink()
    for part, some in enumerate((names[::2], names[1::2])):
        save_file({name: tensors[name] for name in some}, checkpoint / f"model-{part}.safetensors")
    write_gguf(checkpoint, checkpoint / "two.gguf", "f32")
    assert (checkpoint / "two.gguf").read_bytes() == (checkpoint / "one.gguf").read_bytes()


def test_a_full_disk_leaves_the_old_file_and_nothing_else(checkpoint, monkeypatch):
    target = checkpoint / "out" / "model.gguf"
    write_gguf(checkpoint, target, "f32")
    before = target.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GGUFWriter, "write_tensor_data", full)
    with pytest.raises(ResourceError, match="No space left"):
        write_gguf(checkpoint, target, "f32")
    assert target.read_bytes() == before
    assert list(target.parent.iterdir()) == [target]


def test_a_file_that_cannot_be_written_there_is_a_resource_error(checkpoint):
    with pytest.raises(ResourceError, match="this is a directory"):
        write_gguf(checkpoint, checkpoint, "f32")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "qwen2"}, "its model_type is qwen2"),
        ({**LLAMA, "architectures": ["LlamaForSequenceClassification"]}, "no language model"),
        ({**LLAMA, "attention_bias": True}, "attention_bias"),
        ({**LLAMA, "mlp_bias": True}, "mlp_bias"),
        ({**LLAMA, "hidden_act": "gelu"}, "gelu"),
        ({**LLAMA, "rope_scaling": {"type": "dynamic", "factor": 2.0}}, "type dynamic"),
        ({**LLAMA, "rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "type yarn"),
        ({**LLAMA, "rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, "whole heads"),
        ({**LLAMA, "quantization_config": {"quant_method": "bitsandbytes"}}, "quantized already"),
        ({**LLAMA, "hidden_size": 33}, "33"),
    ],
)
def test_what_llama_cpp_would_run_otherwise_has_a_reason(config, reason):
    assert reason in gguf_incompatibility(config)


def test_a_llama_and_its_older_spellings_of_rope_have_none():
    assert gguf_incompatibility(LlamaConfig().to_dict()) is None
    assert gguf_incompatibility({**LLAMA, "rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}}) is None


def test_a_refused_architecture_is_a_model_error_with_its_reason(tmp_path):
    with pytest.raises(ModelError, match="its model_type is qwen2"):
        write_gguf(model_dir("qwen2"), tmp_path / "model.gguf")
    assert list(tmp_path.iterdir()) == []


def test_rows_that_q8_0_cannot_cut_into_blocks_are_refused(tmp_path):
    with pytest.raises(ModelError, match="multiple of 32") as caught:
        write_gguf(model_dir("llama"), tmp_path / "model.gguf", "q8_0")
    assert "f16" in caught.value.problems[0].fix


def test_an_unknown_precision_gets_a_hint(tmp_path):
    with pytest.raises(UsageError, match='did you mean "q8_0"'):
        write_gguf(model_dir("llama"), tmp_path / "model.gguf", "q8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("model.norm.weight"), r"model\.norm\.weight is missing"),
        (lambda tensors: tensors.update(stray=torch.zeros(2)), "stray is not a tensor of this architecture"),
        (lambda tensors: tensors.update({"model.norm.weight": torch.zeros(7)}), r"has the shape \(7,\), not \(64,\)"),
        (lambda tensors: tensors["model.norm.weight"].fill_(float("nan")), "not finite"),
        (lambda tensors: tensors["lm_head.weight"].fill_(1e5), "above 65504"),
        (lambda tensors: tensors.update({"model.norm.weight": torch.zeros(64, dtype=torch.int8)}), "stored as I8"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_leave_nothing(checkpoint, change, said):
    edit_weights(checkpoint, change)
    before = sorted(checkpoint.iterdir())
    with pytest.raises(ModelError, match=said):
        write_gguf(checkpoint, checkpoint / "model.gguf", "f16")
    assert sorted(checkpoint.iterdir()) == before


def test_a_truncated_weight_file_is_an_error(checkpoint):
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot read"):
        write_gguf(checkpoint, checkpoint / "model.gguf", "f32")


def changed_tokenizer(checkpoint, change):
    file = checkpoint / "tokenizer.json"
    parts = json.loads(file.read_text())
    change(parts)
    file.write_text(json.dumps(parts))


def splits_at_commas(parts):
    parts["pre_tokenizer"] = json.loads(pre_tokenizers.Split(",", "isolated").__getstate__())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (splits_at_commas, "pre-tokenizer Split is none of those of gpt-2, smollm, llama-bpe"),
        (lambda parts: parts["pre_tokenizer"].update(add_prefix_space=True), "pre-tokenizer ByteLevel is none"),
        (lambda parts: parts["model"].update(ignore_merges=True), "pre-tokenizer ByteLevel is none"),
        (lambda parts: parts.update(normalizer={"type": "NFC"}), "normalizes the text by NFC"),
        (lambda parts: parts["model"].update(type="Unigram"), "a Unigram model"),
        (lambda parts: parts["added_tokens"][1].update(lstrip=True), "matched with lstrip"),
        (lambda parts: parts["added_tokens"][1].update(content="<other>"), "has the id 1 of the token"),
        (lambda parts: parts["model"]["vocab"].update(more=600), "has 601 tokens, and the model rows for 600"),
        (lambda parts: parts.update(post_processor={"type": "BertProcessing"}), "ends texts by BertProcessing"),
    ],
)
def test_a_tokenizer_that_llama_cpp_would_run_otherwise_is_refused(checkpoint, change, said):
    changed_tokenizer(checkpoint, change)
    with pytest.raises(ModelError, match=said):
        write_gguf(checkpoint, checkpoint / "model.gguf", "f32")


def test_a_checkpoint_without_a_tokenizer_is_refused(checkpoint):
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer\.json and no tokenizer\.model"):
        write_gguf(checkpoint, checkpoint / "model.gguf", "f32")


def test_a_vocabulary_smaller_than_the_model_s_rows_is_padded_with_unused_tokens(checkpoint):
    edit_json(checkpoint / "config.json", vocab_size=605)
    widen = ("model.embed_tokens.weight", "lm_head.weight")
    edit_weights(checkpoint, lambda all_: all_.update({name: torch.zeros(605, 64) for name in widen}))
    write_gguf(checkpoint, checkpoint / "model.gguf", "f32")
    assert field(checkpoint / "model.gguf", "tokenizer.ggml.tokens")[599:] == [
        field(checkpoint / "model.gguf", "tokenizer.ggml.tokens")[599],
        *(f"[PAD{index}]" for index in range(600, 605)),
    ]
    assert field(checkpoint / "model.gguf", "tokenizer.ggml.token_type")[600:] == [5] * 5


def test_special_added_tokens_are_control_tokens_and_plain_ones_are_user_defined(checkpoint):
    changed_tokenizer(checkpoint, lambda parts: parts["added_tokens"][3].update(special=False))
    write_gguf(checkpoint, checkpoint / "model.gguf", "f32")
    assert field(checkpoint / "model.gguf", "tokenizer.ggml.token_type")[:5] == [3, 3, 3, 4, 1]


def test_stops_and_the_chat_template_are_told(checkpoint):
    edit_json(checkpoint / "generation_config.json", eos_token_id=[0, 2])
    file = checkpoint / "model.gguf"
    write_gguf(checkpoint, file, "f32")
    assert field(file, "tokenizer.ggml.eos_token_id") == 2  # the tokenizer's own first
    assert field(file, "tokenizer.ggml.eot_token_id") == 0
    assert field(file, "tokenizer.chat_template") == (checkpoint / "chat_template.jinja").read_text()


def test_more_stops_than_llama_cpp_knows_are_refused(checkpoint):
    edit_json(checkpoint / "generation_config.json", eos_token_id=[0, 1, 2, 3])
    with pytest.raises(ModelError, match="4 tokens end a text"):
        write_gguf(checkpoint, checkpoint / "model.gguf", "f32")


def small_sentencepiece(file):
    """A tokenizer.model of 256 bytes and eight pieces, `xy` and `yz` of which have one score."""
    model = sentencepiece_proto().ModelProto()
    model.trainer_spec.model_type, model.trainer_spec.byte_fallback = 2, True
    model.normalizer_spec.add_dummy_prefix = model.normalizer_spec.remove_extra_whitespaces = False
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("<plain>", 0.0, 4)]
    pieces += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    pieces += [("xy", -1.0, 1), ("yz", -1.0, 1), ("xyz", -2.0, 1), *((one, -3.0, 1) for one in "xyz▁")]
    for piece, score, kind in pieces:
        model.pieces.add(piece=piece, score=score, type=kind)
    file.write_bytes(model.SerializeToString())
    return [kind for _, _, kind in pieces]


@pytest.fixture
def bare(checkpoint):
    """A checkpoint with no more of a tokenizer than a tokenizer.model and a config that says: no bos."""
    for file in checkpoint.glob("tokenizer*"):
        file.unlink()
    (checkpoint / "tokenizer_config.json").write_text('{"add_bos_token": false, "pad_token": {"content": "<unk>"}}')
    return checkpoint


def test_a_bare_tokenizer_model_says_its_types_and_the_config_beside_it_the_rest(bare):
    types = small_sentencepiece(bare / "tokenizer.model")
    file = bare / "model.gguf"
    write_gguf(bare, file, "f32")
    assert field(file, "tokenizer.ggml.token_type") == types + [5] * (600 - len(types))
    ids = {key: field(file, f"tokenizer.ggml.{key}_token_id") for key in ("bos", "eos", "padding")}
    assert ids == {"bos": 1, "eos": 2, "padding": 0}
    assert not field(file, "tokenizer.ggml.add_bos_token")
    assert not field(file, "tokenizer.ggml.add_space_prefix")
    scores = dict(zip(*(field(file, f"tokenizer.ggml.{key}") for key in ("tokens", "scores")), strict=True))
    assert scores["xy"] > scores["xyz"] and scores["yz"] > scores["xyz"]


def test_sentencepiece_merges_that_llama_cpp_would_make_and_the_tokenizer_would_not_are_refused(bare):
    small_sentencepiece(bare / "tokenizer.model")
    fast_tokenizer(bare / "tokenizer.model").save_pretrained(bare)
    changed_tokenizer(bare, lambda parts: parts["model"]["merges"].remove(["x", "yz"]))
    with pytest.raises(ModelError, match="does not make 'xyz' of 'x' and 'yz'"):
        write_gguf(bare, bare / "model.gguf", "f32")
