"""Norms and gated units give the library's outputs and gradients, and keep less for the backward."""

import pytest
import torch
from test_bundles import prepared
from torch import nn
from transformers import Gemma3TextConfig, LlamaConfig
from transformers.models.gemma3.modeling_gemma3 import Gemma3MLP, Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

from rolesum.training.kernels.layers import CHUNK_TOKENS, GatedMLPFunction, RMSNormFunction, fused_layers

SIZES = {"hidden_size": 12, "intermediate_size": 20, "num_attention_heads": 4}
MODULES = {
    "llama-norm": lambda: LlamaRMSNorm(12),
    "gemma-norm": lambda: Gemma3RMSNorm(12),
    "llama-unit": lambda: LlamaMLP(LlamaConfig(**SIZES)),
    "gemma-unit": lambda: Gemma3MLP(Gemma3TextConfig(**SIZES)),
}


def made(name, dtype=torch.float32, trained=True):
    torch.manual_seed(1)
    module = MODULES[name]().to(dtype)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.requires_grad_(trained)


def ran(module, dtype=torch.float32):
    x = (torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(2)) * 3).to(dtype).requires_grad_()
    module.zero_grad(set_to_none=True)
    y = module(x)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(3))
    (y.float() * weight).sum().backward()
    return [y.detach(), x.grad, *(one.grad for one in module.parameters() if one.requires_grad)]


def ran_fast(module, dtype=torch.float32):
    with fused_layers(module) as covered:
        assert covered == 1
        found = ran(module, dtype)
    assert "forward" not in vars(module)
    return found


@pytest.mark.parametrize("trained", [True, False], ids=["trained", "frozen"])
@pytest.mark.parametrize("name", MODULES)
def test_outputs_and_gradients_are_the_librarys(name, trained):
    module = made(name, trained=trained)
    theirs, ours = ran(module), ran_fast(module)
    assert len(ours) == len(theirs) == 2 + len(list(module.parameters())) * trained
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("size", [1, 4, 5, 6], ids=lambda size: f"pieces of {size}")
@pytest.mark.parametrize("name", ["llama-norm", "gemma-norm"])
def test_a_norm_of_several_pieces_is_the_librarys_however_its_input_lies_in_memory(name, size, monkeypatch):
    monkeypatch.setitem(CHUNK_TOKENS, "cpu", size)
    norm = made(name)
    x = torch.randn(12, 5, 3).transpose(0, 2).requires_grad_()
    assert not x.is_contiguous()
    weight = torch.randn(12, 3, 5).movedim(0, 2)

    def run():
        norm.zero_grad(set_to_none=True)
        y = norm(x)
        return [y.detach(), *torch.autograd.grad((y * weight).sum(), [x, norm.weight])]

    theirs = run()
    with fused_layers(norm):
        ours = run()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("name", MODULES)
def test_in_bfloat16_they_are_as_near_to_the_exact_numbers_as_the_librarys(name):
    module = made(name, torch.bfloat16)
    theirs, ours = ran(module, torch.bfloat16), ran_fast(module, torch.bfloat16)
    exact = ran(module.to(torch.float64), torch.float64)
    assert ours[0].dtype == torch.bfloat16
    if name.endswith("norm"):
        assert torch.equal(ours[0], theirs[0])
    for one, other, right in zip(ours, theirs, exact, strict=True):
        off, theirs_off = ((each.double() - right).norm() / right.norm() for each in (one, other))
        assert 0 < off < max(1.5 * theirs_off, 2**-8)


def test_the_gradients_are_those_of_the_formulas():
    """In float64 against finite differences: independent of the library."""
    random = torch.Generator().manual_seed(4)
    x, gate, up = (torch.randn(3, 6, generator=random, dtype=torch.float64, requires_grad=True) for _ in range(3))
    weight = torch.randn(6, generator=random, dtype=torch.float64, requires_grad=True)
    for about_one in (False, True):
        assert torch.autograd.gradcheck(lambda x, w, one=about_one: RMSNormFunction.apply(x, w, 1e-6, one), (x, weight))
    assert torch.autograd.gradcheck(lambda gate, up: GatedMLPFunction.apply(gate, up, nn.SiLU()), (gate, up))


@pytest.mark.parametrize("name", MODULES)
def test_less_is_kept_for_the_backward(name):
    """Counted with frozen weights in bfloat16, as under LoRA: bytes of all saved tensors."""

    def kept(run):
        sizes = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda one: sizes.setdefault((one.data_ptr(), one.numel()), one) if one is not None else one,
            lambda one: one,
        ):
            run()
        return sum(one.numel() * one.element_size() for one in sizes.values())

    module = made(name, torch.bfloat16, trained=False)
    x = torch.randn(3, 50, 12, dtype=torch.bfloat16, requires_grad=True)
    theirs = kept(lambda: module(x))
    with fused_layers(module):
        assert kept(lambda: module(x)) < 0.8 * theirs


def test_every_norm_and_unit_of_the_families_is_covered():
    for kind, per_layer in (("llama", 3), ("qwen2", 3), ("mistral", 3), ("gemma3", 7)):
        loaded, model, _ = prepared(kind)
        with fused_layers(model) as covered:
            assert covered == per_layer * loaded.language_model.config.num_hidden_layers + 1
    with fused_layers(prepared("bloom")[1]) as covered:
        assert covered == 0
