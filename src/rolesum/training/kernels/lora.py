"""A fused forward and backward of LoRA layers (arXiv 2106.09685): x W' + s (x A') B' with one in-place addition.

PEFT's own layer scales and adds in separate passes over the whole output, casts the input to the adapter's float32,
and keeps the results of those passes for the backward. Here the low-rank products run in the base's dtype and are
added to the base's product in place. The numbers are PEFT's up to rounding (tests/equality/test_fast_lora.py).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn

from rolesum.models.adapters import is_plain_lora
from rolesum.training.loss import replaced_forward


class LoRALinearFunction(torch.autograd.Function):
    """y = x W' + bias + s (x A') B' of x (…, in), for a frozen W (out, in) and trained A (rank, in), B (out, rank)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        flat = x.flatten(0, -2)  # (tokens, in)
        a_cast, b_cast = a.to(x.dtype), b.to(x.dtype)
        low_rank = flat @ a_cast.T  # (tokens, rank)
        out = x.new_empty(*x.shape[:-1], len(weight))  # no view, which a model could not change in place (Gemma 3n)
        product = out.view(-1, len(weight))  # (tokens, out)
        if bias is None:
            torch.mm(flat, weight.T, out=product)
        else:
            torch.addmm(bias, flat, weight.T, out=product)
        product.addmm_(low_rank, b_cast.T, alpha=scale)
        ctx.save_for_backward(flat, weight, a_cast, b_cast, low_rank)
        ctx.scale, ctx.shape = scale, x.shape
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        flat, weight, a, b, low_rank = ctx.saved_tensors
        grad = grads[0].flatten(0, -2)  # (tokens, out)
        low_rank_grad = (grad @ b).mul_(ctx.scale)  # (tokens, rank)
        b_grad = (grad.T @ low_rank).mul_(ctx.scale)
        a_grad = low_rank_grad.T @ flat
        x_grad = (grad @ weight).addmm_(low_rank_grad, a).view(ctx.shape) if ctx.needs_input_grad[0] else None
        return x_grad, None, None, a_grad, b_grad, None


@contextmanager
def fused_lora(model: nn.Module) -> Iterator[int]:
    """Inside, the LoRA layers that LoRALinearFunction covers use it; yields their number. Others keep their forward.

    Covered are plain ones (see is_plain_lora) without dropout.
    """
    covered: list[nn.Module] = [one for one in model.modules() if is_plain_lora(one) and _has_no_dropout(one)]
    with ExitStack() as stack:
        for layer in covered:
            stack.enter_context(replaced_forward(layer, MethodType(_forward, layer)))
        yield len(covered)


def _has_no_dropout(layer: Any) -> bool:
    return isinstance(layer.lora_dropout[layer.active_adapters[0]], nn.Identity)


def _forward(self: LoraLinear, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    name, base = self.active_adapters[0], self.base_layer
    a, b = self.lora_A[name].weight, self.lora_B[name].weight  # read at each call: FSDP replaces them
    out: torch.Tensor = LoRALinearFunction.apply(  # type: ignore[no-untyped-call]  # torch does not annotate it
        x, base.weight, base.bias, a, b, self.scaling[name]
    )
    return out
