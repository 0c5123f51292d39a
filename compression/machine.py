"""The machine that a run is on: what it computes with, and what the report says of it."""

import ctypes
import os
import platform
import re
from pathlib import Path

import numpy
import onnxruntime
import torch
import transformers

from compression.report.schema import Machine
from compression.spec import Runtime

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT_BYTES, LARGEST_KEPT = 2**30, 2**25


def keep_freed_memory() -> None:
    """Let the allocator keep what a training step frees for the next step (glibc).

    It would give large blocks back to the system at once, and every page of them would be mapped and zeroed anew.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def choose_device(runtime: Runtime) -> torch.device:
    if runtime.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(runtime.device)


def compute_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the machine multiplies it natively; elsewhere it is emulated and slower than float32."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def use_threads(runtime: Runtime) -> None:
    """As many as the process has cores to itself: more of them slow each other down about tenfold."""
    torch.set_num_threads(runtime.threads or len(os.sched_getaffinity(0)))


def describe_machine(device: torch.device) -> Machine:
    cpuinfo = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return Machine(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        cpu=match[1].strip() if match else platform.processor() or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "numpy": numpy.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
    )
