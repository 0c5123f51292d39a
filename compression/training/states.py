"""What a model puts out on its way to the logits: hidden states and raw attention scores, caught by hooks.

transformers collects hidden states of its own encoders only, and attention after the softmax only.
"""

from collections.abc import Collection
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of, states_of
from compression.data.batches import Batch
from compression.tasks.behaviour import behaviour_of
from compression.training.precision import compute_layers_in
from compression.training.whole_layer import use_whole_layers


@dataclass(frozen=True, slots=True)
class Catch:
    """A forward hook that keeps what a module puts out."""

    states: dict[int, torch.Tensor]
    layer: int
    first_piece: bool = False
    """Whether it is looked at for the first piece of each row alone."""

    def __call__(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        found = states_of(output)
        self.states[self.layer] = found[:, :1] if self.first_piece else found


class States:
    """The states of a model's last forward pass. Layers count from 1; 0 stands for the embeddings.

    Those of the last layer can be had `as_read` by the head: where it reads the first piece of each row alone and the
    layers have BERT's form, (B, 1, H), and the layer need not compute the others.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        hidden: Collection[int],
        attention: Collection[int],
        *,
        as_read: bool = False,
    ) -> None:
        anatomy = anatomy_of(model)
        self.heads = int(model.config.num_attention_heads)
        self.hidden: dict[int, torch.Tensor] = {}
        """(B, L, H) by layer; (B, 1, H) of first pieces."""
        self._queries: dict[int, torch.Tensor] = {}
        self._keys: dict[int, torch.Tensor] = {}
        places = [anatomy.entry_of(model), *anatomy.layers_of(model)]
        first = len(places) - 1 if as_read and anatomy.reads_first_piece else None
        catches = [(places[layer], Catch(self.hidden, layer, layer == first)) for layer in hidden]
        for layer in attention:
            query, key, *_ = anatomy.attention_of(places[layer])
            catches += [(query, Catch(self._queries, layer)), (key, Catch(self._keys, layer))]
        self._hooks = [place.register_forward_hook(catch) for place, catch in catches]

    def scores(self, layer: int) -> torch.Tensor:
        """Q K^T / sqrt(d) of a layer (B, heads, L, L), neither masked nor normalised."""
        query, key = (
            states[layer].unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for states in (self._queries, self._keys)
        )
        scores: torch.Tensor = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
        return scores

    def in_order(self) -> list[torch.Tensor]:
        """The hidden states, lowest layer first."""
        return [self.hidden[layer] for layer in sorted(self.hidden)]

    def forget(self) -> None:
        """Let go of the states, so that their memory is free before the next pass."""
        for states in (self.hidden, self._queries, self._keys):
            states.clear()

    def release(self) -> None:
        self.forget()
        for hook in self._hooks:
            hook.remove()


class Teacher:
    """The original as it shows its student what it does: frozen, without dropout, its layers in `dtype`."""

    def __init__(
        self,
        model: PreTrainedModel,
        hidden: Collection[int],
        attention: Collection[int],
        dtype: torch.dtype,
        *,
        as_read: bool = False,
    ) -> None:
        self.body = deepcopy(model).requires_grad_(False).eval()
        for layer in anatomy_of(model).layers_of(self.body):
            layer.to(dtype)
        compute_layers_in(self.body, dtype)
        self.states = States(self.body, hidden, attention, as_read=as_read)
        """Those for the batch that it was shown last."""
        use_whole_layers(
            self.body
        )  # after the states are watched: what they need decides which layers can be so
        self.logits = torch.empty(0)
        """Those for the same batch (K, C)."""

    def look_at(self, batch: Batch) -> None:
        self.logits = self.logits_for(batch)

    @torch.no_grad()
    def logits_for(self, batch: Batch) -> torch.Tensor:
        return behaviour_of(batch.task).logits(self.body, batch)

    def forget(self) -> None:
        self.states.forget()
        self.logits = torch.empty(0)
