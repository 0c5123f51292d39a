"""LSTMs for an ONNX file: torch's exporter has none that takes rows of any length."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from compression.checkpoints.plankwright_model import BiLstmLayer

FLOAT = 1
"""Of ONNX's types of numbers."""


@contextmanager
def lstms_as_operators(model: nn.Module) -> Iterator[None]:
    """While this lasts, each LSTM layer is the operator of the standard, to be exported and not to be computed.

    It reads both directions at once, each row up to its own length.
    """
    layers = [module for module in model.modules() if isinstance(module, BiLstmLayer)]
    for layer in layers:
        layer.forward = _operator(layer)  # type: ignore[assignment]  # for a while
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _operator(layer: BiLstmLayer) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    width = layer.forwards.hidden_size
    inputs, states, *biases = (
        torch.stack([_in_order(getattr(lstm, name)) for lstm in (layer.forwards, layer.backwards)])
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    )
    constants = inputs, states, torch.cat(biases, dim=1)

    def forward(values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        rows, length = values.shape[:2]
        last = 2, rows, width
        output, _, _ = torch.onnx.ops.symbolic_multi_out(
            "LSTM",
            (values.transpose(0, 1), *constants, lengths.to(torch.int32)),
            attrs={"direction": "bidirectional", "hidden_size": width},
            dtypes=(FLOAT, FLOAT, FLOAT),
            shapes=((length, 2, rows, width), last, last),
        )
        return output.permute(2, 0, 1, 3).flatten(2)

    return forward


def _in_order(gates: torch.Tensor) -> torch.Tensor:
    """Torch has the input, forget, cell and output gate in this order, ONNX the cell last."""
    entry, forget, cell, out = gates.detach().chunk(4)
    return torch.cat([entry, out, forget, cell])
