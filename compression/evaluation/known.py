"""Predictions of a model that has answered the same rows before, on this machine: read, not computed again."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from compression.cache import cached, made_by
from compression.context import Context
from compression.data.encoding import Encoded
from compression.evaluation.predict import predict


def known_or_predicted(
    model: PreTrainedModel,
    rows: Encoded,
    context: Context,
    sequences: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.float32]:
    """The same as `predict`, from the run's cache where it is there.

    The original is asked for the same answers by every job on it, and by every attempt of a job.
    """
    if context.cache is None:
        return predict(model, rows, context.stop_if_requested, sequences)
    return cached(
        context.cache,
        f"answers-{_content_key(model, rows, sequences)}.npy",
        make=lambda: predict(model, rows, context.stop_if_requested, sequences),
        read=_read,
        write=_write,
    )


def _read(entry: Path) -> npt.NDArray[np.float32]:
    logits: npt.NDArray[np.float32] = np.load(entry, allow_pickle=False)
    return logits


def _write(logits: npt.NDArray[np.float32], entry: Path) -> None:
    with entry.open("wb") as file:
        np.save(file, logits, allow_pickle=False)


def _content_key(model: PreTrainedModel, rows: Encoded, sequences: npt.NDArray[np.int64] | None) -> str:
    """Of all that has a say in what is kept of the logits, down to their last bit: weights, code, rows, machine."""
    config = {name: value for name, value in model.config.to_dict().items() if name != "_name_or_path"}
    device = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else "cpu"
    machine = (device, torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(), made_by())
    told = (machine, repr(model), config, rows.task.model_dump_json(), rows.pad_piece)
    digest = hashlib.sha256(repr(told).encode())
    for tensor in model.state_dict().values():
        digest.update(memoryview(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()))
    arrays: dict[str, Any] = {
        "pieces": rows.pieces,
        "offsets": rows.offsets,
        "segments": rows.segments,
        "outputs": rows.outputs,
        "marked": rows.marked,
        "sequences": rows.sequences,
        "asked": sequences,
        **rows.extra,
    }
    if rows.task.PREDICTS_PIECES:
        arrays["labels"] = rows.labels  # what is kept of a guess tells how likely the right piece is
    if rows.masking is not None:
        digest.update(repr(rows.masking).encode())
        arrays["ordinary"] = rows.masking.ordinary
    for name, array in arrays.items():
        if array is not None:
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()
