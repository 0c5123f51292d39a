"""Linear maps in float32 on a CPU: by oneDNN, which uses the whole of its vectors.

torch gives them to MKL, and MKL leaves half of the vectors of an AMD core with AVX-512 unused: it takes twice as long
there, and as long elsewhere. The results are rounded in another order, no more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeGuard

import torch
from torch import nn


@contextmanager
def maps_by_onednn(model: nn.Module) -> Iterator[None]:
    """While this lasts, and where torch would take MKL. The model cannot be trained meanwhile: no gradient is kept."""
    maps: list[nn.Linear] = []
    if torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available():
        maps = [module for module in model.modules() if _would_take_mkl(module)]
    for module in maps:
        module.forward = partial(_forward, module)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for module in maps:
            del module.forward


def _would_take_mkl(module: nn.Module) -> TypeGuard[nn.Linear]:
    return (
        type(module) is nn.Linear
        and module.weight.device.type == "cpu"
        and module.weight.dtype is torch.float32
        and "forward" not in vars(module)
    )


def _forward(module: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
        x.contiguous(), module.weight, module.bias, "none", [], ""
    )
    return out
