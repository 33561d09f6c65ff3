"""Read the header of a GGUF file: its metadata and the table of its tensors, without the weights.

The format: github.com/ggml-org/ggml/blob/master/docs/gguf.md. Nothing is imported that takes time, so that a file
which is cut off, or is none, is refused before anything else is done.
"""

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from rolesum.errors import ModelError
from rolesum.os_errors import os_error

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_ALIGNMENT = 32  # where the file states none
_MOST_DIMENSIONS = 4
_AGAIN = "fetch the file again"


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """One tensor: its name, shape in torch's order, quantization such as Q4_K, and place behind the header."""

    name: str
    shape: tuple[int, ...]
    quantization: str
    offset: int
    bytes: int


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """`fields` holds the metadata; an array of texts is there as its length. The tensors begin at `data_start`."""

    path: Path
    fields: dict[str, Any]
    tensors: tuple[GGUFTensor, ...]
    data_start: int

    @property
    def architecture(self) -> str:
        return str(self.fields.get("general.architecture", ""))

    @property
    def quantization(self) -> str:
        """The name of the mixture of quantizations, such as Q4_K_M, or that of most weights."""
        from gguf import LlamaFileType

        stated = self.fields.get("general.file_type")
        if stated in {int(one) for one in LlamaFileType}:
            return LlamaFileType(stated).name.removeprefix("MOSTLY_").removeprefix("ALL_")
        sizes: dict[str, int] = {}
        for tensor in self.tensors:
            sizes[tensor.quantization] = sizes.get(tensor.quantization, 0) + tensor.bytes
        return max(sizes, key=lambda name: sizes[name])

    @property
    def parameters(self) -> int:
        return sum(prod(tensor.shape) for tensor in self.tensors)

    def tensor(self, name: str) -> GGUFTensor | None:
        return next((one for one in self.tensors if one.name == name), None)


def read_gguf_header(path: Path) -> GGUFHeader:
    """Read a file's header, and check that the file has all the bytes it speaks of.

    Raises ModelError for a file that is not a GGUF file, is cut off, is damaged, or is of a version or has a
    quantization that is not known.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                fix = "give a file that llama.cpp reads, or the directory of a checkpoint"
                raise ModelError("not a GGUF file: it does not begin with GGUF", str(path), fix)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
                return _parse(raw, path)
    except OSError as error:
        raise os_error(error, "cannot read the file", path, kind=ModelError) from None
    except (struct.error, UnicodeDecodeError, OverflowError, MemoryError):
        raise ModelError("the GGUF file is cut off or damaged: its header cannot be read", str(path), _AGAIN) from None


def _parse(raw: mmap.mmap, path: Path) -> GGUFHeader:
    reader = _Reader(raw, len(_MAGIC))
    version, tensor_count, field_count = reader.numbers("IQQ")
    if version not in _VERSIONS:
        raise ModelError(f"GGUF version {version} is not known", str(path), "give a file of version 2 or 3")
    fields = {reader.text(): reader.value() for _ in range(field_count)}
    tensors = tuple(_tensor(reader, path) for _ in range(tensor_count))
    alignment = max(1, int(fields.get("general.alignment", _ALIGNMENT)))
    start = -(-reader.place // alignment) * alignment
    needed = max((start + one.offset + one.bytes for one in tensors), default=start)
    if needed > len(raw):
        what = f"the GGUF file is cut off: it has {len(raw):,} bytes, and its tensors need {needed:,}"
        raise ModelError(what, str(path), _AGAIN)
    return GGUFHeader(path, fields, tensors, start)


def _tensor(reader: "_Reader", path: Path) -> GGUFTensor:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    name = reader.text()
    (dimensions,) = reader.numbers("I")
    if dimensions > _MOST_DIMENSIONS:
        raise ModelError(f"the GGUF file is damaged: {name} has {dimensions} dimensions", str(path), _AGAIN)
    shape = tuple(reversed(reader.numbers("Q" * dimensions)))
    kind, offset = reader.numbers("IQ")
    if kind not in {int(one) for one in GGML_QUANT_SIZES}:
        what = f"{name} has the quantization number {kind}, which is not known"
        raise ModelError(what, str(path), "give a file of another quantization, such as Q4_K_M or Q8_0")
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    return GGUFTensor(name, shape, GGMLQuantizationType(kind).name, offset, prod(shape) // block * size)


class _Reader:
    """Reads little-endian values one after the other. Raises struct.error where the file ends before."""

    def __init__(self, raw: mmap.mmap, place: int) -> None:
        self._raw = raw
        self.place = place

    def numbers(self, codes: str) -> Sequence[Any]:
        layout = f"<{codes}"
        values = struct.unpack_from(layout, self._raw, self.place)
        self.place += struct.calcsize(layout)
        return values

    def text(self) -> str:
        (length,) = self.numbers("Q")
        self._check(length)
        self.place += length
        return self._raw[self.place - length : self.place].decode("utf-8")

    def value(self) -> Any:
        (kind,) = self.numbers("I")
        return self._array() if kind == _ARRAY else self._single(kind)

    def _single(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind not in _SCALARS:
            raise struct.error(f"a value of type {kind}")
        return self.numbers(_SCALARS[kind])[0]

    def _array(self) -> Any:
        kind, count = self.numbers("IQ")
        self._check(count)  # each takes a byte at least
        if kind == _STRING:
            for _ in range(count):
                (length,) = self.numbers("Q")
                self._check(length)
                self.place += length
            return count
        return [self._single(kind) for _ in range(count)]

    def _check(self, length: int) -> None:
        if length > len(self._raw) - self.place:
            raise struct.error("the file ends before")
