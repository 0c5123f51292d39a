"""A student cut out of its teacher: some of its layers, of these the channels, neurons and parts of heads that weigh
most.

Matching inner states needs a student that resembles its teacher from the start (Jiao et al. 2020, section 4.4): a
random one learns nothing from them in the time that a task's training takes.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import Anatomy, anatomy_of
from compression.checkpoints.plankwright_model import build
from compression.methods.shape import ModelShape

Index = torch.Tensor


@dataclass(frozen=True, slots=True)
class Cut:
    """A student, and the teacher's channel (H') that each of its channels is."""

    student: PreTrainedModel
    channels: Index


@torch.no_grad()
def cut_student(teacher: PreTrainedModel, layers: list[int], shape: ModelShape) -> Cut:
    """A model of the given shape whose layers are those of the teacher numbered `layers` (from 0), in part."""
    anatomy = anatomy_of(teacher)
    sources = [anatomy.layers_of(teacher)[index] for index in layers]
    channels = _heaviest(_channel_weights(teacher, anatomy), shape.hidden_size)
    config = anatomy.config_class.from_dict(teacher.config.to_dict())
    config.num_hidden_layers = shape.layers
    config.hidden_size = shape.hidden_size
    setattr(config, anatomy.intermediate_size, shape.intermediate_size)
    config._attn_implementation = teacher.config._attn_implementation
    student = build(anatomy.model_class, config).eval().to(teacher.device)
    for layer, source in zip(anatomy.layers_of(student), sources, strict=True):
        _copy_layer(layer, source, anatomy, channels, shape)
    inside = anatomy.layers + "."
    theirs = teacher.state_dict()
    for name, ours in student.state_dict().items():
        if not name.startswith(inside):
            _copy(ours, theirs[name], *(channels for _ in ours.shape))
    return Cut(student, channels)


def _copy_layer(
    layer: nn.Module, source: nn.Module, anatomy: Anatomy, channels: Index, shape: ModelShape
) -> None:
    ours, theirs = (dict(model.named_parameters()) for model in (layer, source))
    query, key, value, output = (f"{name}.weight" for name in anatomy.attention)
    into, out_of = (f"{name}.weight" for name in anatomy.feed_forward)
    heads, width = shape.attention_heads, shape.hidden_size // shape.attention_heads
    matched = _by_head(theirs[query].square().sum(1) * theirs[key].square().sum(1), heads, width)
    carried = _by_head(theirs[value].square().sum(1) * theirs[output].square().sum(0), heads, width)
    neurons = _heaviest(
        theirs[into].square().sum(1) * theirs[out_of].square().sum(0), shape.intermediate_size
    )
    rows = {query: matched, key: matched, value: carried, into: neurons}
    columns = {output: carried, out_of: neurons}
    for name, parameter in ours.items():
        weight = name.removesuffix("bias") + "weight" if name.endswith("bias") else name
        axes = rows.get(weight, channels), columns.get(weight, channels)
        _copy(parameter.data, theirs[name].data, *axes[: parameter.dim()])
    # Scores are divided by the root of a head's width: queries make up for the smaller one.
    scale = (ours[query].shape[0] / theirs[query].shape[0]) ** 0.5
    for name in (query, query.removesuffix("weight") + "bias"):
        ours[name].data.mul_(scale)


def _copy(ours: torch.Tensor, theirs: torch.Tensor, *axes: Index) -> None:
    """Copy what `axes` pick; an axis that is as long in both is copied whole."""
    for axis, index in enumerate(axes):
        if ours.shape[axis] != theirs.shape[axis]:
            theirs = theirs.index_select(axis, index)
    ours.copy_(theirs)


def _channel_weights(model: PreTrainedModel, anatomy: Anatomy) -> torch.Tensor:
    """How much each hidden channel (H,) weighs: the square of the size that norms give it, times its readers'."""
    read = torch.zeros(int(model.config.hidden_size), device=model.device)
    for layer in anatomy.layers_of(model):
        query, key, value, _ = anatomy.attention_of(layer)
        for linear in (query, key, value, anatomy.feed_forward_of(layer)[0]):
            read += linear.weight.detach().square().sum(dim=0)
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    size = torch.stack([n.weight.detach().square() + n.bias.detach().square() for n in norms]).mean(dim=0)
    return read * size


def _heaviest(weights: torch.Tensor, count: int) -> Index:
    """Indices of the largest weights, in their own order."""
    return weights.argsort(descending=True, stable=True)[:count].sort().values


def _by_head(weights: torch.Tensor, heads: int, width: int) -> Index:
    """The heaviest `width` rows of each head."""
    starts = torch.arange(heads, device=weights.device) * (len(weights) // heads)
    return torch.cat(
        [start + _heaviest(head, width) for start, head in zip(starts, weights.chunk(heads), strict=True)]
    )
