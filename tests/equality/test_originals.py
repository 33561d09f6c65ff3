"""Original Baichuan2 and ChatGLM checkpoints give the original's numbers.

Once against the outputs of the authors' code, which lie beside the project, and once against plain formulas written
here, on checkpoints of random numbers under the original names.
"""

import json
import math

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch.nn import functional

from rolesum.models.checkpoint import load_pretrained
from rolesum.models.families import GLM_LINEAR, LLAMA_LINEAR

ORACLES = ("baichuan2-7b-tiny", "baichuan2-13b-tiny", "chatglm2-tiny", "chatglm3-tiny")
TOLERANCE = 1e-5


def load(path, attention="sdpa"):
    model = load_pretrained(path, torch.float32, torch.device("cpu"), None)
    model.set_attn_implementation(attention)
    return model.eval()


def fused_gradient(model):
    """The gradient of layer 0's queries, keys and values, as the original's one matrix holds them."""
    attention = model.model.layers[0].self_attn
    return torch.cat([getattr(attention, f"{part}_proj").weight.grad for part in "qkv"])


def greedy(model, ids, valid, steps):
    """Token by token with a cache, from a left-padded batch."""
    cache, fed, positions = None, ids, (valid.cumsum(-1) - 1).clamp(min=0)
    done = torch.zeros(len(ids), dtype=torch.bool)
    for _ in range(steps):
        with torch.no_grad():
            out = model(fed, attention_mask=valid, position_ids=positions, past_key_values=cache, use_cache=True)
        cache, fed = out.past_key_values, out.logits[:, -1:].argmax(-1)
        fed[done] = 0
        done |= fed[:, 0] == 2
        ids = torch.cat([ids, fed], dim=1)
        valid = torch.cat([valid, torch.ones_like(fed)], dim=1)
        positions = positions[:, -1:] + 1
    return ids


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", ORACLES)
def test_the_authors_outputs_are_given_again(shared, name, attention):
    golden = load_file(shared / "oracles" / name / "golden.safetensors")
    model = load(shared / "oracles" / name, attention)
    valid = golden["attention_mask"]
    with torch.no_grad():
        logits = model(golden["input_ids"]).logits
        padded = model(
            golden["left_padded_ids"], attention_mask=valid, position_ids=(valid.cumsum(-1) - 1).clamp(min=0)
        ).logits
    assert (logits - golden["logits"]).abs().max() < TOLERANCE
    assert (padded - golden["left_padded_logits"])[valid.bool()].abs().max() < TOLERANCE
    new = golden["greedy_ids"].shape[1] - valid.shape[1]
    assert torch.equal(greedy(model, golden["left_padded_ids"], valid, new), golden["greedy_ids"])


@pytest.mark.parametrize("name", ORACLES)
def test_the_authors_loss_and_gradient_are_given_again(shared, name):
    golden = load_file(shared / "oracles" / name / "golden.safetensors")
    model = load(shared / "oracles" / name)
    loss = model(golden["input_ids"], labels=golden["input_ids"]).loss
    loss.backward()
    assert abs(loss.item() - golden["train_loss"].item()) < TOLERANCE
    theirs = next(value for key, value in golden.items() if key.startswith("grad_"))
    assert (fused_gradient(model) - theirs).abs().max() < 1e-5 * theirs.abs().max()


# ---- The formulas, from the papers and the checkpoints' own names ----

BAICHUAN = {
    "model_type": "baichuan", "hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 6,
    "num_hidden_layers": 2, "vocab_size": 90, "rms_norm_eps": 1e-6, "pad_token_id": 0, "torch_dtype": "float32",
    "tie_word_embeddings": False, "model_max_length": 64, "hidden_act": "silu",
}  # fmt: skip
SEVEN_B = {**BAICHUAN, "max_position_embeddings": 64}
GLM = {
    "model_type": "chatglm", "hidden_size": 48, "ffn_hidden_size": 80, "num_attention_heads": 6, "kv_channels": 8,
    "multi_query_attention": True, "multi_query_group_num": 2, "num_layers": 2, "padded_vocab_size": 90,
    "layernorm_epsilon": 1e-5, "seq_length": 64, "add_qkv_bias": True, "add_bias_linear": False, "rmsnorm": True,
    "apply_residual_connection_post_layernorm": False, "post_layer_norm": True, "torch_dtype": "float32",
}  # fmt: skip


def baichuan_tensors(config):
    width, inner, words = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    shapes = {"model.embed_tokens.weight": (words, width), "model.norm.weight": (width,)}
    shapes["lm_head.weight"] = (words, width)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        shapes |= {f"{at}self_attn.W_pack.weight": (3 * width, width), f"{at}self_attn.o_proj.weight": (width, width)}
        shapes |= {f"{at}mlp.{name}_proj.weight": (inner, width) for name in ("gate", "up")}
        shapes |= {f"{at}mlp.down_proj.weight": (width, inner)}
        shapes |= {f"{at}{name}_layernorm.weight": (width,) for name in ("input", "post_attention")}
    return random_tensors(shapes)


