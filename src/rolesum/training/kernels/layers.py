"""RMS norms and gated MLPs that keep little for the backward: what is cheap is computed again there.

transformers' RMS norm keeps two float32 copies of its input, its gated MLP the activation beside its two inputs. Here
a norm keeps its input and one number per token, a gated MLP its inputs. The numbers are the library's up to rounding
(tests/equality/test_fast_layers.py).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import MethodType
from typing import Any

import torch
from torch import nn
from transformers.activations import GELUTanh, SiLUActivation

from rolesum.training.loss import replaced_forward

aten = torch.ops.aten

# Class names of the library's norms: weight * x / rms(x), and (1 + weight) * x / rms(x) in float32.
NORMS = {"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "GlmRMSNorm"}
ONE_CENTERED_NORMS = {"GemmaRMSNorm", "Gemma2RMSNorm", "Gemma3RMSNorm"}
# MLPs of the form down(act(gate(x)) * up(x)).
GATED_MLPS = {"LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP", "GemmaMLP", "Gemma2MLP", "Gemma3MLP"}

# Tokens whose float32 copies exist at one time.
CHUNK_TOKENS = {"cpu": 256}

Backward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _gelu_tanh_backward(grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = aten.gelu_backward(grad, x, approximate="tanh")
    return out


# Activation -> the gradient of its input.
ACTIVATIONS: dict[type[nn.Module], Backward] = {
    SiLUActivation: aten.silu_backward,
    nn.SiLU: aten.silu_backward,
    GELUTanh: _gelu_tanh_backward,
}


@contextmanager
def fused_layers(model: nn.Module) -> Iterator[int]:
    """Inside, the RMS norms and gated MLPs of known classes use the functions below; yields their number."""
    covered = 0
    with ExitStack() as stack:
        for module in model.modules():
            name = type(module).__name__
            if name in NORMS | ONE_CENTERED_NORMS:
                forward = _norm_forward
            elif name in GATED_MLPS and type(module.act_fn) in ACTIVATIONS:
                forward = _mlp_forward
            else:
                continue
            stack.enter_context(replaced_forward(module, MethodType(forward, module)))
            covered += 1
        yield covered


class RMSNormFunction(torch.autograd.Function):
    """y = w x / rms, with rms = sqrt(mean(x^2) + eps).

    x is (…, hidden), w (hidden,). As Llama rounds it: x / rms to x's dtype, then times w. With `one_centered` as Gemma
    does: (1 + w) x / rms in float32.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float, one_centered: bool) -> torch.Tensor:
        exact = torch.promote_types(x.dtype, torch.float32)
        out, inverse = x.new_empty(x.shape), x.new_empty(*x.shape[:-1], 1, dtype=exact)
        for x_some, out_some, inverse_some in _chunks(x, out, inverse):
            wide = x_some.to(exact)
            torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps, out=inverse_some)
            normal = wide * inverse_some
            if one_centered:
                out_some.copy_(normal.mul_(1.0 + weight.to(exact)))
            else:
                torch.mul(weight, normal.to(x.dtype), out=out_some)
        ctx.save_for_backward(x, weight, inverse)
        ctx.one_centered = one_centered
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        factor = 1.0 + weight.to(inverse.dtype) if ctx.one_centered else weight
        x_grad = x.new_empty(x.shape)
        weight_grad = torch.zeros_like(weight, dtype=inverse.dtype) if ctx.needs_input_grad[1] else None
        for x_some, inverse_some, grad_some, out_some in _chunks(x, inverse, grads[0], x_grad):
            normal = x_some * inverse_some  # float32
            grad = grad_some.to(inverse.dtype) if ctx.one_centered else grad_some
            if weight_grad is not None:
                rounded = normal if ctx.one_centered else normal.to(x.dtype)
                weight_grad += (grad * rounded).sum(0, dtype=inverse.dtype)
            onto = (grad * factor).to(inverse.dtype)
            along = (onto * normal).mean(-1, keepdim=True)
            out_some.copy_(onto.addcmul_(normal, along, value=-1).mul_(inverse_some))
        return x_grad, None if weight_grad is None else weight_grad.to(weight.dtype), None, None


def _chunks(*tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Chunks of (…, hidden) tensors, the same tokens of each: on a CPU, so few that they stay in its cache."""
    flat = [tensor.flatten(0, -2) for tensor in tensors]  # (tokens, hidden)
    size = CHUNK_TOKENS.get(tensors[0].device.type, max(1, len(flat[0])))
    return zip(*(torch.split(tensor, size) for tensor in flat), strict=True)


class GatedMLPFunction(torch.autograd.Function):
    """y = act(gate) * up, of (…, intermediate) each."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor, act: nn.Module) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        ctx.act = act
        out: torch.Tensor = act(gate).mul_(up)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        up_grad = ctx.act(gate).mul_(grads[0])
        return ACTIVATIONS[type(ctx.act)](grads[0] * up, gate), up_grad, None


def _norm_forward(self: Any, x: torch.Tensor) -> torch.Tensor:
    one_centered = type(self).__name__ in ONE_CENTERED_NORMS
    eps = self.eps if one_centered else self.variance_epsilon
    out: torch.Tensor = RMSNormFunction.apply(  # type: ignore[no-untyped-call]  # torch does not annotate it
        x, self.weight, eps, one_centered
    )
    return out


def _mlp_forward(self: Any, x: torch.Tensor) -> torch.Tensor:
    inner = GatedMLPFunction.apply(  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.gate_proj(x), self.up_proj(x), self.act_fn
    )
    out: torch.Tensor = self.down_proj(inner)
    return out
