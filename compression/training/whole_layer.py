"""A layer of BERT's form, forwards and backwards, as one operation: how layers are trained on a CPU.

Autograd makes some hundred and fifty operations of a layer, and on a CPU each costs its dispatch and a walk through
memory: about half of a step. Here the three maps of attention are one matrix product, the sum with the residual carries
the dropout, a mask is a window of bits drawn before, and short rows are attended to in vectors of full width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.activations import GELUActivation

from compression.architectures import Anatomy, PostNorm, anatomy_of
from compression.training.dropout import keep_mask, speed_up_training_on_cpu

KEYS = 32
"""Least number of keys: torch's softmax over fewer than fill a vector takes one element at a time."""


class Call(NamedTuple):
    """What a call is told besides its tensors."""

    heads: int
    epsilons: tuple[float, float]
    dropouts: tuple[float, float, float]
    """Probabilities for attention weights, what attention puts out, and what the feed-forward puts out."""
    first_only: bool
    """The hidden states of the first piece of each row are all that is asked for."""


class _Layer(torch.autograd.Function):
    """LN(y + D(W_2 gelu(W_1 y))) with y = LN(x + D(W_o attention(x))), of hidden states (B, L, H).

    The result is (B, A, H): A is L, or 1 where the first piece alone is asked for.
    """

    @staticmethod
    def forward(
        ctx: Any, states: torch.Tensor, mask: torch.Tensor | None, call: Call, *weights: torch.Tensor
    ) -> torch.Tensor:
        wq, bq, wk, bk, wv, bv, wo, bo, n1w, n1b, w1, b1, w2, b2, n2w, n2b = weights
        rows, length, size = states.shape
        heads, width = call.heads, size // call.heads
        keys = max(length, KEYS)
        p_weights, p_attended, p_out = call.dropouts
        x = states.reshape(-1, size)
        asked = states[:, 0] if call.first_only else x
        answers = len(asked) // rows

        query = x.new_empty(rows, heads, answers, width)
        queried = torch.addmm(bq, asked, wq.t()).view(rows, answers, heads, width)
        torch.mul(queried.transpose(1, 2), width**-0.5, out=query)
        query = query.view(-1, answers, width)
        wp = torch.cat([wk, wv])
        paired = torch.addmm(torch.cat([bk, bv]), x, wp.t()).view(rows, length, 2, heads, width)
        pairs = x.new_zeros(2, rows, heads, keys, width)
        pairs[:, :, :, :length].copy_(paired.permute(2, 0, 3, 1, 4))
        key, value = pairs.view(2, -1, keys, width)

        scores = torch.bmm(query, key.transpose(1, 2))
        if mask is not None:
            scores.view(rows, heads, answers, keys).add_(mask[:, :, :answers])
        attention = scores.softmax(-1)
        kept = keep_mask(attention, p_weights)
        dropped = attention if kept is None else attention * kept
        attended = torch.bmm(dropped, value).view(rows, heads, answers, width).transpose(1, 2).reshape(-1, size)

        kept_attended = keep_mask(asked, p_attended)
        sum1 = _add(asked, torch.addmm(bo, attended, wo.t()), kept_attended)
        y, mean1, scale1 = torch.native_layer_norm(sum1, (size,), n1w, n1b, call.epsilons[0])
        neurons = torch.addmm(b1, y, w1.t())
        active = functional.gelu(neurons)
        kept_out = keep_mask(asked, p_out)
        sum2 = _add(y, torch.addmm(b2, active, w2.t()), kept_out)
        out, mean2, scale2 = torch.native_layer_norm(sum2, (size,), n2w, n2b, call.epsilons[1])

        ctx.save_for_backward(
            x, asked, query, key, value, attention, kept, dropped, attended, kept_attended,
            sum1, mean1, scale1, y, neurons, active, kept_out, sum2, mean2, scale2,
            wq, wp, wo, n1w, n1b, w1, w2, n2w, n2b,
        )  # fmt: skip
        ctx.sizes = (rows, length, answers, heads, width, keys)
        return out.view(rows, answers, size)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (
            x, asked, query, key, value, attention, kept, dropped, attended, kept_attended,
            sum1, mean1, scale1, y, neurons, active, kept_out, sum2, mean2, scale2,
            wq, wp, wo, n1w, n1b, w1, w2, n2w, n2b,
        ) = ctx.saved_tensors  # fmt: skip
        rows, length, answers, heads, width, keys = ctx.sizes
        size = heads * width
        d_below, trained = ctx.needs_input_grad[0], ctx.needs_input_grad[3]
        wanted = [True, trained, trained]

        d_sum2, d_n2w, d_n2b = torch.ops.aten.native_layer_norm_backward(
            gradients[0].reshape(-1, size), sum2, (size,), mean2, scale2, n2w, n2b, wanted
        )
        d_fed = d_sum2 if kept_out is None else d_sum2 * kept_out
        d_neurons = torch.ops.aten.gelu_backward(d_fed @ w2, neurons)
        d_sum1, d_n1w, d_n1b = torch.ops.aten.native_layer_norm_backward(
            torch.addmm(d_sum2, d_neurons, w1), sum1, (size,), mean1, scale1, n1w, n1b, wanted
        )
        d_put_out = d_sum1 if kept_attended is None else d_sum1 * kept_attended
        d_attended = (d_put_out @ wo).view(rows, answers, heads, width).transpose(1, 2)
        d_attended = d_attended.reshape(-1, answers, width)

        d_weights = torch.bmm(d_attended, value.transpose(1, 2))
        if kept is not None:
            d_weights.mul_(kept)
        d_scores = torch._softmax_backward_data(d_weights, attention, -1, attention.dtype)
        d_query = torch.bmm(d_scores, key).view(rows, heads, answers, width).transpose(1, 2)
        d_queried = x.new_empty(rows, answers, heads, width)
        torch.mul(d_query, width**-0.5, out=d_queried)
        d_queried = d_queried.view(-1, size)
        d_pairs = x.new_empty(2, rows, heads, keys, width)
        torch.bmm(d_scores.transpose(1, 2), query, out=d_pairs[0].view(-1, keys, width))
        torch.bmm(dropped.transpose(1, 2), d_attended, out=d_pairs[1].view(-1, keys, width))
        d_paired = d_pairs[:, :, :, :length].permute(1, 3, 0, 2, 4).reshape(-1, 2 * size)

        d_states = None
        if d_below:
            d_asked = torch.addmm(d_sum1, d_queried, wq)
            if answers == length:
                d_states = d_asked.addmm_(d_paired, wp).view(rows, length, size)
            else:
                d_states = (d_paired @ wp).view(rows, length, size)
                d_states[:, 0] += d_asked
        if not trained:
            return d_states, *[None] * 18
        (d_wk, d_wv), (d_bk, d_bv) = (d_paired.t() @ x).chunk(2), d_paired.sum(0).chunk(2)
        return (
            d_states, None, None,
            d_queried.t() @ asked, d_queried.sum(0), d_wk, d_bk, d_wv, d_bv,
            d_put_out.t() @ attended, d_put_out.sum(0), d_n1w, d_n1b,
            d_neurons.t() @ y, d_neurons.sum(0), d_fed.t() @ active, d_fed.sum(0), d_n2w, d_n2b,
        )  # fmt: skip


