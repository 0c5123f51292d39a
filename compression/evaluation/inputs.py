"""What modules are given while a model runs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn


@contextmanager
def inputs_seen(modules: Mapping[str, nn.Module], see: Callable[[str, torch.Tensor], None]) -> Iterator[None]:
    """While this lasts, `see` gets the input of each of the modules at every call, and its name."""

    def show(name: str, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        see(name, inputs[0])

    hooks = [module.register_forward_pre_hook(partial(show, name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def of_pieces(states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Of states (B, L, H) those (P, H) at word pieces, by the batch's mask (B, L); all of what is not about pieces."""
    if mask is None or states.shape[:-1] != mask.shape:
        return states.flatten(0, -2)
    return states[mask != 0]
