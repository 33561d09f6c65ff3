"""The four-bit weights of a GGUF file, kept beside the bfloat16 ones that are made of them, for decoding on a CPU.

A matrix of Q4_0, Q4_1 or Q4_K has in each row, for every 32 weights, a scale s and an offset z, and for every weight a
number q of four bits: w = (q - 8) s + z. That is also the form of torch's four-bit product, so that a matrix needs no
second rounding; only s and z are rounded to bfloat16, by less than a hundredth of the distance s of two weights.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rolesum.errors import ModelError, error_summary
from rolesum.models.gguf_header import GGUFHeader, GGUFTensor

INT4_FILE = Path("int4") / "weights.safetensors"  # not beside the model's, which other programs read all
GROUP = 32  # weights of one scale
_MIDDLE = 8  # the q of a weight that is z
_ROWS = 256  # packed at a time: a multiple of the rows that the product reads together, which are 64 or fewer
_SUPER_BLOCK = 256  # weights of a block of Q4_K
# llama.cpp's names of the matrices of a block, and the modules of transformers that hold them.
_MODULES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_MATRIX = re.compile(rf"blk\.(\d+)\.({'|'.join(_MODULES)})\.weight")
# How far a stored weight may lie from the one made of q, s and z, by the largest of its group: both are rounded to
# bfloat16. Rows in another order (llama.cpp permutes those of Llama's q and k) differ by far more.
_TOLERANCE = 2.0**-6

Parts = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Int4Weight:
    """A matrix (out, in): `packed` (out, in / 2) holds two q in a byte, the even column in the low half.

    `scales` (in / 32, out, 2), in bfloat16, holds s and z.
    """

    packed: torch.Tensor
    scales: torch.Tensor

    def for_product(self) -> torch.Tensor:
        """The weights as torch's four-bit product on a CPU takes them (out, in / 2): in an order of the processor's.

        torch makes it from q as int32, eight times the bytes, so that it is done for some rows at a time.
        """
        out = torch.empty_like(self.packed)
        for start in range(0, len(out), _ROWS):
            rows = slice(start, start + _ROWS)
            out[rows] = torch._convert_weight_to_int4pack_for_cpu(_unpacked(self.packed[rows]), 1)
        return out

    def dequantized(self) -> torch.Tensor:
        """The weights (out, in) in float32."""
        scale, offset = self.scales.float().permute(2, 1, 0).unsqueeze(-1)  # (out, in / 32, 1) each
        q = _unpacked(self.packed).view(len(self.packed), -1, GROUP) - _MIDDLE
        weights: torch.Tensor = (q * scale + offset).flatten(1)
        return weights


def _unpacked(packed: torch.Tensor) -> torch.Tensor:
    """q (out, in), from 0 to 15, of packed bytes (out, in / 2), as int32."""
    q = torch.empty(*packed.shape, 2, dtype=torch.int32)
    torch.bitwise_and(packed, 15, out=q[..., 0])
    torch.bitwise_right_shift(packed, 4, out=q[..., 1])
    return q.flatten(1)


def write_int4_weights(header: GGUFHeader, model: torch.nn.Module, directory: Path) -> int:
    """Write INT4_FILE with the matrices of the file that have four bits; their number. None, no file.

    `model` is what was made of the file. A matrix is left out where it is not the module's weight up to rounding: the
    converter may have changed the order of its rows.
    """
    from safetensors.torch import save_file

    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    found: dict[str, torch.Tensor] = {}
    for name, tensor in _matrices(header):
        weight = _read(header, tensor) if name in layers else None
        if weight is not None and _agrees(weight, layers[name].weight):
            found |= {f"{name}.packed": weight.packed, f"{name}.scales": weight.scales}
    if found:
        (directory / INT4_FILE).parent.mkdir()
        save_file(found, directory / INT4_FILE)
    return len(found) // 2


def read_int4_weights(directory: Path) -> dict[str, Int4Weight]:
    """The matrices of INT4_FILE by the names of their modules; none where there is no such file.

    Raises ModelError where it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = directory / INT4_FILE
    if not file.is_file():
        return {}
    try:
        stored = load_file(file)
    except (OSError, SafetensorError) as error:
        fix = f"delete the directory {directory}, and the model is fetched again"
        raise ModelError(f"the four-bit weights cannot be read: {error_summary(error)}", str(file), fix) from None
    names = [name.removesuffix(".packed") for name in stored if name.endswith(".packed")]
    return {name: Int4Weight(stored[f"{name}.packed"], stored[f"{name}.scales"]) for name in names}