def _add(residual: torch.Tensor, values: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
    return values.add_(residual) if kept is None else torch.addcmul(residual, values, kept)


class WholeLayer:
    """The forward of a layer as one operation; `fits` tells whether it would be the layer's own."""

    def __init__(self, layer: nn.Module, anatomy: Anatomy, form: PostNorm, heads: int) -> None:
        self.layer = layer
        self.heads = heads
        self.first_only = False
        inner, outer = anatomy.feed_forward_of(layer)
        first, second = (layer.get_submodule(path) for path in form.norms)
        self.parts = [*anatomy.attention_of(layer), first, inner, outer, second]
        self.dropouts = [layer.get_submodule(path) if path else None for path in form.dropouts]
        self.activation = layer.get_submodule(form.activation)

    @property
    def fits(self) -> bool:
        """Whether every part is what the operation takes it for, trained as a whole, and watched by nobody."""
        *maps, first, inner, outer, second = self.parts
        inside = [module for module in self.layer.modules() if module is not self.layer]
        return (
            all(type(part) is nn.Linear and part.bias is not None for part in (*maps, inner, outer))
            and all(type(part) is nn.LayerNorm for part in (first, second))
            and isinstance(self.activation, GELUActivation)
            and len({parameter.requires_grad for parameter in self.layer.parameters()}) == 1
            and not any(module._forward_hooks or module._forward_pre_hooks for module in inside)
        )

    def __call__(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> torch.Tensor:
        call = Call(
            heads=self.heads,
            epsilons=(self.parts[4].eps, self.parts[7].eps),
            dropouts=tuple(d.p if d is not None and d.training else 0.0 for d in self.dropouts),
            first_only=self.first_only,
        )
        weights = [tensor for part in self.parts for tensor in (part.weight, part.bias)]
        out: torch.Tensor = _Layer.apply(hidden_states, _for_keys(attention_mask, hidden_states), call, *weights)
        return out


def _for_keys(mask: torch.Tensor | None, states: torch.Tensor) -> torch.Tensor | None:
    """The mask that is added to the scores, with the keys that fill a vector up ruled out."""
    missing = KEYS - states.shape[1]
    if missing <= 0:
        return mask
    lowest = torch.finfo(states.dtype).min
    if mask is None:
        mask = states.new_zeros(1, 1, 1, states.shape[1])
    return functional.pad(mask, (0, missing), value=lowest)


@contextmanager
def fast_layers(model: PreTrainedModel, device: torch.device) -> Iterator[None]:
    """On a CPU, let layers of the model work by one operation each while this lasts, where they have the form."""
    whole: list[WholeLayer] = []
    if device.type == "cpu":
        speed_up_training_on_cpu(model)
        whole = list(_whole_layers(model))
    for forward in whole:
        forward.layer.forward = forward
    try:
        yield
    finally:
        for forward in whole:
            del forward.layer.forward


def _whole_layers(model: PreTrainedModel) -> Iterator[WholeLayer]:
    """Of all layers that fit, those too that are part of a module."""
    anatomy = anatomy_of(model)
    if anatomy.post_norm is None:
        return
    layers = anatomy.layers_of(model)
    heads = int(model.config.num_attention_heads)
    last = _ends(layers[-1]) if anatomy.reads_first_piece else []
    for module in layers.modules():
        if all(_has(module, path) for path in (*anatomy.attention, *anatomy.post_norm.norms)):
            forward = WholeLayer(module, anatomy, anatomy.post_norm, heads)
            if forward.fits:
                forward.first_only = module in last
                yield forward


def _ends(element: nn.Module) -> list[nn.Module]:
    """The layers that an element of the encoder's list may end with, unless their states are looked at."""
    ends: list[nn.Module] = getattr(element, "ends", [element])
    return [] if element._forward_hooks else [end for end in ends if not end._forward_hooks]


def _has(module: nn.Module, path: str) -> bool:
    try:
        module.get_submodule(path)
    except AttributeError:
        return False
    return True