def glm_tensors(config):
    width, inner, words = config["hidden_size"], config["ffn_hidden_size"], config["padded_vocab_size"]
    fused = (config["num_attention_heads"] + 2 * config["multi_query_group_num"]) * config["kv_channels"]
    shapes = {"transformer.embedding.word_embeddings.weight": (words, width)}
    shapes |= {
        "transformer.encoder.final_layernorm.weight": (width,),
        "transformer.output_layer.weight": (words, width),
    }
    shapes["transformer.rotary_pos_emb.inv_freq"] = (2,)
    for layer in range(config["num_layers"]):
        at = f"transformer.encoder.layers.{layer}."
        shapes |= {f"{at}self_attention.query_key_value.weight": (fused, width)}
        shapes |= {f"{at}self_attention.query_key_value.bias": (fused,)}
        shapes |= {f"{at}self_attention.dense.weight": (width, width)}
        shapes |= {f"{at}mlp.dense_h_to_4h.weight": (2 * inner, width), f"{at}mlp.dense_4h_to_h.weight": (width, inner)}
        shapes |= {f"{at}{name}_layernorm.weight": (width,) for name in ("input", "post_attention")}
    return random_tensors(shapes)


def random_tensors(shapes):
    generator = torch.Generator().manual_seed(5)
    scale = {1: 0.3, 2: 0.15}
    tensors = {name: torch.randn(*shape, generator=generator) * scale[len(shape)] for name, shape in shapes.items()}
    return {name: one + 1 if name.endswith("norm.weight") else one for name, one in tensors.items()}


def rms(x, weight, eps):
    return weight * x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


def attend(q, k, v, bias):
    """(length, heads, width) each; bias (heads, length, length) or 0, added before the softmax over earlier keys."""
    scores = torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(q.shape[-1]) + bias
    later = torch.ones(len(q), len(q), dtype=torch.bool).triu(1)
    return torch.einsum("hij,jhd->ihd", scores.masked_fill(later, -math.inf).softmax(-1), v).flatten(1)


def rotated(x, pairs, theta=10_000.0):
    """Rotary positions (arXiv 2104.09864): each pair of dimensions (a, b) turned by position / theta^(2k / width)."""
    out = x.clone()
    for number, (a, b) in enumerate(pairs):
        angle = torch.arange(len(x)) * theta ** (-number / len(pairs))
        sin, cos = angle.sin()[:, None], angle.cos()[:, None]
        out[..., a], out[..., b] = x[..., a] * cos - x[..., b] * sin, x[..., b] * cos + x[..., a] * sin
    return out


