"""A module of the predecessor and its successor as one element of the encoder's list of layers."""

from typing import Any

import torch
from torch import nn


class ReplaceableModule(nn.Module):
    """A module of the predecessor and the layer that takes its place.

    Maps hidden states (B, L, H) to hidden states (B, L, H) by one of the two, in evaluation mode by the successor.
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

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        replaced = self.replaced if self.training else True
        if isinstance(replaced, torch.Tensor) and bool(replaced.any()) == bool(replaced.all()):
            replaced = bool(replaced[0])
        if isinstance(replaced, torch.Tensor):
            return self._by_row(replaced, hidden_states, args, kwargs)
        if replaced:
            return self._successor(hidden_states, args, kwargs, None)
        return self._predecessor(hidden_states, args, kwargs)

    def _predecessor(
        self, hidden_states: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> torch.Tensor:
        for layer in self.predecessor:
            hidden_states = layer(hidden_states, *args, **kwargs)
        return hidden_states

    def _successor(
        self,
        hidden_states: torch.Tensor,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        rows: torch.Tensor | None,
    ) -> torch.Tensor:
        states: torch.Tensor = self.successor(hidden_states, *args, **kwargs)
        if self.compares and self.training and len(self.predecessor):
            self.predecessor.eval()  # dropout would be noise in what the successor is held against
            with torch.no_grad():
                self.border = states, self._predecessor(hidden_states, args, kwargs), rows
            self.predecessor.train()
        return states

    def _by_row(
        self,
        replaced: torch.Tensor,
        hidden_states: torch.Tensor,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> torch.Tensor:
        batch = len(hidden_states)

        def part(rows: torch.Tensor) -> tuple[torch.Tensor, tuple[Any, ...], dict[str, Any]]:
            def cut(value: Any) -> Any:
                with_rows = isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == batch
                return value[rows] if with_rows else value

            return hidden_states[rows], tuple(map(cut, args)), {k: cut(v) for k, v in kwargs.items()}

        mixed = torch.empty_like(hidden_states)
        mixed[replaced] = self._successor(*part(replaced), replaced)
        mixed[~replaced] = self._predecessor(*part(~replaced))
        return mixed
