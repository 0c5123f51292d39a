"""Mixed precision without autocast: layers compute in a short type, their exact weights live in one float32 vector.

Autocast casts every weight at every call and every gradient on its way back. Here the trained layers are held in the
compute type; embeddings and head stay float32. All trained parameters are views of flat vectors, so that clipping, the
optimizer and the copy between the types are few operations each (the scheme of Micikevicius et al. 2018, section 3.1).
"""

from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of

CHUNK = 2**20
"""Weights that the optimizer moves at a time, so that they are still near when they are copied to the short type."""


class MixedPrecision:
    """Trained parameters of a model: what it computes with, and the float32 vector that AdamW moves.

    Parameters of the encoder's layers become views of `working`, in `dtype`; the others views of the vector itself.
    Frozen layers must be in `dtype` already. Frozen parameters that have a gradient all the same count when gradients
    are clipped. What is zero in `sparse` parameters stays zero: it has no gradient, and so no momentum. `release` makes
    the parameters ordinary float32 ones again.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        trained: Iterable[nn.Parameter],
        dtype: torch.dtype,
        weight_decay: float,
        sparse: Iterable[torch.Tensor] = (),
    ) -> None:
        anatomy = anatomy_of(model)
        in_layers = set(anatomy.layers_of(model).parameters())
        trained = list(trained)
        short = [p for p in trained if p in in_layers]
        exact = [p for p in trained if p not in in_layers]
        self.parameters = short + exact
        ends = accumulate(p.numel() for p in self.parameters)
        self.places: dict[torch.Tensor, int] = {
            p: end - p.numel() for p, end in zip(self.parameters, ends, strict=True)
        }
        moved = set(trained)
        self.sparse = moved.intersection(sparse)
        self.counted = [p for p in model.parameters() if p.requires_grad and p not in moved]
        self.vector = torch.cat([p.detach().flatten() for p in self.parameters])
        self.gradient = torch.empty_like(self.vector)  # each step writes all of it before it reads any
        self.border = sum(p.numel() for p in short)
        self.working = self.vector[: self.border].to(dtype)
        _become_views(short, self.working)
        _become_views(exact, self.vector[self.border :])
        self.gradients = _views(self.gradient, self.parameters)
        self.moments = torch.zeros_like(self.vector), torch.zeros_like(self.vector)
        self.moves = torch.zeros(2, device=self.vector.device)
        """Optimizer steps made by the layers, and by what is outside of them."""
        self.weight_decay = weight_decay
        self.hooks = compute_layers_in(model, dtype)

    def step(self, learning_rate: float, clip_norm: float, outside_share: float = 1.0) -> None:
        """One optimizer step on the gradients of the one backward pass since the last; they are gone afterwards.

        Zero where there is none: a successor that was not drawn goes on moving on its momentum, as in the official
        code. What is outside the layers moves at `outside_share` of the learning rate, and rests where that is 0.
        """
        squares = [self.vector.new_zeros(())]
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            if parameter.grad is None:
                gradient.zero_()
            else:
                gradient.copy_(parameter.grad)
                if parameter in self.sparse:
                    gradient.masked_fill_(self.exact(parameter) == 0, 0)
                flat = gradient.view(-1)
                squares.append(flat.dot(flat))
                parameter.grad = None  # the next one is handed over instead of being added to zeros
        # The optimizer divides by this while it reads the gradient: clipping needs no pass of its own.
        scale = ((self._norm(squares) + 1e-6) / clip_norm).clamp(min=1.0)
        whole = len(self.vector)
        sections = (0, self.border, 1.0), (self.border, whole, outside_share)
        for (start, end, share), moves in zip(sections, self.moves, strict=True):
            if share and start < end:
                moves += 1
                for place in range(start, end, CHUNK):
                    self._move(slice(place, min(place + CHUNK, end)), moves, learning_rate * share, scale)

    def _norm(self, squares: list[torch.Tensor]) -> torch.Tensor:
        """The norm of all gradients, of frozen parameters too where they have any; theirs are dropped."""
        for parameter in self.counted:
            if parameter.grad is not None:
                squares.append(parameter.grad.square().sum())
                parameter.grad = None
        return torch.stack(squares).sum().sqrt()

    def _move(self, part: slice, moves: torch.Tensor, learning_rate: float, scale: torch.Tensor) -> None:
        """AdamW (Loshchilov and Hutter 2019, algorithm 2) on a part of the vector."""
        first, second = self.moments
        torch._fused_adamw_(
            [self.vector[part]], [self.gradient[part]], [first[part]], [second[part]], [], [moves],
            lr=learning_rate, beta1=0.9, beta2=0.999, weight_decay=self.weight_decay, eps=1e-8,
            amsgrad=False, maximize=False, grad_scale=scale,
        )  # fmt: skip
        if part.stop <= self.border:
            self.working[part].copy_(self.vector[part])

    def exact(self, parameter: torch.Tensor) -> torch.Tensor:
        """The float32 weights of a trained parameter, to change in place; `refresh` then makes them count."""
        return self._part(self.vector, parameter)

    def _part(self, vector: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
        start = self.places[parameter]
        return vector[start : start + parameter.numel()].view(parameter.shape)

    def refresh(self) -> None:
        self.working.copy_(self.vector[: self.border])

    def settle_zeros(self) -> None:
        """`refresh` where `sparse` parameters have new zeros: the momentum of these is gone."""
        for parameter in self.sparse:
            removed = self.exact(parameter) == 0
            for moment in self.moments:
                self._part(moment, parameter).masked_fill_(removed, 0)
        self.refresh()

    def forget(self) -> None:
        """Have the optimizer begin anew, where weights have become others than those that it has moved."""
        for memory in (*self.moments, self.moves):
            memory.zero_()

    def weights(self) -> torch.Tensor:
        """A copy of the float32 vector."""
        return self.vector.clone()

    def put_weights(self, weights: torch.Tensor) -> None:
        self.vector.copy_(weights)
        self.refresh()

    def state(self) -> dict[str, torch.Tensor]:
        return {
            "vector": self.vector,
            "first": self.moments[0],
            "second": self.moments[1],
            "moves": self.moves,
        }

    def put_state(self, state: dict[str, torch.Tensor]) -> None:
        self.put_weights(state["vector"])
        for ours, theirs in zip(
            (*self.moments, self.moves), (state["first"], state["second"], state["moves"]), strict=True
        ):
            ours.copy_(theirs)

    def release(self) -> None:
        for hook in self.hooks:
            hook.remove()
        for parameter, part in zip(self.parameters, _views(self.weights(), self.parameters), strict=True):
            parameter.grad = None
            parameter.data = part


def compute_layers_in(
    model: PreTrainedModel, dtype: torch.dtype
) -> "list[torch.utils.hooks.RemovableHandle]":
    """Hooks by which layers in `dtype` stand between embeddings and a head in float32."""
    anatomy = anatomy_of(model)

    def cast(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(cast, value))
        return value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    def cast_given(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return cast(inputs), {name: cast(value) for name, value in named.items()}

    entry, layers, heads = anatomy.entry_of(model), anatomy.layers_of(model), anatomy.head_of(model)
    return [
        entry.register_forward_hook(lambda _module, _inputs, states: states.to(dtype)),
        # Beside the states, layers get masks, and embeddings of relative positions.
        *(layer.register_forward_pre_hook(cast_given, with_kwargs=True) for layer in layers),
        *(
            head.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(), *inputs[1:]))
            for head in heads
        ),
    ]


def _views(vector: torch.Tensor, parameters: list[nn.Parameter]) -> list[torch.Tensor]:
    """The parts of a vector that stand for the parameters, in their shapes."""
    parts = vector.split([p.numel() for p in parameters])
    return [part.view_as(parameter) for part, parameter in zip(parts, parameters, strict=True)]


def _become_views(parameters: list[nn.Parameter], vector: torch.Tensor) -> None:
    for parameter, part in zip(parameters, _views(vector, parameters), strict=True):
        parameter.data = part
