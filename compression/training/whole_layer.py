"""A layer of BERT's form, forwards and backwards, as two operations: how layers are trained on a CPU.

Autograd makes some hundred and fifty operations of a layer, and on a CPU each costs its dispatch and a walk through
memory: about half of a step. Here the three maps of attention are one matrix product, the sum with the residual carries
the dropout, and short rows are attended to in vectors of full width. Where the head reads the first piece of a row
alone, as in classification, the last layer computes nothing for the others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.activations import GELUActivation

from compression.architectures import Anatomy, anatomy_of
from compression.checkpoints.bodies import PostNorm
from compression.training.dropout import keep_mask, speed_up_training_on_cpu

KEYS = 32
"""Least number of keys: torch's softmax over fewer than fill a vector takes one element at a time."""
Gradients = tuple[torch.Tensor | None, ...]


class _Attention(torch.autograd.Function):
    """D(softmax(Q K^T / sqrt(d) + mask)) V of hidden states (B, L, H), heads side by side."""

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        mask: torch.Tensor | None,
        width: int,
        dropout: float,
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        rows, length, size = states.shape
        heads, keys = len(weights[0]) // width, max(length, KEYS)
        x, maps, biases = states.view(-1, size), torch.cat(weights[::2]), torch.cat(weights[1::2])
        projected = _map(x, maps, biases).view(rows, length, 3, heads, width)
        query = x.new_empty(rows, heads, length, width)
        torch.mul(projected[:, :, 0].transpose(1, 2), width**-0.5, out=query)
        query = query.view(-1, length, width)
        pairs = x.new_zeros(2, rows, heads, keys, width)
        pairs[:, :, :, :length].copy_(projected[:, :, 1:].permute(2, 0, 3, 1, 4))
        key, value = pairs.view(2, -1, keys, width)

        scores = torch.bmm(query, key.transpose(1, 2))
        added = _for_keys(mask, keys, length, x)
        if added is not None:
            scores.view(rows, heads, length, keys).add_(added)
        attention, kept, dropped = _weights(scores, dropout)
        attended = torch.bmm(dropped, value).view(rows, heads, length, width).transpose(1, 2)
        ctx.save_for_backward(x, maps, query, key, value, attention, kept, dropped)
        return attended.reshape(rows, length, heads * width)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Gradients:
        x, maps, query, key, value, attention, kept, dropped = ctx.saved_tensors
        rows, length, size = gradients[0].shape  # of all heads together
        keys, width = key.shape[1:]
        heads = size // width
        d_attended = gradients[0].view(rows, length, heads, width).transpose(1, 2).reshape(-1, length, width)
        d_attention = torch.bmm(d_attended, value.transpose(1, 2))
        d_scores = _d_scores(d_attention, attention, kept)
        d_query = torch.bmm(d_scores, key).view(rows, heads, length, width).transpose(1, 2)
        d_pairs = x.new_empty(2, rows, heads, keys, width)
        torch.bmm(d_scores.transpose(1, 2), query, out=d_pairs[0].view(-1, keys, width))
        torch.bmm(dropped.transpose(1, 2), d_attended, out=d_pairs[1].view(-1, keys, width))
        d_projected = x.new_empty(rows, length, 3, heads, width)
        torch.mul(d_query, width**-0.5, out=d_projected[:, :, 0])
        d_projected[:, :, 1:].copy_(d_pairs[:, :, :, :length].permute(1, 3, 0, 2, 4))
        d_maps_out = d_projected.view(-1, 3 * size)

        d_states = (d_maps_out @ maps).view(rows, length, -1) if ctx.needs_input_grad[0] else None
        d_weights: Gradients = (None,) * 6
        if ctx.needs_input_grad[4]:
            d_maps, d_biases = (d_maps_out.t() @ x).chunk(3), d_maps_out.sum(0).chunk(3)
            d_weights = tuple(part for pair in zip(d_maps, d_biases, strict=True) for part in pair)
        return d_states, None, None, None, *d_weights


