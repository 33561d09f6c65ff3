"""The fast LoRA layer gives PEFT's outputs and gradients, and leaves alone every layer that it does not cover."""

import math

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear as LoraLinear
from test_bundles import as_batches, assert_same, prepared
from torch import nn
from transformers.pytorch_utils import Conv1D

from rolesum.training.kernels.lora import LoRALinearFunction, fused_lora

WIDTH, HIDDEN, OUT = 24, 40, 16


class TwoLayers(nn.Module):
    """`first` gets the input itself, `second` something that needs a gradient."""

    def __init__(self, bias=False, kind=nn.Linear):
        super().__init__()
        self.first = kind(WIDTH, HIDDEN, bias=bias)
        self.second = nn.Linear(HIDDEN, OUT, bias=bias)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def adapted(base=None, dtype=torch.float32, **options):
    """Two linear layers with LoRA layers whose A and B are both random, so that all gradients are there."""
    torch.manual_seed(1)
    model = (base or TwoLayers()).to(dtype)
    settings = {"r": 4, "lora_alpha": 12, "init_lora_weights": False, **options}
    return get_peft_model(model, LoraConfig(target_modules=["first", "second"], **settings))


def an_input(*shape, dtype=torch.float32):
    return torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(2)).to(dtype)


def ran(model, x, needs_grad=True):
    """The output, and the gradients of every trained parameter and of the input, of one pass in the layers as set."""
    model.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_(needs_grad)
    y = model(x)
    y.float().square().sum().backward()
    found = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    return y.detach(), found | ({"input": x.grad.clone()} if needs_grad else {})


def ran_fast(model, x, needs_grad=True):
    with fused_lora(model) as covered:
        assert covered == 2
        return ran(model, x, needs_grad)


def assert_close(ours, theirs):
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-5)
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in theirs[1].items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(
            ours[1][name], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()), msg=name
        )


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 1)])
@pytest.mark.parametrize("bias", [False, True])
def test_output_and_gradients_of_a_b_and_input_are_pefts(bias, shape):
    model, x = adapted(TwoLayers(bias)), an_input(*shape)
    ours, theirs = ran_fast(model, x), ran(model, x)
    assert {name.rpartition("lora_")[2][:1] for name in theirs[1] if name != "input"} == {"A", "B"}
    assert len(theirs[1]) == 5  # two A, two B, the input; nothing of the base
    assert_close(ours, theirs)


def test_a_first_layer_whose_input_needs_no_gradient_trains_all_the_same():
    model, x = adapted(TwoLayers(bias=True)), an_input(3, 5)
    ours, theirs = ran_fast(model, x, needs_grad=False), ran(model, x, needs_grad=False)
    assert len(theirs[1]) == 4
    assert_close(ours, theirs)


def test_an_input_that_does_not_lie_in_one_piece_is_computed_as_any_other():
    model, x = adapted(TwoLayers(bias=True)), an_input(6, 10)[::2, 1::3].transpose(0, 1)
    assert not x.is_contiguous()
    assert_close(ran_fast(model, x), ran(model, x))


def test_without_gradients_the_output_is_pefts_too():
    model, x = adapted(TwoLayers(bias=True)), an_input(3, 5)
    with torch.no_grad():
        expected = model(x)
        with fused_lora(model) as covered:
            assert covered == 2
            torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-5)


def test_the_gradients_are_those_of_the_formula():
    """In float64 against finite differences: independent of PEFT."""
    made = torch.Generator().manual_seed(3)
    x, weight, bias, a, b = (
        torch.randn(*shape, generator=made, dtype=torch.float64) for shape in ((2, 3, 5), (4, 5), (4,), (2, 5), (4, 2))
    )
    trained = [one.requires_grad_() for one in (x, a, b)]
    assert torch.autograd.gradcheck(lambda x, a, b: LoRALinearFunction.apply(x, weight, bias, a, b, 0.7), trained)
    assert torch.autograd.gradcheck(lambda x, a, b: LoRALinearFunction.apply(x, weight, None, a, b, 0.7), trained)


def test_in_bfloat16_outputs_and_gradients_are_right_within_bfloat16s_rounding():
    """Against the same numbers computed in float32 throughout."""
    model, x = adapted(TwoLayers(bias=True), dtype=torch.bfloat16), an_input(8, 16, dtype=torch.bfloat16)
    kinds = {type(one) for one in model.modules()}
    assert LoraLinear in kinds and {one.dtype for one in model.parameters() if one.requires_grad} == {torch.float32}
    ours = ran_fast(model, x)
    exact = ran(model.to(torch.float32), x.float())
    assert ours[0].dtype == torch.bfloat16
    assert all(gradient.dtype == torch.float32 for name, gradient in ours[1].items() if name != "input")
    for name, (found, expected) in {
        "output": (ours[0], exact[0]),
        **{name: (ours[1][name], expected) for name, expected in exact[1].items()},
    }.items():
        off = (found.float() - expected).norm() / expected.norm()
        assert off < 2**-6, (name, float(off))  # one rounding is up to 2**-8, and a few follow one another
        assert off > 0, name  # it was computed in bfloat16


