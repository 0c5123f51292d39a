"""Ways to spoil a checkpoint folder, and what the inspection then says."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from compression.checkpoints.inspection import inspect_checkpoint
from compression.errors import InputError

Change = Callable[[Path], None]


def problems_of(folder: Path) -> list[tuple[str, str]]:
    """Code and place of every problem."""
    with pytest.raises(InputError) as caught:
        inspect_checkpoint(folder)
    assert all(problem.message for problem in caught.value.problems)
    return [(problem.code, problem.place) for problem in caught.value.problems]


def config(**changes: Any) -> Change:
    """Set keys of config.json; `None` removes one."""

    def change(folder: Path) -> None:
        path = folder / "config.json"
        content = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return change


def weights(change_tensors: Callable[[dict[str, np.ndarray]], object]) -> Change:
    def change(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change_tensors(tensors)
        save_file(tensors, folder / "model.safetensors")

    return change


def write(name: str, content: str | bytes) -> Change:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def remove(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def edit_json(name: str, edit: Callable[[dict[str, Any]], object]) -> Change:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        edit(content)
        (folder / name).write_text(json.dumps(content))

    return change


def all_of(*changes: Change) -> Change:
    def change(folder: Path) -> None:
        for each in changes:
            each(folder)

    return change


def without_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def with_value(name: str, value: float, *index: int) -> Change:
    def set_value(tensors: dict[str, np.ndarray]) -> None:
        tensors[name][index or -1] = value

    return weights(set_value)


def cut(name: str, bytes_left: int) -> Change:
    return lambda folder: os.truncate(folder / name, bytes_left)
