"""The 4-bit weights of a model that was converted from a GGUF file, for decoding on a CPU.

They are stored in addition to the bfloat16 weights. A matrix of Q4_0, Q4_1 or Q4_K has in each row a scale s and an
offset z for every 32 weights, and a 4-bit integer q for every weight: w = (q - 8) s + z. torch's 4-bit matrix product
takes the same form, so that q is stored as it is; only s and z are rounded, to bfloat16.

Any other matrix is stored as the sum of two of that form, of which the second approximates the error of the first. The
error of a weight is then at most 1/400 of the range of its group of 32, a third of that of 6 bits (Q6_K), for 5/8 of
bfloat16's bytes.

The file has them in the order in which torch's product reads them on this kind of processor, so that opening a model
takes no time for them.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rolesum.console import log
from rolesum.errors import ModelError, error_summary
from rolesum.models.gguf_header import GGUFHeader, GGUFTensor

INT4_FILE = Path("int4") / "weights.safetensors"  # in its own directory: other programs read all weights in the model's
GROUP = 32  # weights that share a scale
_LARGEST = 15  # q
_MIDDLE = 8  # the q of a weight that is z
_TINY = 1e-30  # instead of a scale of 0
_ORDER = "order"  # the key of the file's metadata
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
# How far a stored weight may be from the one computed from q, s and z, relative to the largest of its group: both are
# rounded to bfloat16. Rows in another order (llama.cpp permutes those of Llama's q and k) differ by far more.
_TOLERANCE = 2.0**-6

Parts = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Int4Weight:
    """A matrix (out, in) as the sum of n matrices, which are concatenated along the columns to (out, n in).

    `packed` (out, n in / 2) has two q in a byte, in the order in which torch's product reads them on this processor.
    `scales` (n in / 32, out, 2) has s and z in bfloat16.
    """

    packed: torch.Tensor
    scales: torch.Tensor

    def terms(self, columns: int) -> int:
        """n, the number of matrices in the sum, where the matrix has this many columns."""
        return 2 * self.packed.shape[1] // columns

    def dequantized(self, columns: int) -> torch.Tensor:
        """The weights (out, in) in float32, where the matrix has this many columns."""
        return _dequantized(self.scales, columns, lambda rows: _reordered_back(self.packed[rows]))


@dataclass(frozen=True, slots=True)
class _Quantized:
    """The same with `q` (out, n in), uint8, in the order of the matrix."""

    q: torch.Tensor
    scales: torch.Tensor

    def dequantized(self, columns: int) -> torch.Tensor:
        return _dequantized(self.scales, columns, lambda rows: self.q[rows])

    def packed(self) -> Int4Weight:
        """torch packs q as int32, which is eight times as large: a few rows are packed at a time."""
        out = torch.empty(len(self.q), self.q.shape[1] // 2, dtype=torch.uint8)
        for rows in _slices(len(out)):
            out[rows] = torch._convert_weight_to_int4pack_for_cpu(self.q[rows].int(), 1)
        return Int4Weight(out, self.scales)


def _dequantized(scales: torch.Tensor, columns: int, q_of: Callable[[slice], torch.Tensor]) -> torch.Tensor:
    out = torch.empty(scales.shape[1], columns)
    for rows in _slices(len(out)):
        scale, offset = scales[:, rows].float().permute(2, 1, 0).unsqueeze(-1)  # (rows, n in / 32, 1) each
        q = q_of(rows).float().view(len(scale), -1, GROUP) - _MIDDLE
        out[rows] = (q * scale + offset).view(len(scale), -1, columns).sum(1)
    return out


def _reordered_back(packed: torch.Tensor) -> torch.Tensor:
    """q (rows, columns), uint8, of some rows that were packed together."""
    q = torch.empty(2 * packed.numel(), dtype=torch.uint8)
    q[_order(len(packed), 2 * packed.shape[1])] = _halves(packed)
    return q.view(len(packed), -1)


@lru_cache(maxsize=4)
def _order(rows: int, columns: int) -> torch.Tensor:
    """Which element of a matrix stands at each place of _halves: found by packing the digits of the places."""
    places = torch.arange(rows * columns, dtype=torch.int32).view(rows, columns)
    order = torch.zeros(rows * columns, dtype=torch.int64)
    for shift in range(0, (rows * columns - 1).bit_length(), 4):
        digits = _halves(torch._convert_weight_to_int4pack_for_cpu((places >> shift) & _LARGEST, 1))
        order += digits.long() << shift
    return order


def _halves(packed: torch.Tensor) -> torch.Tensor:
    """The low and the high halves of all bytes, as one row."""
    return torch.stack([packed & _LARGEST, packed >> 4], -1).flatten()


def _order_name() -> str:
    """Tells the order in which torch packs on this processor from others."""
    order = _order(_ROWS, 4 * GROUP)
    return hashlib.sha256(order.numpy().tobytes()).hexdigest()[:16]


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch computes on one thread.

    For many small operations, after each of which threads wait for one another: beside another busy program, two
    threads take ten times as long as one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _slices(rows: int) -> Iterator[slice]:
    return (slice(start, min(rows, start + _ROWS)) for start in range(0, rows, _ROWS))


def write_int4_weights(header: GGUFHeader, model: torch.nn.Module, directory: Path) -> None:
    """Write INT4_FILE with the matrices of the linear layers of `model`, which was converted from the file.

    A layer is left out where torch's product does not take its shape. Where the rows have another order in the file, as
    llama.cpp permutes those of Llama's q and k, the 4-bit weights are computed from the layer's weights.
    """
    from safetensors.torch import save_file

    of_file = _matrices(header)
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    found: dict[str, torch.Tensor] = {}
    with one_thread():
        for name, layer in layers.items():
            if layer.in_features % GROUP or layer.out_features % 16:
                continue
            weight = _read(header, of_file[name]) if name in of_file else None
            if weight is None or not _agrees(weight, layer.weight):
                weight = _sum_of_two(layer.weight.detach())
            found |= {f"{name}.packed": weight.packed().packed, f"{name}.scales": weight.scales}
        if found:
            (directory / INT4_FILE).parent.mkdir()
            save_file(found, directory / INT4_FILE, {_ORDER: _order_name()})


def read_int4_weights(directory: Path) -> dict[str, Int4Weight]:
    """The matrices of INT4_FILE by the names of their modules; empty where there is no such file.

    Empty too, with a line in the log, where it was written on another kind of processor. Raises ModelError where it
    cannot be read.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    file = directory / INT4_FILE
    if not file.is_file():
        return {}
    try:
        with safe_open(file, "pt") as opened:
            order = (opened.metadata() or {}).get(_ORDER)
        if order != _order_name():
            written = f"{file} was written on another kind of processor"
            log(f"decoding is slow: {written}; delete {directory} to download the model again")
            return {}
        stored = load_file(file)
    except (OSError, SafetensorError) as error:
        fix = f"delete the directory {directory}, and the model is fetched again"
        raise ModelError(f"the four-bit weights cannot be read: {error_summary(error)}", str(file), fix) from None
    names = [name.removesuffix(".packed") for name in stored if name.endswith(".packed")]
    return {name: Int4Weight(stored[f"{name}.packed"], stored[f"{name}.scales"]) for name in names}