def baichuan_logits(tensors, config, ids):
    heads, eps = config["num_attention_heads"], config["rms_norm_eps"]
    width = config["hidden_size"] // heads
    if "max_position_embeddings" in config:
        halves = [(k, k + width // 2) for k in range(width // 2)]
        turn, bias = (lambda x: rotated(x, halves)), 0.0
    else:
        # Six heads: the slopes of four, 1/4, 1/16, 1/64, 1/256, then the first and the third of eight, 1/2 and 1/8.
        slopes = torch.tensor([1 / 4, 1 / 16, 1 / 64, 1 / 256, 1 / 2, 1 / 8])
        place = torch.arange(len(ids))
        turn, bias = (lambda x: x), slopes[:, None, None] * (place[None, :] - place[:, None])
    x = tensors["model.embed_tokens.weight"][ids]
    for layer in range(config["num_hidden_layers"]):
        own = {name.removeprefix(f"model.layers.{layer}."): one for name, one in tensors.items()}
        seen = rms(x, own["input_layernorm.weight"], eps)
        q, k, v = ((seen @ part.T).view(-1, heads, width) for part in own["self_attn.W_pack.weight"].chunk(3))
        x = x + attend(turn(q), turn(k), v, bias) @ own["self_attn.o_proj.weight"].T
        seen = rms(x, own["post_attention_layernorm.weight"], eps)
        gated = functional.silu(seen @ own["mlp.gate_proj.weight"].T) * (seen @ own["mlp.up_proj.weight"].T)
        x = x + gated @ own["mlp.down_proj.weight"].T
    head = tensors["lm_head.weight"]
    if config["vocab_size"] != 64_000:
        head = head / head.norm(dim=1, keepdim=True)
    return rms(x, tensors["model.norm.weight"], eps) @ head.T


def glm_logits(tensors, config, ids):
    heads, groups, width = (config[name] for name in ("num_attention_heads", "multi_query_group_num", "kv_channels"))
    eps, theta = config["layernorm_epsilon"], 10_000.0 * config.get("rope_ratio", 1)
    pairs = [(2 * k, 2 * k + 1) for k in range(width // 4)]  # neighbors, in the first half of the dimensions
    x = tensors["transformer.embedding.word_embeddings.weight"][ids]
    for layer in range(config["num_layers"]):
        own = {name.removeprefix(f"transformer.encoder.layers.{layer}."): one for name, one in tensors.items()}
        seen = rms(x, own["input_layernorm.weight"], eps)
        mixed = seen @ own["self_attention.query_key_value.weight"].T + own["self_attention.query_key_value.bias"]
        q, k, v = mixed.split([heads * width, groups * width, groups * width], dim=1)
        k, v = (one.view(-1, groups, width).repeat_interleave(heads // groups, dim=1) for one in (k, v))
        out = attend(rotated(q.view(-1, heads, width), pairs, theta), rotated(k, pairs, theta), v, 0.0)
        x = x + out @ own["self_attention.dense.weight"].T
        seen = rms(x, own["post_attention_layernorm.weight"], eps)
        gate, up = (seen @ own["mlp.dense_h_to_4h.weight"].T).chunk(2, dim=1)
        x = x + (functional.silu(gate) * up) @ own["mlp.dense_4h_to_h.weight"].T
    return (
        rms(x, tensors["transformer.encoder.final_layernorm.weight"], eps)
        @ tensors["transformer.output_layer.weight"].T
    )


CASES = {
    "baichuan2-7b": (SEVEN_B, baichuan_tensors, baichuan_logits),
    "baichuan2-13b": (BAICHUAN, baichuan_tensors, baichuan_logits),
    "baichuan-7b": ({**SEVEN_B, "vocab_size": 64_000}, baichuan_tensors, baichuan_logits),
    "chatglm3": (GLM, glm_tensors, glm_logits),
    "chatglm3-32k": ({**GLM, "rope_ratio": 50}, glm_tensors, glm_logits),
}


def checkpoint(folder, name, layout="bin"):
    """A checkpoint under the original names: in one .bin file, in several, or as safetensors."""
    config, make, formula = CASES[name]
    tensors = make(config)
    (folder / "config.json").write_text(json.dumps(config))
    if layout == "bin":
        torch.save(tensors, folder / "pytorch_model.bin")
    elif layout == "safetensors":
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        weight_map = {key: f"pytorch_model-0000{1 + number % 2}-of-00002.bin" for number, key in enumerate(tensors)}
        for file in sorted(set(weight_map.values())):
            torch.save({key: one for key, one in tensors.items() if weight_map[key] == file}, folder / file)
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return config, tensors, formula


@pytest.mark.parametrize("name", CASES)
def test_the_logits_are_those_of_the_formulas(tmp_path, name):
    config, tensors, formula = checkpoint(tmp_path, name)
    ids = torch.randint(3, 90, (14,), generator=torch.Generator().manual_seed(1))
    expected = formula(tensors, config, ids)
    assert expected.std() > 0.1
    for attention in ("sdpa", "eager"):
        with torch.no_grad():
            found = load(tmp_path, attention)(ids[None]).logits[0]
        assert (found - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize("layout", ["shards", "safetensors"])
@pytest.mark.parametrize("name", ["baichuan2-13b", "chatglm3"])
def test_sharded_files_and_safetensors_give_the_same(tmp_path, name, layout):
    (tmp_path / "one").mkdir(), (tmp_path / "other").mkdir()
    checkpoint(tmp_path / "one", name)
    checkpoint(tmp_path / "other", name, layout)
    ours, theirs = load(tmp_path / "one").state_dict(), load(tmp_path / "other").state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_normalized_head_is_a_fixed_point_in_bfloat16(tmp_path):
    checkpoint(tmp_path, "baichuan2-7b")
    model = load_pretrained(tmp_path, torch.bfloat16, torch.device("cpu"), None)
    model.save_pretrained(tmp_path / "again")
    (tmp_path / "again" / "config.json").write_text(json.dumps(SEVEN_B))
    again = load_pretrained(tmp_path / "again", torch.bfloat16, torch.device("cpu"), None)
    assert torch.equal(model.lm_head.weight, again.lm_head.weight)


@pytest.mark.parametrize("name", ORACLES)
def test_lora_steps_on_the_oracles_lower_the_loss(shared, name):
    """On every linear layer of the family's row; the head, and all that is not LoRA's, stays as it is."""
    model = load(shared / "oracles" / name)
    ids = load_file(shared / "oracles" / name / "golden.safetensors")["input_ids"]
    targets = GLM_LINEAR if name.startswith("chatglm") else LLAMA_LINEAR
    before = {key: one.clone() for key, one in model.state_dict().items()}
    adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=list(targets), task_type="CAUSAL_LM"))
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01)
    losses = []
    for _ in range(8):
        loss = adapted(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1
    after = {key.replace(".base_layer", ""): one for key, one in model.state_dict().items() if "lora_" not in key}
    assert all(torch.equal(after[key], one) for key, one in before.items())
