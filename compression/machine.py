"""The machine that a run is on: what it computes with, and what the report says of it."""

import os
import platform
import re
from pathlib import Path

import numpy
import torch
import transformers

from compression.report.schema import Machine
from compression.spec import Runtime

# Rows of many lengths make many kernels, and oneDNN keeps a thousand of them: 150 MB that are hardly used again.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")


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
        },
    )
