"""A module of the predecessor and its successor as one element of the encoder's list of layers."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from compression.architectures import states_of

Given = tuple[tuple[Any, ...], dict[str, Any]]
"""What the encoder gives a layer beside the states, by place and by name."""


class ReplaceableModule(nn.Module):
    """A module of the predecessor and the layer that takes its place.

    Maps hidden states (B, L, H) to hidden states (B, L, H) by one of the two, in evaluation mode by the successor; in a
    tuple, where the layers put theirs into one.
    """

    def __init__(self, predecessor: list[nn.Module], successor: nn.Module) -> None:
        super().__init__()
        self.predecessor = nn.ModuleList(predecessor)
        self.successor = successor
        self.replaced: bool | torch.Tensor = False
        """Whether the successor is used in training; (B,) to tell it of each row."""
        self.compares = False
        """Whether `border` is wanted."""
        self.border: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None] | None = None
        """What the successor put out at the last call, what the predecessor would have, and the rows they are for."""

    @property
    def ends(self) -> list[nn.Module]:
        """The layers that it may end with; none where all the states of both sides are compared."""
        return [] if self.compares else [*self.predecessor[-1:], self.successor]

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        given = args, kwargs
        replaced = self.replaced if self.training else True
        if isinstance(replaced, torch.Tensor) and bool(replaced.any()) == bool(replaced.all()):
            replaced = bool(replaced[0])
        if isinstance(replaced, torch.Tensor):
            return self._by_row(replaced, hidden_states, given)
        if replaced:
            return self._successor(hidden_states, given)
        return _through(self.predecessor, hidden_states, given)

    def _successor(self, states: torch.Tensor, given: Given, rows: torch.Tensor | None = None) -> Any:
        output = _through([self.successor], states, given)
        if self.compares and self.training and len(self.predecessor):
            self.predecessor.eval()  # dropout would be noise in what the successor is held against
            with torch.no_grad():
                expected = _through(self.predecessor, states, given)
            self.border = states_of(output), states_of(expected), rows
            self.predecessor.train()
        return output

    def _by_row(self, replaced: torch.Tensor, states: torch.Tensor, given: Given) -> Any:
        output = self._successor(states[replaced], _of_rows(given, replaced), replaced)
        by_successor = states_of(output)
        mixed = by_successor.new_empty(len(states), *by_successor.shape[1:])
        mixed[replaced] = by_successor
        mixed[~replaced] = states_of(
            _through(self.predecessor, states[~replaced], _of_rows(given, ~replaced))
        )
        return (mixed, *output[1:]) if isinstance(output, tuple) else mixed


def _through(layers: Iterable[nn.Module], states: torch.Tensor, given: Given) -> Any:
    """What the last of the layers puts out."""
    args, kwargs = given
    output: Any = states
    for layer in layers:
        output = layer(states_of(output), *args, **kwargs)
    return output


def _of_rows(given: Given, rows: torch.Tensor) -> Given:
    def cut(value: Any) -> Any:
        with_rows = isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == len(rows)
        return value[rows] if with_rows else value

    args, kwargs = given
    return tuple(map(cut, args)), {name: cut(value) for name, value in kwargs.items()}