def _matrices(header: GGUFHeader) -> dict[str, GGUFTensor]:
    """The 4-bit matrices of the file that are weights of linear layers, by the modules' names."""
    matched = [(_MATRIX.fullmatch(one.name), one) for one in header.tensors if one.quantization in _PARTS]
    return {f"model.layers.{match[1]}.{_MODULES[match[2]]}": one for match, one in matched if match}


def _read(header: GGUFHeader, tensor: GGUFTensor) -> _Quantized:
    """A tensor of the file."""
    rows, columns = tensor.shape
    raw = np.memmap(header.path, np.uint8, "r", header.data_start + tensor.offset, (tensor.bytes,))
    numbers, scale, offset = _PARTS[tensor.quantization](np.asarray(raw))
    pairs = np.stack([scale.reshape(rows, -1).T, offset.reshape(rows, -1).T], axis=-1)
    q = torch.from_numpy(numbers.reshape(rows, columns))
    return _Quantized(q, torch.from_numpy(pairs).to(torch.bfloat16).contiguous())


def _sum_of_two(weight: torch.Tensor) -> _Quantized:
    """Quantize a matrix to 4 bits, then its error: each to 16 values between the least and the largest of 32."""
    out, columns = weight.shape
    q_of_all = torch.empty(out, 2 * columns, dtype=torch.uint8)
    scales = torch.empty(2 * columns // GROUP, out, 2, dtype=torch.bfloat16)
    for rows in _slices(out):
        left = weight[rows].float().view(-1, columns // GROUP, GROUP)
        terms = []
        for term in (0, 1):
            least, largest = left.amin(-1), left.amax(-1)  # (rows, in / 32)
            scale = ((largest - least) / _LARGEST).to(torch.bfloat16)
            offset = (least + _MIDDLE * scale.float()).to(torch.bfloat16)
            s, z = scale.float().unsqueeze(-1), offset.float().unsqueeze(-1)
            q = ((left - z) / s.clamp(min=_TINY) + _MIDDLE).round().clamp(0, _LARGEST)
            left = left - ((q - _MIDDLE) * s + z)
            terms.append(q.to(torch.uint8).flatten(1))
            places = slice(term * columns // GROUP, (term + 1) * columns // GROUP)
            scales[places, rows] = torch.stack([scale, offset], -1).transpose(0, 1)
        q_of_all[rows] = torch.cat(terms, 1)
    return _Quantized(q_of_all, scales)


def _agrees(ours: _Quantized, stored: torch.Tensor) -> bool:
    if stored.shape != ours.q.shape:
        return False
    both = ours.dequantized(stored.shape[1]), stored.detach().float()
    made, theirs = (one.view(len(stored), -1, GROUP) for one in both)
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
