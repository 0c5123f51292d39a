"""What a model puts out on its way to the logits: hidden states and raw attention scores, caught by hooks.

transformers collects hidden states of its own encoders only, and attention after the softmax only.
"""

from collections.abc import Collection
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of, states_of
from compression.data.batches import Batch
from compression.tasks.behaviour import behaviour_of
from compression.training.precision import compute_layers_in


class States:
    """The states of a model's last forward pass. Layers count from 1; 0 stands for the embeddings."""

    def __init__(self, model: PreTrainedModel, hidden: Collection[int], attention: Collection[int]) -> None:
        anatomy = anatomy_of(model)
        self.heads = int(model.config.num_attention_heads)
        self.hidden: dict[int, torch.Tensor] = {}
        """(B, L, H) by layer."""
        self._queries: dict[int, torch.Tensor] = {}
        self._keys: dict[int, torch.Tensor] = {}
        places = [anatomy.entry_of(model), *anatomy.layers_of(model)]
        hooks = [_catch(places[layer], self.hidden, layer) for layer in hidden]
        for layer in attention:
            query, key, *_ = anatomy.attention_of(places[layer])
            hooks += [_catch(query, self._queries, layer), _catch(key, self._keys, layer)]
        self._hooks = hooks

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


def _catch(
    module: nn.Module, states: dict[int, torch.Tensor], layer: int
) -> "torch.utils.hooks.RemovableHandle":
    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        states[layer] = states_of(output)

    return module.register_forward_hook(keep)


class Teacher:
    """The original as it shows its student what it does: frozen, without dropout, its layers in `dtype`.

    It goes no higher than is looked at, unless its logits are wanted too.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        hidden: Collection[int],
        attention: Collection[int],
        dtype: torch.dtype,
        *,
        answers: bool = False,
    ) -> None:
        self.body = deepcopy(model).requires_grad_(False).eval()
        anatomy = anatomy_of(model)
        layers = list(anatomy.layers_of(self.body))
        if not answers:
            layers = layers[: max([*hidden, *attention])]
            anatomy.put_layers(self.body, layers)
        for layer in layers:
            layer.to(dtype)
        compute_layers_in(self.body, dtype)
        self.states = States(self.body, hidden, attention)
        self.logits = torch.empty(0)
        """Those of the last batch (K, C); of no meaning where it goes no higher than is looked at."""

    @torch.no_grad()
    def look_at(self, batch: Batch) -> States:
        """The states for a batch."""
        self.logits = behaviour_of(batch.task).logits(self.body, batch)
        return self.states

    def logits_for(self, batch: Batch) -> torch.Tensor:
        self.look_at(batch)
        return self.logits