def _matrices(header: GGUFHeader) -> list[tuple[str, GGUFTensor]]:
    """The matrices of four bits that are the weights of linear layers, with the modules' names."""
    matched = [(_MATRIX.fullmatch(one.name), one) for one in header.tensors if one.quantization in _PARTS]
    return [(f"model.layers.{match[1]}.{_MODULES[match[2]]}", one) for match, one in matched if match]


def _read(header: GGUFHeader, tensor: GGUFTensor) -> Int4Weight | None:
    """A tensor of the file; None where its shape does not fit torch's product."""
    rows, columns = tensor.shape
    if columns % GROUP or rows % 16:
        return None
    raw = np.memmap(header.path, np.uint8, "r", header.data_start + tensor.offset, (tensor.bytes,))
    numbers, scale, offset = _PARTS[tensor.quantization](np.asarray(raw))
    numbers = numbers.reshape(rows, columns)
    pairs = np.stack([scale.reshape(rows, -1).T, offset.reshape(rows, -1).T], axis=-1)
    packed = numbers[:, 0::2] | (numbers[:, 1::2] << 4)
    return Int4Weight(torch.from_numpy(packed), torch.from_numpy(pairs).to(torch.bfloat16).contiguous())


def _agrees(ours: Int4Weight, stored: torch.Tensor) -> bool:
    if tuple(stored.shape) != (len(ours.packed), 2 * ours.packed.shape[1]):
        return False
    made, theirs = (one.view(len(stored), -1, GROUP) for one in (ours.dequantized(), stored.detach().float()))
    return bool(((made - theirs).abs().amax(-1) <= _TOLERANCE * theirs.abs().amax(-1)).all())


def _half(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.ascontiguousarray(raw).view(np.float16).astype(np.float32)


def _plain_numbers(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """q of blocks of 32 (blocks, 16): the low halves of the bytes come first, then the high ones."""
    return np.concatenate([raw & 15, raw >> 4], axis=1)


def _read_q4_0(raw: NDArray[np.uint8]) -> Parts:
    """Blocks of 32 weights d (q - 8): d in float16, q."""
    blocks = raw.reshape(-1, 2 + GROUP // 2)
    scale = _half(blocks[:, :2])
    return _plain_numbers(blocks[:, 2:]), scale, np.zeros_like(scale)


def _read_q4_1(raw: NDArray[np.uint8]) -> Parts:
    """Blocks of 32 weights d q + m: d and m in float16, q."""
    blocks = raw.reshape(-1, 4 + GROUP // 2)
    scale, least = _half(blocks[:, :2]), _half(blocks[:, 2:4])
    return _plain_numbers(blocks[:, 4:]), scale, least + _MIDDLE * scale


def _read_q4_k(raw: NDArray[np.uint8]) -> Parts:
    """Blocks of 256 weights, eight groups of d c q - e m: d and e in float16, eight c and m of six bits each, q."""
    from gguf.quants import Q4_K

    blocks = raw.reshape(-1, 4 + Q4_K.K_SCALE_SIZE + _SUPER_BLOCK // 2)
    steps, least = Q4_K.get_scale_min(np.ascontiguousarray(blocks[:, 4 : 4 + Q4_K.K_SCALE_SIZE]))  # (blocks, 8) each
    scale = _half(blocks[:, :2]) * steps.astype(np.float32)
    offset = _MIDDLE * scale - _half(blocks[:, 2:4]) * least.astype(np.float32)
    # Of 64 weights in 32 bytes, the low halves are the first group, the high ones the second.
    bytes_ = blocks[:, 4 + Q4_K.K_SCALE_SIZE :].reshape(-1, 4, GROUP)
    return np.stack([bytes_ & 15, bytes_ >> 4], axis=2), scale, offset


_PARTS: dict[str, Callable[[Any], Parts]] = {"Q4_0": _read_q4_0, "Q4_1": _read_q4_1, "Q4_K": _read_q4_k}
