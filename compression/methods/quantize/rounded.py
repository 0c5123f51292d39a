"""Layers that compute in float with the numbers that few bits will leave them (quantisation-aware training).

Forwards, numbers are rounded as they will be: for an 8-bit file weights and inputs, as `compression.export.int8` does,
to the ranges that the file will hold or to those of each batch; for codes in groups the weights, as in
`compression.checkpoints.few_bits`. Backwards, rounding counts as the identity (straight-through estimator: Bengio et
al. 2013; Q8BERT, section 2.2).
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.few_bits import rounded_as_stored
from compression.checkpoints.loading import is_packed
from compression.export.calibration import CallRanges
from compression.export.int8 import LEAST_ROWS


class RoundedLinear(nn.Linear):
    """A linear layer whose weights have one scale per output, and whose inputs that of the batch or a fixed one."""

    ranges: Sequence[Sequence[float]]
    """The fixed one of each call in a pass of the model, where there are any."""
    calls: int

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        bounds = None
        if self.ranges:
            bounds = self.ranges[self.calls % len(self.ranges)]
            self.calls += 1
        return functional.linear(round_states(input, bounds), round_rows(self.weight), self.bias)


class RoundedEmbedding(nn.Embedding):
    """An embedding table with one scale per row."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return round_rows(super().forward(input))


class GroupedLinear(nn.Linear):
    """A linear layer whose weights have one scale per group, along the rows of the matrix as it is stored."""

    bits: int
    group_size: int
    packed: bool
    is_stored_transposed: bool

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        weight = self.weight.T if self.is_stored_transposed else self.weight
        weight = round_groups(weight, self.bits, self.group_size, packed=self.packed)
        return functional.linear(input, weight.T if self.is_stored_transposed else weight, self.bias)


class GroupedEmbedding(nn.Embedding):
    """An embedding table with one scale per group of each row; without its zeros, groups go from row to row."""

    bits: int
    group_size: int
    packed: bool

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if self.packed:
            table = round_groups(self.weight, self.bits, self.group_size, packed=True)
            return functional.embedding(input, table, self.padding_idx)
        return round_groups(super().forward(input), self.bits, self.group_size)


EXACT: dict[type[nn.Module], type[nn.Module]] = {
    RoundedLinear: nn.Linear,
    RoundedEmbedding: nn.Embedding,
    GroupedLinear: nn.Linear,
    GroupedEmbedding: nn.Embedding,
}


def learn_rounded(model: PreTrainedModel, ranges: CallRanges) -> None:
    """Exchange the layers that become 8-bit for rounded ones, with the same parameters."""
    for path, module in model.named_modules():
        if type(module) is nn.Linear:
            module.__class__ = RoundedLinear
            vars(module).update(ranges=ranges.get(path, ()), calls=0)
        elif type(module) is nn.Embedding and module.num_embeddings >= LEAST_ROWS:
            module.__class__ = RoundedEmbedding


def learn_in_groups(model: PreTrainedModel, bits: dict[str, int], group_size: int) -> None:
    """Exchange the layers that will be codes of so many bits for rounded ones, with the same parameters."""
    transposed = anatomy_of(model).stored_transposed(model)
    weights: dict[torch.Tensor, str] = {model.get_parameter(name): name for name in bits}
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)) and (name := weights.get(module.weight)):
            module.__class__ = GroupedLinear if isinstance(module, nn.Linear) else GroupedEmbedding
            vars(module).update(
                bits=bits[name],
                group_size=group_size,
                packed=is_packed(model),
                is_stored_transposed=name in transposed,
            )


def learn_exactly(model: PreTrainedModel) -> None:
    """Undo `learn_rounded` and `learn_in_groups`."""
    for module in model.modules():
        module.__class__ = EXACT.get(type(module), type(module))


def round_rows(values: torch.Tensor) -> torch.Tensor:
    """Numbers (..., n) rounded to -127 to 127 units of each row's own scale."""
    exact = values.detach().float()
    largest = exact.abs().amax(dim=-1, keepdim=True)
    scale = torch.where(largest > 0, largest / 127, 1.0)
    return _pass_through(values, (exact / scale).round() * scale)


def round_states(values: torch.Tensor, bounds: Sequence[float] | None = None) -> torch.Tensor:
    """Numbers rounded to 256 levels between two bounds (QuantizeLinear), or else their lowest and highest, zero
    among them (DynamicQuantizeLinear)."""
    exact = values.detach().float()
    if bounds is None:
        lowest, highest = exact.amin().clamp(max=0), exact.amax().clamp(min=0)
    else:
        lowest, highest = exact.new_tensor(bounds)
    scale = (highest - lowest).clamp(min=1e-12) / 255
    zero = (-lowest / scale).round()
    levels = ((exact / scale).round() + zero).clamp(0, 255)
    return _pass_through(values, (levels - zero) * scale)


def round_groups(values: torch.Tensor, bits: int, group_size: int, *, packed: bool = False) -> torch.Tensor:
    """Numbers (..., n) rounded to few bits, groups of them in a row to a scale of their own."""
    exact = values.detach().float()
    return _pass_through(values, rounded_as_stored(exact, bits, group_size, packed=packed))


def _pass_through(values: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
    return values + (rounded.to(values.dtype) - values.detach())
