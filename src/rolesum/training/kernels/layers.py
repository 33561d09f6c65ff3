"""Norms and gated units that keep little for the backward: what is cheap to compute again is computed again.

transformers' RMS norm keeps two float32 copies of its input, its gated unit the activation beside its two inputs. Here
a norm keeps its input and one number a token, a gated unit its inputs. The numbers are the library's up to rounding
(tests/equality/test_fast_layers.py).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import nn
from transformers.activations import GELUTanh, SiLUActivation

aten = torch.ops.aten

# Class names of the library's norms: weight * x / rms(x), and (1 + weight) * x / rms(x) in float32.
NORMS = {"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "GlmRMSNorm"}
NORMS_ABOUT_ONE = {"GemmaRMSNorm", "Gemma2RMSNorm", "Gemma3RMSNorm"}
# Units of the form down(act(gate(x)) * up(x)).
GATED_UNITS = {"LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP", "GemmaMLP", "Gemma2MLP", "Gemma3MLP"}

# Tokens whose float32 copies exist at one time.
CHUNK_TOKENS = {"cpu": 256}

Backward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _gelu_tanh_backward(grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return aten.gelu_backward(grad, x, approximate="tanh")


# Activation -> the gradient of its input.
ACTIVATIONS: dict[type[nn.Module], Backward] = {
    SiLUActivation: aten.silu_backward,
    nn.SiLU: aten.silu_backward,
    GELUTanh: _gelu_tanh_backward,
}


@contextmanager
def fused_layers(model: nn.Module) -> Iterator[int]:
    """Inside, every norm and gated unit that this covers computes so; gives their number."""
    covered: list[nn.Module] = []
    for module in model.modules():
        name = type(module).__name__
        if name in NORMS | NORMS_ABOUT_ONE:
            module.forward = MethodType(_norm_forward, module)
        elif name in GATED_UNITS and type(module.act_fn) in ACTIVATIONS:
            module.forward = MethodType(_unit_forward, module)
        else:
            continue
        covered.append(module)
    try:
        yield len(covered)
    finally:
        for module in covered:
            del module.forward


class RMSNormFunction(torch.autograd.Function):
    """y = w x / rms, with rms = sqrt(mean(x^2) + eps).

    As Llama rounds it: x / rms to x's dtype, then times w. `about_one`: as Gemma does, (1 + w) x / rms in float32.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float, about_one: bool) -> torch.Tensor:
        exact = torch.promote_types(x.dtype, torch.float32)
        out, inverse = x.new_empty(x.shape), x.new_empty(*x.shape[:-1], 1, dtype=exact)
        for x_some, out_some, inverse_some in _pieces(x, out, inverse):
            wide = x_some.to(exact)
            torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps, out=inverse_some)
            normal = wide * inverse_some
            if about_one:
                out_some.copy_(normal.mul_(1.0 + weight.to(exact)))
            else:
                torch.mul(weight, normal.to(x.dtype), out=out_some)
        ctx.save_for_backward(x, weight, inverse)
        ctx.about_one = about_one
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        factor = 1.0 + weight.to(inverse.dtype) if ctx.about_one else weight
        x_grad = x.new_empty(x.shape)
        weight_grad = torch.zeros_like(weight, dtype=inverse.dtype) if ctx.needs_input_grad[1] else None
        for x_some, inverse_some, grad_some, out_some in _pieces(x, inverse, grads[0], x_grad):
            normal = x_some * inverse_some  # float32
            grad = grad_some.to(inverse.dtype) if ctx.about_one else grad_some
            if weight_grad is not None:
                rounded = normal if ctx.about_one else normal.to(x.dtype)
                weight_grad += (grad * rounded).sum(0, dtype=inverse.dtype)
            onto = (grad * factor).to(inverse.dtype)
            along = (onto * normal).mean(-1, keepdim=True)
            out_some.copy_(onto.addcmul_(normal, along, value=-1).mul_(inverse_some))
        return x_grad, None if weight_grad is None else weight_grad.to(weight.dtype), None, None


def _pieces(*tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Pieces of (…, width) tensors, the same tokens of each: on a processor, so few that they stay in its cache."""
    flat = [tensor.flatten(0, -2) for tensor in tensors]
    size = CHUNK_TOKENS.get(tensors[0].device.type, max(1, len(flat[0])))
    return zip(*(tensor.split(size) for tensor in flat), strict=True)


class GatedMLPFunction(torch.autograd.Function):
    """y = act(gate) * up."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor, act: nn.Module) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        ctx.act = act
        return act(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        up_grad = ctx.act(gate).mul_(grads[0])
        return ACTIVATIONS[type(ctx.act)](grads[0] * up, gate), up_grad, None


def _norm_forward(self: Any, x: torch.Tensor) -> torch.Tensor:
    about_one = type(self).__name__ in NORMS_ABOUT_ONE
    return RMSNormFunction.apply(x, self.weight, self.eps if about_one else self.variance_epsilon, about_one)


def _unit_forward(self: Any, x: torch.Tensor) -> torch.Tensor:
    return self.down_proj(GatedMLPFunction.apply(self.gate_proj(x), self.up_proj(x), self.act_fn))
