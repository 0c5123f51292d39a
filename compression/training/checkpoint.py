"""Checkpoints of a run: one safetensors file each, whole or not there."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from compression.errors import ComputeError, ReasonClass
from compression.events import CheckpointEvent, EventWriter

KEEP = 2
"""Files that stay on disk: the newest, and the one before for the case that the newest is damaged."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a run stands: recipe step `recipe_step`, of whose training `step` optimizer steps are done.

    `tensors` and `state` are what the recipe step needs to go on. Random numbers are not among it: every draw is a
    function of the seed and the step.
    """

    recipe_step: int
    step: int
    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]

    def section(self, prefix: str) -> dict[str, torch.Tensor]:
        """Tensors named `prefix.…`, without the prefix."""
        start = f"{prefix}."
        return {name.removeprefix(start): t for name, t in self.tensors.items() if name.startswith(start)}


def read_checkpoint(path: Path) -> Checkpoint:
    """Raises ComputeError where the file is damaged: the worker falls back to the one before."""
    try:
        with safe_open(path, framework="pt") as file:
            head = json.loads(file.metadata()["checkpoint"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ComputeError("checkpoint_damaged", f"{path.name} cannot be read: {error}") from error
    return Checkpoint(tensors=tensors, **head)


def write_checkpoint(checkpoint: Checkpoint, folder: Path, emit: EventWriter) -> None:
    """Write beside, flush to disk, rename: a reader sees the whole file or none. Then tell the worker."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{checkpoint.recipe_step:02d}-{checkpoint.step:08d}"
    path = folder / f"{name}.safetensors"
    partial = path.with_suffix(".partial")
    head = {"recipe_step": checkpoint.recipe_step, "step": checkpoint.step, "state": checkpoint.state}
    try:
        save_file(checkpoint.tensors, partial, metadata={"checkpoint": json.dumps(head)})
        with partial.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        message = f"a checkpoint could not be written: make room on the worker's disk, then retry ({error})"
        raise ComputeError("storage_error", message, ReasonClass.CAPACITY) from error
    emit(CheckpointEvent(name=name, file=path.name, sha256=digest, bytes=path.stat().st_size))
    for old in sorted(folder.glob("*.safetensors"))[:-KEEP]:
        old.unlink()
