"""What a model costs to run: latency, arithmetic, memory. Both models in turn, in one process, on the same rows."""

import ctypes
import re
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from compression.data.batches import collate
from compression.data.encoding import Encoded
from compression.evaluation.onnx_model import OnnxModel
from compression.report.schema import Latency
from compression.spec import LatencyRequest

Inputs = dict[str, torch.Tensor]

WARMUP = 3
LEAST_ROUNDS = 10
SECONDS = 1.0
"""Time for each batch size, once the least number of rounds is done."""


def typical_inputs(data: Encoded, size: int, device: torch.device) -> Inputs:
    """`size` sequences of median length: the next longer ones are cut to it, so that nothing is padded.

    Where there are too few, they come again.
    """
    order = np.argsort(data.lengths, kind="stable")
    long_enough = order[(len(order) - 1) // 2 :]
    batch = collate(data, np.resize(long_enough, size), device)
    length = int(data.lengths[long_enough[0]])
    return {name: tensor[:, :length] for name, tensor in batch.inputs.items() if name != "attention_mask"}


def measure_latency(
    models: Sequence[tuple[PreTrainedModel | OnnxModel, Encoded]],
    request: LatencyRequest,
    between_rounds: Callable[[], None],
) -> list[list[Latency]]:
    """Median and 95th percentile of a forward pass for each batch size, by model: they take turns, each on its rows."""
    threads = torch.get_num_threads()
    torch.set_num_threads(request.threads)
    measured: list[list[Latency]] = [[] for _ in models]
    try:
        for size in request.batch_sizes:
            turns = [(model, typical_inputs(data, size, model.device)) for model, data in models]
            times = _take_turns(turns, between_rounds)
            for latencies, (_, inputs), milliseconds in zip(measured, turns, times, strict=True):
                latency = Latency(
                    batch_size=size,
                    sequence_length=inputs["input_ids"].shape[1],
                    threads=request.threads,
                    median_ms=statistics.median(milliseconds),
                    p95_ms=float(np.percentile(milliseconds, 95)),
                )
                latencies.append(latency)
    finally:
        torch.set_num_threads(threads)
    return measured


def _take_turns(
    turns: Sequence[tuple[PreTrainedModel | OnnxModel, Inputs]], between_rounds: Callable[[], None]
) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in turns]
    rounds, deadline = -WARMUP, time.monotonic() + SECONDS
    while rounds < LEAST_ROUNDS or time.monotonic() < deadline:
        between_rounds()
        for (model, inputs), milliseconds in zip(turns, times, strict=True):
            taken = _forward_milliseconds(model, inputs)
            if rounds >= 0:
                milliseconds.append(taken)
        rounds += 1
    return times


@torch.inference_mode()
def _forward_milliseconds(model: PreTrainedModel | OnnxModel, inputs: Inputs) -> float:
    started = time.perf_counter()
    model(**inputs)
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) * 1000


def count_multiply_adds(model: PreTrainedModel, data: Encoded) -> int:
    """Of one forward pass for one row of median length."""
    inputs = typical_inputs(data, 1, model.device)
    # Not inference_mode: the counter asks for the graph of what a module is given, be it a parameter.
    # And not with the libraries that run an LSTM as one operation: its products are not counted.
    with (
        torch.no_grad(),
        warnings.catch_warnings(action="ignore"),  # of torch about torch
        torch.backends.mkldnn.flags(enabled=False),
        torch.backends.cudnn.flags(enabled=False),
        FlopCounterMode(display=False) as counter,
    ):
        model(**inputs)
    return int(counter.get_total_flops()) // 2


def peak_memory(model: PreTrainedModel | OnnxModel, inputs: Inputs) -> int:
    """Bytes of the weights and of what a forward pass adds to them at its highest.

    ONNX Runtime keeps what it has once taken: its model must be new.
    """
    if isinstance(model, OnnxModel):
        weights = model.bytes
    else:
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _forward_milliseconds(model, inputs)
        return weights + torch.cuda.max_memory_allocated() - before
    _forget_peak()
    before = _resident("VmRSS")
    _forward_milliseconds(model, inputs)
    return weights + max(0, _resident("VmHWM") - before)


def _forget_peak() -> None:
    """Give freed memory back to the system, so that it is counted again, and reset the high-water mark (Linux)."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def _resident(field: str) -> int:
    match = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(match[1]) * 1024 if match else 0
