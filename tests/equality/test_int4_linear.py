"""The four-bit weights are the file's, and a model that reads them, with LoRA or without, gives the same logits."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from peft import LoraConfig, get_peft_model

from helpers.gguf_files import tensors_of_qwen, write_qwen_gguf
from helpers.tiny import model_dir
from rolesum.dialogue import Bundle, Example
from rolesum.evaluation.model_metrics.log_probability import summary_logprobs
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation.decoding.linear import MAX_INT4_ROWS, use_fast_linear
from rolesum.generation.factory import EngineSpec
from rolesum.models import int4_weights
from rolesum.models.gguf_header import GGUFHeader, GGUFTensor
from rolesum.models.int4_weights import INT4_FILE, read_int4_weights, write_int4_weights
from rolesum.models.loading import load_model

ROWS, COLUMNS = 304, 512  # more rows than are packed at a time
FOUR_BITS, OTHERS = ("attn_q", "attn_k", "attn_output", "ffn_gate"), ("attn_v", "ffn_up")
# Not ffn_down, whose rows of 48 are no groups of 32, and not the head, of 600 tokens: no multiple of 16.


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ROLESUM_CACHE", str(tmp_path / "cache"))


class OneMatrix(torch.nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.model = torch.nn.Module()
        self.model.layers = torch.nn.ModuleList([torch.nn.Module()])
        self.model.layers[0].mlp = torch.nn.Module()
        self.model.layers[0].mlp.up_proj = torch.nn.Linear(COLUMNS, ROWS, bias=False)
        self.model.layers[0].mlp.up_proj.weight.data = weight


def random_blocks(kind):
    """The bytes of a matrix of a kind: all bits are random but the float16 scales, which are what weights have."""
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    random = np.random.default_rng(3)
    raw = random.integers(0, 256, (ROWS * COLUMNS // block, size), dtype=np.uint8)
    for place in range(0, 2 if kind in ("Q4_0", "Q8_0") else 4, 2):
        raw[:, place : place + 2] = random.uniform(-0.02, 0.02, (len(raw), 1)).astype(np.float16).view(np.uint8)
    return raw


def written(tmp_path, kind, change=lambda weight: weight):
    """The four-bit weights that are written for a file of one matrix, and the matrix as gguf dequantizes it."""
    raw = random_blocks(kind)
    weight = torch.from_numpy(dequantize(raw, GGMLQuantizationType[kind]).reshape(ROWS, COLUMNS).copy())
    (tmp_path / "a.gguf").write_bytes(b"head" + raw.tobytes())
    tensor = GGUFTensor("blk.0.ffn_up.weight", (ROWS, COLUMNS), kind, 0, raw.size)
    header = GGUFHeader(tmp_path / "a.gguf", {}, (tensor,), 4)
    write_int4_weights(header, OneMatrix(change(weight).to(torch.bfloat16)), tmp_path)
    return read_int4_weights(tmp_path), weight


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q4_K"])
def test_the_weights_are_the_files(kind, tmp_path):
    weights, expected = written(tmp_path, kind)
    (name, ours), *_ = weights.items()
    assert name == "model.layers.0.mlp.up_proj"
    largest = expected.view(ROWS, -1, 32).abs().amax(-1, keepdim=True)
    scale = ours.scales.float()[..., 0].T.unsqueeze(-1).abs()  # (rows, groups, 1)
    assert ((ours.dequantized(COLUMNS) - expected).view(ROWS, -1, 32).abs() <= 2**-8 * (largest + 8 * scale)).all()
    assert ours.packed.nbytes == ROWS * COLUMNS / 2


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q4_K"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_torchs_product_is_that_of_the_weights(kind, dtype, tmp_path):
    (ours,) = written(tmp_path, kind)[0].values()
    x = torch.randn(5, COLUMNS, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = torch._weight_int4pack_mm_for_cpu(x, ours.packed, 32, ours.scales.to(dtype))
    expected = x.double() @ ours.dequantized(COLUMNS).double().T
    assert torch.allclose(found.double(), expected, rtol=2**-7 if dtype == torch.bfloat16 else 1e-5, atol=1e-3)


@pytest.mark.parametrize("kind", ["Q4_K", "Q8_0"])
def test_what_is_not_the_files_becomes_a_sum_of_two(kind, tmp_path):
    """Rows in another order than the file's, and weights of more bits."""
    weights, weight = written(tmp_path, kind, lambda weight: weight.flip(0))
    ours = weights["model.layers.0.mlp.up_proj"]
    assert ours.terms(COLUMNS) == 2 and ours.packed.nbytes == ROWS * COLUMNS
    expected = weight.flip(0).to(torch.bfloat16).float().view(ROWS, -1, 32)
    error = (ours.dequantized(COLUMNS).view(ROWS, -1, 32) - expected).abs().amax(-1)
    assert (error <= (expected.amax(-1) - expected.amin(-1)) / 400).all()


def test_a_matrix_of_one_value_is_kept(tmp_path):
    weights, _ = written(tmp_path, "Q8_0", lambda weight: torch.full_like(weight, 0.5))
    assert (weights["model.layers.0.mlp.up_proj"].dequantized(COLUMNS) == 0.5).all()


