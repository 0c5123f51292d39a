"""Layers that compute in float with the numbers that 8 bits will leave them (quantisation-aware training).

Forwards, weights and inputs are rounded exactly as `compression.export.int8` rounds them; backwards, rounding counts as
the identity (straight-through estimator: Bengio et al. 2013; Q8BERT, section 2.2).
"""

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from compression.export.int8 import LEAST_ROWS


class RoundedLinear(nn.Linear):
    """A linear layer whose weights have one scale per output, and whose inputs the range of the batch."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return functional.linear(round_states(input), round_rows(self.weight), self.bias)


class RoundedEmbedding(nn.Embedding):
    """An embedding table with one scale per row."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return round_rows(super().forward(input))


EXACT: dict[type[nn.Module], type[nn.Module]] = {RoundedLinear: nn.Linear, RoundedEmbedding: nn.Embedding}


def learn_rounded(model: PreTrainedModel) -> None:
    """Exchange the layers that become 8-bit for rounded ones, with the same parameters."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = RoundedLinear
        elif type(module) is nn.Embedding and module.num_embeddings >= LEAST_ROWS:
            module.__class__ = RoundedEmbedding


def learn_exactly(model: PreTrainedModel) -> None:
    """Undo `learn_rounded`."""
    for module in model.modules():
        module.__class__ = EXACT.get(type(module), type(module))


def round_rows(values: torch.Tensor) -> torch.Tensor:
    """Numbers (..., n) rounded to -127 to 127 units of each row's own scale."""
    exact = values.detach().float()
    largest = exact.abs().amax(dim=-1, keepdim=True)
    scale = torch.where(largest > 0, largest / 127, 1.0)
    return _pass_through(values, (exact / scale).round() * scale)


def round_states(values: torch.Tensor) -> torch.Tensor:
    """Numbers rounded to 256 levels between their lowest and their highest, zero among them (DynamicQuantizeLinear)."""
    exact = values.detach().float()
    lowest, highest = exact.amin().clamp(max=0), exact.amax().clamp(min=0)
    scale = (highest - lowest).clamp(min=1e-12) / 255
    zero = (-lowest / scale).round()
    levels = ((exact / scale).round() + zero).clamp(0, 255)
    return _pass_through(values, (levels - zero) * scale)


def _pass_through(values: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
    return values + (rounded.to(values.dtype) - values.detach())