@pytest.mark.parametrize("rslora", [False, True])
def test_the_scale_is_alpha_over_r_and_with_rslora_alpha_over_its_root(rslora):
    model, x = adapted(r=9, lora_alpha=6, use_rslora=rslora), an_input(4)
    layer = model.base_model.model.first
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    scale = 6 / (math.sqrt(9) if rslora else 9)
    expected = x @ layer.base_layer.weight.T + scale * (x @ a.T @ b.T)
    with fused_lora(model) as covered, torch.no_grad():
        assert covered == 2
        torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)


def merged(model):
    model.merge_adapter()
    return model


def disabled(model):
    model.base_model.disable_adapter_layers()
    return model


def with_two_active(model):
    config = LoraConfig(r=2, lora_alpha=3, init_lora_weights=False, target_modules=["first", "second"])
    model.add_adapter("other", config)
    model.base_model.set_adapter(["default", "other"])
    return model


class Unusual(nn.Linear):
    """A linear layer of another kind, as quantized ones are: its weights may not be what one multiplies with."""

    def forward(self, x):
        return 2 * super().forward(x)


LEFT = {
    "DoRA": lambda: adapted(use_dora=True),
    "dropout": lambda: adapted(lora_dropout=0.5),
    "a bias of the adapter's own": lambda: adapted(TwoLayers(bias=True), lora_bias=True),
    "merged": lambda: merged(adapted()),
    "disabled": lambda: disabled(adapted()),
    "several adapters": lambda: with_two_active(adapted()),
}


@pytest.mark.parametrize("name", LEFT)
def test_pefts_forward_stays_in_place_for(name):
    model, x = LEFT[name](), an_input(3, 5)
    torch.manual_seed(5)
    expected = model(x)
    with fused_lora(model) as covered:
        assert covered == 0
        torch.manual_seed(5)
        assert torch.equal(model(x), expected)


def test_a_base_layer_of_another_kind_keeps_pefts_forward_and_its_neighbor_is_covered():
    model, x = adapted(TwoLayers(kind=Unusual)), an_input(3, 5)
    theirs = ran(model, x)
    with fused_lora(model) as covered:
        assert covered == 1
        ours = ran(model, x)
    assert_close(ours, theirs)


def test_gpt2s_transposed_linear_layer_keeps_pefts_forward():
    class Transposed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = Conv1D(WIDTH, WIDTH)

        def forward(self, x):
            return self.first(x)

    config = LoraConfig(r=4, init_lora_weights=False, target_modules=["first"], fan_in_fan_out=True)
    model, x = get_peft_model(Transposed(), config), an_input(3, 5)
    expected = model(x)
    with fused_lora(model) as covered:
        assert covered == 0
        assert torch.equal(model(x), expected)


def test_a_layer_in_four_bits_keeps_pefts_forward():
    four_bit = pytest.importorskip("bitsandbytes").nn.Linear4bit
    base = TwoLayers()
    base.first = four_bit(WIDTH, HIDDEN, bias=False, quant_type="nf4").to("cpu")
    config = LoraConfig(r=4, init_lora_weights=False, target_modules=["first"])
    with fused_lora(get_peft_model(base, config)) as covered:
        assert covered == 0


def test_of_two_adapters_the_active_one_is_computed():
    model, x = with_two_active(adapted()), an_input(3, 5)
    model.set_adapter("other")
    theirs = ran(model, x)
    assert all("other" in name for name in theirs[1] if name != "input")
    assert_close(ran_fast(model, x), theirs)


def test_pefts_forward_is_back_after_the_context_also_after_an_error():
    model = adapted()
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLinear)]
    with fused_lora(model):
        assert all("forward" in vars(layer) for layer in layers)
    assert not any("forward" in vars(layer) for layer in layers)
    with pytest.raises(KeyError), fused_lora(model):
        raise KeyError
    assert not any("forward" in vars(layer) for layer in layers)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma3", "bloom"])
def test_a_whole_models_loss_and_lora_gradients_are_those_of_pefts_layers(kind):
    loaded, model, encoded = prepared(kind)
    expected = as_batches(loaded, model, [encoded])
    with fused_lora(model) as covered:
        assert covered == sum(isinstance(layer, LoraLinear) for layer in model.modules()) > 0
        ours = as_batches(loaded, model, [encoded])
    assert_same(ours, expected)


def test_with_activations_computed_again_the_gradients_are_the_same():
    loaded, model, encoded = prepared("llama")
    expected = as_batches(loaded, model, [encoded])
    loaded.language_model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    with fused_lora(model) as covered:
        assert covered == 21
        assert_same(as_batches(loaded, model, [encoded]), expected)
