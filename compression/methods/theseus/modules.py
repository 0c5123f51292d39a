"""A module of the predecessor and its successor as one element of the encoder's list of layers."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of, states_of
from compression.methods.layer_choice import bounds_of

Given = tuple[tuple[Any, ...], dict[str, Any]]
"""What the encoder gives a layer beside the states, by place and by name."""


class Listener(nn.Module):
    """Passes states on, and hears what the encoder gives layers of one kind.

    An encoder gives each element of its list what the element's own kind needs; a module has layers of several.
    """

    def __init__(self, attribute: str, kind: str, heard: dict[str, Given]) -> None:
        super().__init__()
        setattr(self, attribute, kind)
        self.kind, self.heard = kind, heard

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.heard[self.kind] = args, kwargs
        return hidden_states


class ReplaceableModule(nn.Module):
    """A module of the predecessor and the layer that takes its place.

    Maps hidden states (B, L, H) to hidden states (B, L, H) by one of the two, in evaluation mode by the successor; in a
    tuple, where the layers put theirs into one. Layers that have a kind, by the attribute of that name, get what was
    `heard` for it.
    """

    def __init__(
        self,
        predecessor: list[nn.Module],
        successor: nn.Module,
        kind: str | None = None,
        heard: dict[str, Given] | None = None,
    ) -> None:
        super().__init__()
        self.kind, self.heard = kind, {} if heard is None else heard
        if kind is not None:
            setattr(self, kind, getattr(successor, kind))
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
        return self._through(self.predecessor, hidden_states, given)

    def _successor(self, states: torch.Tensor, given: Given, rows: torch.Tensor | None = None) -> Any:
        output = self._through([self.successor], states, given, rows)
        if self.compares and self.training and len(self.predecessor):
            self.predecessor.eval()  # dropout would be noise in what the successor is held against
            with torch.no_grad():
                expected = self._through(self.predecessor, states, given, rows)
            self.border = states_of(output), states_of(expected), rows
            self.predecessor.train()
        return output

    def _by_row(self, replaced: torch.Tensor, states: torch.Tensor, given: Given) -> Any:
        output = self._successor(states[replaced], given, replaced)
        by_successor = states_of(output)
        mixed = by_successor.new_empty(len(states), *by_successor.shape[1:])
        mixed[replaced] = by_successor
        others = self._through(self.predecessor, states[~replaced], given, ~replaced)
        mixed[~replaced] = states_of(others)[
            :, : mixed.shape[1]
        ]  # a last layer may give the first piece alone
        return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

    def _through(
        self,
        layers: Iterable[nn.Module],
        states: torch.Tensor,
        given: Given,
        rows: torch.Tensor | None = None,
    ) -> Any:
        """What the last of the layers puts out, where `states` are those of some rows, or of all."""
        output: Any = states
        for layer in layers:
            args, kwargs = given if self.kind is None else self.heard[getattr(layer, self.kind)]
            if rows is not None:
                args, kwargs = _of_rows((args, kwargs), rows)
            output = layer(states_of(output), *args, **kwargs)
        return output


def put_modules(
    model: PreTrainedModel, partition: list[int], successors: Sequence[nn.Module], dtype: torch.dtype
) -> list[ReplaceableModule]:
    """Make modules of so many layers each, and their successors, the encoder's list; the layers compute in `dtype`.

    Several modules may have the same successor.
    """
    anatomy = anatomy_of(model)
    layers = list(anatomy.layers_of(model))
    for layer in layers:
        layer.to(dtype)
    heard: dict[str, Given] = {}
    modules = [
        ReplaceableModule(layers[first:end], successor, anatomy.kind, heard)
        for (first, end), successor in zip(bounds_of(partition), successors, strict=True)
    ]
    listeners = []
    if (attribute := anatomy.kind) is not None:
        kinds = sorted({getattr(layer, attribute) for layer in layers})
        listeners = [Listener(attribute, kind, heard) for kind in kinds]
    model.set_submodule(anatomy.layers, nn.ModuleList([*listeners, *modules]))
    return modules


def _of_rows(given: Given, rows: torch.Tensor) -> Given:
    def cut(value: Any) -> Any:
        with_rows = isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == len(rows)
        return value[rows] if with_rows else value

    args, kwargs = given
    return tuple(map(cut, args)), {name: cut(value) for name, value in kwargs.items()}
