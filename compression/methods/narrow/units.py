"""The neurons and heads of a layer, and the layer without some of them."""

import torch
from torch import nn

from compression.architectures import Anatomy


class Layer:
    """What of a layer is narrowed: its feed-forward part, and its attention where the channels of a head are given."""

    def __init__(self, layer: nn.Module, anatomy: Anatomy, head_width: int | None = None) -> None:
        self.inner, self.outer = anatomy.feed_forward_of(layer)
        self.attention = [] if head_width is None else anatomy.attention_of(layer)
        """The maps to queries, keys and values, and from values back."""
        self.head_width = head_width or 1

    @property
    def neurons(self) -> int:
        return self.inner.out_features

    @property
    def heads(self) -> int:
        return self.attention[0].out_features // self.head_width if self.attention else 0

    @property
    def parameters(self) -> list[torch.Tensor]:
        """Weights into the neurons (I, H), their biases (I,), weights out of them (H, I); those that read heads."""
        read_heads = [self.attention[-1].weight] if self.attention else []
        return [self.inner.weight, self.inner.bias, self.outer.weight, *read_heads]

    def keep_neurons(self, neurons: list[int]) -> None:
        """Remove all other neurons between the two linear maps."""
        _keep([self.inner], self.outer, torch.tensor(neurons))

    def keep_heads(self, heads: list[int]) -> None:
        """Remove all other heads."""
        *into, out_of = self.attention
        channels = torch.tensor(heads)[:, None] * self.head_width + torch.arange(self.head_width)
        _keep(into, out_of, channels.flatten())


def _keep(into: list[nn.Linear], out_of: nn.Linear, index: torch.Tensor) -> None:
    """Keep, of the channels that some maps give to another, those of the index."""
    index = index.to(out_of.weight.device)
    for linear in into:
        linear.weight = nn.Parameter(linear.weight.detach()[index])
        linear.bias = nn.Parameter(linear.bias.detach()[index])
        linear.out_features = len(index)
    out_of.weight = nn.Parameter(out_of.weight.detach()[:, index].contiguous())
    out_of.in_features = len(index)
