"""Headers that the safetensors library may accept, and those it refuses too, are refused by rule."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from compression.checkpoints.safetensors_header import read_header
from compression.errors import InputError


def tensor(dtype: str, shape: list[Any], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


ONE = tensor("F32", [1], 0, 4)

DAMAGED: dict[str, tuple[dict[str, Any] | bytes, int]] = {
    "overlap": ({"a": ONE, "b": ONE}, 4),
    "hole at the start": ({"a": tensor("F32", [1], 4, 8)}, 8),
    "hole between": ({"a": ONE, "b": tensor("F32", [1], 8, 12)}, 12),
    "data behind": ({"a": ONE}, 9),
    "many tensors": ({str(i): tensor("F32", [0], 0, 0) for i in range(5001)}, 0),
    "shape and offsets differ": ({"a": tensor("F32", [2], 0, 4)}, 4),
    "shape overflow": ({"a": tensor("F32", [2**40, 2**40], 0, 4)}, 4),
    "shape of many dimensions": ({"a": tensor("F32", [1] * 9, 0, 4)}, 4),
    "negative shape": ({"a": tensor("F32", [-1, -1], 0, 4)}, 4),
    "shape of fractions": ({"a": tensor("F32", [1.0], 0, 4)}, 4),
    "shape is a number": ({"a": {**ONE, "shape": 1}}, 4),
    "offsets backwards": ({"a": tensor("F32", [1], 4, 0)}, 4),
    "three offsets": ({"a": {**ONE, "data_offsets": [0, 4, 4]}}, 4),
    "unknown format": ({"a": tensor("F4", [1], 0, 4)}, 4),
    "format is a list": ({"a": {**ONE, "dtype": ["F32"]}}, 4),
    "unknown key": ({"a": {**ONE, "file": "/etc/passwd"}}, 4),
    "entry is no tensor": ({"a": 1}, 0),
}


def write(path: Path, header: dict[str, Any] | bytes, data_bytes: int) -> Path:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(content)) + content + bytes(data_bytes))
    return path


def code_of(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_header(path)
    assert caught.value.problems[0].place == path.name
    return caught.value.code


@pytest.mark.parametrize("case", DAMAGED)
def test_refuses_damage(case: str, tmp_path: Path) -> None:
    assert code_of(write(tmp_path / "a.safetensors", *DAMAGED[case])) == "damaged_weights"


@pytest.mark.parametrize("header", [b"abc", b"[]", b'{"a": 1, "a": 2}', b"\xff", b"{" * 100_000])
def test_refuses_what_is_no_object(header: bytes, tmp_path: Path) -> None:
    assert code_of(write(tmp_path / "a.safetensors", header, 0)) == "invalid_json"


def test_refuses_a_huge_header_unread(tmp_path: Path) -> None:
    assert code_of(write(tmp_path / "a.safetensors", bytes(10_000_001), 0)) == "damaged_weights"


@pytest.mark.parametrize(
    "content", [b"", b"\x01", b"\xff" * 8, b"\x80\x02}q\x00." * 100, b"\x05" + bytes(7) + b"{}"]
)
def test_refuses_what_ends_too_early(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    assert code_of(tmp_path / "a.safetensors") == "truncated_weights"


def test_reads_what_the_library_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    arrays: dict[str, np.ndarray] = {
        "b": np.arange(6, dtype=np.float16).reshape(2, 3),
        "a": np.ones((), np.int64),
        "empty": np.ones((0, 2)),
    }
    save_file(arrays, path, metadata={"format": "pt"})
    content = path.read_bytes()
    for name, info in read_header(path).items():
        assert info.shape == arrays[name].shape
        assert content[info.start : info.end] == arrays[name].tobytes()
