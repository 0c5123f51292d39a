"""The header of a safetensors file, read by its rules and by tighter limits than the library has."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression.errors import InputError, Problem
from compression.strict_json import parse_json_object

MAX_HEADER_BYTES = 10_000_000
MAX_TENSORS = 5_000
MAX_DIMENSIONS = 8
ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8, "C64": 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file: its bytes are `start` to `end` of the whole file."""

    file: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a safetensors file, by name.

    Raises:
        InputError: the file is cut, or is not a safetensors file without holes, overlaps and duplicates.
    """
    try:
        return _tensors(path)
    except _Damage as damage:
        raise InputError(Problem(damage.code, str(damage), path.name)) from damage


class _Damage(Exception):
    def __init__(self, message: str, code: str = "damaged_weights") -> None:
        super().__init__(message)
        self.code = code


def _tensors(path: Path) -> dict[str, TensorInfo]:
    file_bytes = path.stat().st_size
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if file_bytes < 8 or header_bytes > file_bytes - 8:
            raise _Damage(
                "the file ends within its header: it was cut, or is no safetensors file", "truncated_weights"
            )
        if header_bytes > MAX_HEADER_BYTES:
            raise _Damage(f"its header has {header_bytes} bytes; no more than {MAX_HEADER_BYTES} are read")
        header = parse_json_object(file.read(header_bytes), path.name)
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise _Damage(f"it holds {len(header)} tensors; no more than {MAX_TENSORS} are read")
    offset = 8 + header_bytes
    tensors = {name: _tensor(path.name, name, entry, offset) for name, entry in header.items()}
    _check_extent(tensors, offset, file_bytes)
    return tensors


def _tensor(file: str, name: str, entry: Any, offset: int) -> TensorInfo:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _Damage(f"the entry of {name[:100]!r} is not one of a tensor")
    dtype, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise _Damage(f"{name[:100]!r} has an unknown number format")
    if not (_are_sizes(shape) and len(shape) <= MAX_DIMENSIONS and _are_sizes(span) and len(span) == 2):
        raise _Damage(f"the shape or the offsets of {name[:100]!r} are no sizes")
    if span[1] - span[0] != math.prod(shape) * ITEM_BYTES[dtype]:
        raise _Damage(f"the offsets of {name[:100]!r} do not go with its shape")
    return TensorInfo(file, dtype, tuple(shape), offset + span[0], offset + span[1])


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**48 for size in value)


def _check_extent(tensors: dict[str, TensorInfo], offset: int, file_bytes: int) -> None:
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start != offset:
            raise _Damage(f"there is a hole or an overlap before {name[:100]!r}")
        offset = tensor.end
    if file_bytes < offset:
        raise _Damage(
            f"{offset - file_bytes} of {offset} bytes are missing: the file was cut", "truncated_weights"
        )
    if file_bytes > offset:
        raise _Damage(f"{file_bytes - offset} bytes follow the last tensor")