class _FirstPieceAttention(torch.autograd.Function):
    """The same for the first piece of each row alone, (B, 1, H).

    With one query a row, keys and values need not be made: q_h K_h^T = (q_h W_k,h) X^T, where the bias of the keys adds
    the same to all scores of a row, and P_h V_h = (P_h X) W_v,h^T + sum(P_h) b_v,h.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        mask: torch.Tensor | None,
        width: int,
        dropout: float,
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        wq, bq, wk, _, wv, bv = weights
        rows, _, size = states.shape
        heads = len(wq) // width
        query = (
            torch.addmm(bq, states[:, 0], wq.t()).mul_(width**-0.5).view(rows, heads, width).transpose(0, 1)
        )
        asking = torch.bmm(query, wk.view(heads, width, size)).transpose(0, 1).contiguous()
        scores = torch.bmm(asking, states.transpose(1, 2))
        if mask is not None:
            scores.add_(mask[:, 0, :1])
        attention, kept, dropped = _weights(scores, dropout)
        gathered = torch.bmm(dropped, states).transpose(0, 1)
        shares = dropped.sum(-1, keepdim=True)
        attended = torch.bmm(gathered, wv.view(heads, width, size).transpose(1, 2)).transpose(0, 1)
        ctx.save_for_backward(
            states, query, asking, attention, kept, dropped, gathered, shares, wq, wk, wv, bv
        )
        return (attended + shares * bv.view(heads, width)).reshape(rows, 1, heads * width)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Gradients:
        states, query, asking, attention, kept, dropped, gathered, shares, wq, wk, wv, bv = ctx.saved_tensors
        rows, _, size = states.shape
        heads, _, width = query.shape
        d_attended = gradients[0].reshape(rows, heads, width)
        d_shares = (d_attended * bv.view(heads, width)).sum(-1, keepdim=True)
        by_head = d_attended.transpose(0, 1)
        d_gathered = torch.bmm(by_head, wv.view(heads, width, size)).transpose(0, 1).contiguous()
        d_attention = torch.bmm(d_gathered, states.transpose(1, 2)).add_(d_shares)
        d_scores = _d_scores(d_attention, attention, kept)
        d_asking = torch.bmm(d_scores, states).transpose(0, 1)
        d_query = torch.bmm(d_asking, wk.view(heads, width, size).transpose(1, 2)).transpose(0, 1)
        d_queried = d_query.reshape(rows, heads * width) * width**-0.5

        d_states = None
        if ctx.needs_input_grad[0]:
            on_states, given = torch.cat((dropped, d_scores), 1), torch.cat((d_gathered, asking), 1)
            d_states = torch.bmm(on_states.transpose(1, 2), given)
            d_states[:, 0] += d_queried @ wq
        if not ctx.needs_input_grad[4]:
            return d_states, *[None] * 9
        return (
            d_states, None, None, None,
            d_queried.t() @ states[:, 0], d_queried.sum(0),
            torch.bmm(query.transpose(1, 2), d_asking).view_as(wk), torch.zeros_like(bv),
            torch.bmm(by_head.transpose(1, 2), gathered).view_as(wv), (d_attended * shares).sum(0).view_as(bv),
        )  # fmt: skip


class _AfterAttention(torch.autograd.Function):
    """LN(y + D(W_2 gelu(W_1 y))) with y = LN(x + D(W_o a)), of hidden states x and what attention gave for them."""

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        attended: torch.Tensor,
        epsilons: tuple[float, float],
        dropouts: tuple[float, float],
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        wo, bo, n1w, n1b, w1, b1, w2, b2, n2w, n2b = weights
        size = states.shape[-1]
        x, attended = states.reshape(-1, size), attended.view(-1, attended.shape[-1])
        kept1 = keep_mask(x, dropouts[0])
        sum1 = _add(x, _map(attended, wo, bo), kept1)
        y, mean1, scale1 = torch.native_layer_norm(sum1, (size,), n1w, n1b, epsilons[0])
        neurons = _map(y, w1, b1)
        active = functional.gelu(neurons)
        kept2 = keep_mask(x, dropouts[1])
        sum2 = _add(y, _map(active, w2, b2), kept2)
        out, mean2, scale2 = torch.native_layer_norm(sum2, (size,), n2w, n2b, epsilons[1])
        ctx.save_for_backward(
            attended, kept1, sum1, mean1, scale1, y, neurons, active, kept2, sum2, mean2, scale2,
            wo, n1w, n1b, w1, w2, n2w, n2b,
        )  # fmt: skip
        return out.view_as(states)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Gradients:
        (
            attended, kept1, sum1, mean1, scale1, y, neurons, active, kept2, sum2, mean2, scale2,
            wo, n1w, n1b, w1, w2, n2w, n2b,
        ) = ctx.saved_tensors  # fmt: skip
        size = gradients[0].shape[-1]
        trained = ctx.needs_input_grad[4]
        wanted = [True, trained, trained]
        d_sum2, d_n2w, d_n2b = torch.ops.aten.native_layer_norm_backward(
            gradients[0].reshape(-1, size), sum2, (size,), mean2, scale2, n2w, n2b, wanted
        )
        d_fed = d_sum2 if kept2 is None else d_sum2 * kept2
        d_neurons = torch.ops.aten.gelu_backward(d_fed @ w2, neurons)
        d_sum1, d_n1w, d_n1b = torch.ops.aten.native_layer_norm_backward(
            torch.addmm(d_sum2, d_neurons, w1), sum1, (size,), mean1, scale1, n1w, n1b, wanted
        )
        d_put_out = d_sum1 if kept1 is None else d_sum1 * kept1
        d_states = d_sum1.view_as(gradients[0]) if ctx.needs_input_grad[0] else None
        d_attended = None
        if ctx.needs_input_grad[1]:
            d_attended = (d_put_out @ wo).view(*gradients[0].shape[:-1], -1)
        if not trained:
            return d_states, d_attended, *[None] * 12
        return (
            d_states, d_attended, None, None,
            d_put_out.t() @ attended, d_put_out.sum(0), d_n1w, d_n1b,
            d_neurons.t() @ y, d_neurons.sum(0), d_fed.t() @ active, d_fed.sum(0), d_n2w, d_n2b,
        )  # fmt: skip


def _map(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """x W^T + b; in bfloat16 by the operation that adds the bias as it goes, where addmm first fills the result."""
    if x.dtype is torch.bfloat16 and x.is_contiguous():
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return out
    return torch.addmm(bias, x, weight.t())


def _weights(scores: torch.Tensor, dropout: float) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """softmax(scores), what of it is kept, and what is left of it."""
    attention = scores.softmax(-1)
    kept = keep_mask(attention, dropout)
    return attention, kept, attention if kept is None else attention * kept


def _d_scores(d_left: torch.Tensor, attention: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
    """The gradient of the scores, from that of what was left; `d_left` is overwritten."""
    if kept is not None:
        d_left.mul_(kept)
    return torch._softmax_backward_data(d_left, attention, -1, attention.dtype)


def _add(residual: torch.Tensor, values: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
    return values.add_(residual) if kept is None else torch.addcmul(residual, values, kept)


def _for_keys(mask: torch.Tensor | None, keys: int, length: int, like: torch.Tensor) -> torch.Tensor | None:
    """What is added to the scores: the mask (B, 1, L, L), with the keys that fill a vector up ruled out."""
    if keys == length:
        return mask
    if mask is None:
        mask = like.new_zeros(1, 1, 1, length)
    return functional.pad(mask, (0, keys - length), value=torch.finfo(like.dtype).min)


class WholeLayer:
    """The forward of a layer as two operations; `fits` tells whether it would be the layer's own.

    It knows the layer's parts alone: a layer that a method lets go of is gone with its forward.
    """

    def __init__(self, layer: nn.Module, anatomy: Anatomy, form: PostNorm, head_width: int) -> None:
        self.head_width = head_width
        self.first_only = False
        first, second = anatomy.norms
        paths = (*anatomy.attention, first, *anatomy.feed_forward, second)
        self.parts = [layer.get_submodule(path) for path in paths]
        self.dropouts = [layer.get_submodule(path) if path else None for path in form.dropouts]
        self.activation = layer.get_submodule(form.activation)

    def fits(self, layer: nn.Module) -> bool:
        """Whether every part is what the operation takes it for, trained as a whole, and watched by nobody."""
        *maps, first, inner, outer, second = self.parts
        inside = [module for module in layer.modules() if module is not layer]
        return (
            all(type(part) is nn.Linear and part.bias is not None for part in (*maps, inner, outer))
            and all(type(part) is nn.LayerNorm for part in (first, second))
            and isinstance(self.activation, GELUActivation)
            and len({parameter.requires_grad for parameter in layer.parameters()}) == 1
            and not any(module._forward_hooks or module._forward_pre_hooks for module in inside)
        )

    def __call__(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> torch.Tensor:
        on_attention, on_attended, on_fed = (
            d.p if d is not None and d.training else 0.0 for d in self.dropouts
        )
        weights = [tensor for part in self.parts for tensor in (part.weight, part.bias)]
        attend = _FirstPieceAttention if self.first_only else _Attention
        attended = attend.apply(hidden_states, attention_mask, self.head_width, on_attention, *weights[:6])  # type: ignore[no-untyped-call]  # torch's
        asked = hidden_states[:, :1] if self.first_only else hidden_states
        epsilons = self.parts[4].eps, self.parts[7].eps
        out: torch.Tensor = _AfterAttention.apply(  # type: ignore[no-untyped-call]  # torch's
            asked, attended, epsilons, (on_attended, on_fed), *weights[6:]
        )
        return out


@contextmanager
def fast_layers(model: PreTrainedModel) -> Iterator[None]:
    """On a CPU, let layers of the model work by two operations each while this lasts, where they have the form."""
    whole = use_whole_layers(model)
    try:
        yield
    finally:
        for layer in whole:
            del layer.forward


def use_whole_layers(model: PreTrainedModel) -> WeakSet[nn.Module]:
    """The same for good. Returns the layers that work so now."""
    whole = WeakSet[nn.Module]()  # a layer that is let go of meanwhile must not be kept in memory by this
    if model.device.type == "cpu":
        speed_up_training_on_cpu(model)
        for layer, forward in _whole_layers(model):
            layer.forward = forward
            whole.add(layer)
    return whole


def _whole_layers(model: PreTrainedModel) -> Iterator[tuple[nn.Module, WholeLayer]]:
    """All layers that fit, those too that are part of a module, each with its forward."""
    anatomy = anatomy_of(model)
    if anatomy.post_norm is None:
        return
    layers = anatomy.layers_of(model)
    head_width = int(model.config.hidden_size // model.config.num_attention_heads)
    last = _ends(layers[-1]) if anatomy.reads_first_piece else []
    for module in layers.modules():
        if all(_has(module, path) for path in (*anatomy.attention, *anatomy.feed_forward, *anatomy.norms)):
            forward = WholeLayer(module, anatomy, anatomy.post_norm, head_width)
            if forward.fits(module):
                forward.first_only = module in last
                yield module, forward


def _ends(element: nn.Module) -> list[nn.Module]:
    """The layers that an element of the encoder's list may end with, unless all their states are looked at."""
    ends: list[nn.Module] = getattr(element, "ends", [element])
    return [] if _watched(element) else [end for end in ends if not _watched(end)]


def _watched(module: nn.Module) -> bool:
    return any(not getattr(hook, "first_piece", False) for hook in module._forward_hooks.values())


def _has(module: nn.Module, path: str) -> bool:
    try:
        module.get_submodule(path)
    except AttributeError:
        return False
    return True
