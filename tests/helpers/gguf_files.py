"""Tiny GGUF files of Qwen's architecture, as a publisher's converter would write them."""

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
from safetensors.numpy import load_file
from transformers import AutoTokenizer

from helpers.tiny import GROUPED, model_dir

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.layers": "blk",
}


def tensors_of_qwen(directory):
    """The tensors of a Qwen2 checkpoint under llama.cpp's names."""
    found = {}
    for name, tensor in load_file(directory / "model.safetensors").items():
        for ours, theirs in NAMES.items():
            name = name.replace(ours, theirs)
        found[name] = tensor.astype(np.float32)
    return found


def write_qwen_gguf(path, tensors=None, kinds=None, fields=None, arch="qwen2", pre="qwen2"):
    """A GGUF file of the tiny Qwen2.

    `tensors` replaces the checkpoint's, `kinds` names the quantization of some ("Q8_0"), `fields` adds settings.
    """
    directory = model_dir("qwen2")
    writer = GGUFWriter(path, arch)
    writer.add_context_length(GROUPED["max_position_embeddings"])
    writer.add_embedding_length(GROUPED["hidden_size"])
    writer.add_block_count(GROUPED["num_hidden_layers"])
    writer.add_feed_forward_length(GROUPED["intermediate_size"])
    writer.add_head_count(GROUPED["num_attention_heads"])
    writer.add_head_count_kv(GROUPED["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    _write_tokenizer(writer, directory, pre)
    for name, value in (fields or {}).items():
        (writer.add_string if isinstance(value, str) else writer.add_uint32)(name, value)
    for name, tensor in (tensors_of_qwen(directory) if tensors is None else tensors).items():
        kind = GGMLQuantizationType[(kinds or {}).get(name, "F32")]
        writer.add_tensor(name, quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_tokenizer(writer, directory, pre):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    special = set(tokenizer.all_special_ids)
    words = {index: word for word, index in tokenizer.get_vocab().items()}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([words[index] for index in range(len(words))])
    writer.add_token_types([3 if index in special else 1 for index in range(len(words))])
    writer.add_token_merges([" ".join(pair) for pair in _merges(tokenizer)])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template(tokenizer.chat_template)


def _merges(tokenizer):
    import json

    return json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
