"""Linear layers for generation on a CPU, where the time of a decoding step is the time to read the weights.

The product with a few rows reads the base's 4-bit weights, if it has them (models/int4_weights.py); that with many
rows, as in a prefill, the ones in the model's dtype. The products of LoRA are added in place, while PEFT makes a pass
over the output for each operation: of few rows in float32, of many in the model's dtype. The results differ by rounding
only (tests/equality/test_int4_linear.py).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from rolesum.file_state import unchanged_while_read
from rolesum.models.adapters import attach_adapter, check_fingerprint, is_plain_lora
from rolesum.models.int4_weights import GROUP, Int4Weight, one_thread, read_int4_weights
from rolesum.models.plain_lora import LowRank, read_plain_lora
from rolesum.models.prompt_model import LoadedModel

# Up to this many rows the 4-bit product is faster than that in bfloat16, on two cores of an Intel Xeon with AMX (than
# that in float32, up to more). Half as many for a matrix that is a sum of two.
MAX_INT4_ROWS = 10
_DTYPES = (torch.bfloat16, torch.float32)


class _FastLinear:
    """y = x W' + bias + s (x A') B', of x (…, in), by the fastest product for the number of its rows."""

    def __init__(self, layer: nn.Linear, low_rank: tuple[torch.Tensor, torch.Tensor] | None) -> None:
        """`low_rank` is A' (in, rank) and s B' (rank, out)."""
        self.weight, self.bias, self.low_rank = layer.weight, layer.bias, low_rank
        self.low_rank_float32: tuple[torch.Tensor, torch.Tensor] | None = None  # beside 4-bit weights
        self.packed: torch.Tensor | None = None
        self.scales = layer.weight
        self.terms = 1

    def use_int4(self, weight: Int4Weight) -> None:
        """Use these weights for a few rows.

        A float32 weight, read from bfloat16, is replaced by their exact values; so are embeddings tied to the head.
        """
        self.packed = weight.packed
        if self.low_rank is not None:
            self.low_rank_float32 = (self.low_rank[0].float(), self.low_rank[1].float())
        self.scales = weight.scales.to(self.weight.dtype)
        self.terms = weight.terms(self.weight.shape[1])
        if self.weight.dtype == torch.float32:
            self.weight.data.copy_(weight.dequantized(self.weight.shape[1]))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(0, -2)  # (rows, in)
        if self.packed is not None and self.terms * len(flat) <= MAX_INT4_ROWS:
            columns = flat if self.terms == 1 else flat.repeat(1, self.terms)
            out = torch._weight_int4pack_mm_for_cpu(columns, self.packed, GROUP, self.scales)
            if self.bias is not None:
                out += self.bias
            if self.low_rank_float32 is not None:  # of a few rows, the products in float32 take a third of the time
                a, b = self.low_rank_float32
                out += flat.float() @ a @ b
        else:
            out = nn.functional.linear(flat, self.weight, self.bias)
            if self.low_rank is not None:
                a, b = self.low_rank
                out.addmm_(flat @ a, b)
        return out.view(*x.shape[:-1], len(self.weight))


def prepare_for_generation(loaded: LoadedModel) -> None:
    """Add the adapter of a model that was loaded without it, and let the linear layers of a CPU compute as above.

    LoRA's matrices are merged into the weights of layers that have no 4-bit weights, in float32. For inference only: no
    gradient is kept, and what is merged stays. Raises as attach_adapter and use_fast_linear do.
    """
    low_rank = None
    if (adapter := loaded.adapter) is not None:
        fix = f"load it with --model {loaded.metadata.get('base')}"
        check_fingerprint(loaded.metadata, loaded.fingerprint, loaded.name, adapter, fix)
        with unchanged_while_read(adapter, "run the same command again"):
            low_rank = read_plain_lora(adapter, loaded.language_model)
        if low_rank is None:
            loaded.model = attach_adapter(loaded.language_model, adapter, loaded.fingerprint, loaded.name)
            loaded.model.eval()
    use_fast_linear(loaded, low_rank)


def use_fast_linear(loaded: LoadedModel, low_rank: Mapping[str, LowRank] | None = None) -> int:
    """Let the linear layers of a model on a CPU compute as above; returns the number of those with 4-bit weights.

    `low_rank` is LoRA that the model does not have yet, by the name of its layer; where it is not used beside 4-bit
    weights, it is merged, on all devices. For inference only: nothing is kept for a backward, and LoRA's weights are
    read once. Models on other devices, in other dtypes or quantized are left as they are, and so are layers that are
    more than a product with plain LoRA. In float32 the weights change: load the model again to export or train it.

    Raises ModelError where the file of the 4-bit weights cannot be read.
    """
    model, added = loaded.model, dict(low_rank or {})
    has_product = hasattr(torch, "_weight_int4pack_mm_for_cpu")
    weights: dict[str, Int4Weight] = {}
    if loaded.device.type == "cpu" and model.dtype in _DTYPES and has_product:
        weights = read_int4_weights(loaded.path)
    fast: dict[str, _FastLinear] = {}
    has_peft = not isinstance(model, PreTrainedModel)
    for name, layer in loaded.language_model.named_modules():
        if has_peft and loaded.device.type == "cpu" and model.dtype in _DTYPES and is_plain_lora(layer):
            fast[name] = _FastLinear(layer.base_layer, _low_rank(layer))
        elif type(layer) is nn.Linear and name in weights:
            own = added.pop(name, None)
            fast[name] = _FastLinear(layer, _factors(own.a, own.b, layer.weight.dtype) if own else None)
        else:
            continue
        layer.forward = fast[name]
    for name, found in added.items():
        found.merge_into(loaded.language_model.get_parameter(f"{name}.weight"))
    used = [name for name in weights if name in fast]
    with one_thread():
        for name in used:
            fast[name].use_int4(weights.pop(name))
    return len(used)


def _low_rank(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """A' (in, rank) and s B' (rank, out) of a layer with LoRA by PEFT, in the dtype of its base."""
    name, dtype = layer.active_adapters[0], layer.base_layer.weight.dtype
    a, b = layer.lora_A[name].weight.detach(), layer.lora_B[name].weight.detach()
    return _factors(a, layer.scaling[name] * b, dtype)


def _factors(a: torch.Tensor, b: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    return a.T.to(dtype), b.T.to(dtype)