def test_weights_of_another_kind_of_processor_are_not_used_and_a_line_says_so(tmp_path, monkeypatch, capsys):
    weights, _ = written(tmp_path, "Q4_0")
    assert weights
    monkeypatch.setattr(int4_weights, "_order_name", lambda: "another")
    assert read_int4_weights(tmp_path) == {}
    assert "written on another kind of processor; delete" in capsys.readouterr().err


def a_base(tmp_path, kind="Q4_1"):
    """A GGUF file of a tiny Qwen2 of whose matrices some have four bits; the number of those that can be used."""
    layers = [name for name in tensors_of_qwen(model_dir("qwen2")) if name.startswith("blk.")]
    four_bits = [name for name in layers if name.endswith(".weight") and name.split(".")[2] in FOUR_BITS]
    others = sum(name.split(".")[2] in OTHERS and name.endswith(".weight") for name in layers)
    return write_qwen_gguf(tmp_path / "qwen.gguf", kinds=dict.fromkeys(four_bits, kind)), len(four_bits) + others


def with_lora(loaded):
    """The model with random LoRA on all its linear layers."""
    torch.manual_seed(2)
    config = LoraConfig(r=4, lora_alpha=12, target_modules="all-linear", init_lora_weights=False)
    return replace(loaded, model=get_peft_model(loaded.model, config).eval())


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1"])
def test_logits_are_those_of_the_dequantized_weights(kind, lora, tmp_path):
    path, count = a_base(tmp_path, kind)
    plain, fast = (load_model(path, device="cpu", dtype="float32") for _ in range(2))
    for name, weight in read_int4_weights(plain.path).items():
        plain.model.get_submodule(name).weight.data = weight.dequantized(plain.model.get_submodule(name).in_features)
    if lora:
        plain, fast = with_lora(plain), with_lora(fast)
    assert use_fast_linear(fast) == count
    for tokens in (1, MAX_INT4_ROWS // 2, MAX_INT4_ROWS, MAX_INT4_ROWS + 1):
        ids = torch.arange(5, 5 + tokens)[None]
        with torch.inference_mode():
            found, expected = fast.model(input_ids=ids).logits, plain.model(input_ids=ids).logits
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_in_bfloat16_a_few_rows_and_many_give_nearly_the_same(tmp_path):
    path, count = a_base(tmp_path)
    loaded = load_model(path, device="cpu", dtype="bfloat16")
    assert use_fast_linear(loaded) == count
    layer = loaded.language_model.model.layers[0].mlp.gate_proj
    x = torch.randn(MAX_INT4_ROWS + 1, layer.in_features).to(torch.bfloat16)
    with torch.inference_mode():
        few, many = layer(x[:-1]), layer(x)
    assert not few.equal(many[:-1]) and torch.allclose(few.float(), many[:-1].float(), atol=0.05 * many.float().std())


def test_a_base_without_four_bit_weights_only_has_its_lora_made_faster():
    plain = with_lora(load_model(model_dir("llama"), device="cpu", dtype="float32"))
    ids = torch.arange(5, 25)[None]
    with torch.inference_mode():
        expected = plain.model(input_ids=ids).logits
        assert use_fast_linear(plain) == 0
        layer = plain.language_model.model.layers[0].self_attn.q_proj
        assert type(layer.forward).__name__ == "_FastLinear"
        assert torch.allclose(plain.model(input_ids=ids).logits, expected, rtol=1e-5, atol=1e-5)


def test_summaries_are_scored_by_the_weights_that_wrote_them_and_keep_them(tmp_path):
    """As `rolesum evaluate --labels` scores them, whose forward is that of training."""
    path, _ = a_base(tmp_path)
    loaded = with_lora(load_model(path, device="cpu", dtype="float32"))
    use_fast_linear(loaded)
    layer = loaded.language_model.model.layers[0].self_attn.q_proj
    fast = layer.forward
    dialogue = read_dialogues("sample:dialogues-en-test", ReadOptions(limit=1))[0]
    example = Example(dialogue, "overall", "A claim was paid in part.")
    layout, encode = loaded.layout(), loaded.encoder.encode
    (((*found,),),) = summary_logprobs(loaded, layout, [Bundle(dialogue, (example,))])
    assert layer.forward is fast
    source = encode([*layout.prefix(dialogue), *layout.branch(dialogue, "overall")])
    target = encode(layout.target(example))
    with torch.inference_mode():
        logits = loaded.model(input_ids=torch.tensor([source + target])).logits[0, len(source) - 1 : -1]
    expected = logits.log_softmax(-1).gather(-1, torch.tensor(target)[:, None])[:, 0]
    assert found == pytest.approx(expected.tolist(), abs=1e-4)


def test_an_engine_uses_them(tmp_path):
    path, count = a_base(tmp_path)
    engine = EngineSpec(model=str(path), device="cpu").open()
    layers = engine.loaded.language_model.modules()
    assert sum(getattr(one.forward, "packed", None) is not None for one in layers) == count


def test_a_broken_file_is_refused_with_the_way_out(tmp_path):
    from rolesum.errors import ModelError

    path, _ = a_base(tmp_path)
    loaded = load_model(path, device="cpu")
    (loaded.path / INT4_FILE).write_bytes(b"cut off")
    with pytest.raises(ModelError, match="four-bit weights cannot be read") as caught:
        use_fast_linear(loaded)
    assert str(loaded.path) in caught.value.problems[0].fix
