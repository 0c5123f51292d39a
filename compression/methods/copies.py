"""Copies of layers that a shallower model starts from."""

from collections.abc import Sequence
from copy import deepcopy
from typing import NamedTuple

from torch import nn
from transformers import PreTrainedModel

from compression.architectures import Anatomy, anatomy_of
from compression.checkpoints.loading import is_pruned
from compression.methods.layer_choice import ends_of


class Source(NamedTuple):
    """The layers that one is made of, counted from 0."""

    attention: int
    neurons: int


def sources_of(
    model: PreTrainedModel, chosen: Sequence[int], partition: Sequence[int], *, fitted: bool
) -> list[Source]:
    """Of the layers that stand for parts of so many layers: where each has its attention and its neurons from.

    What will be fitted attends as the layer that was chosen, which should know the states that it is given, and has the
    neurons of the last in its part: behind attention it is fitted to what these read. All else, and what a pruned model
    begins with, which is not fitted, is one layer as it is.
    """
    if not fitted or is_pruned(model):
        return [Source(index, index) for index in chosen]
    return [Source(index, end - 1) for index, end in zip(chosen, ends_of(list(partition)), strict=True)]


def copies_of(model: PreTrainedModel, sources: Sequence[Source]) -> list[nn.Module]:
    """Layers that are made of the model's, as they can stand in its encoder's list."""
    anatomy = anatomy_of(model)
    layers = list(anatomy.layers_of(model))
    shared = {id(model.config): model.config}  # one config for all: it tells each layer how to attend
    copies = []
    for source in sources:
        copy = deepcopy(layers[source.attention], shared.copy())
        if source.neurons != source.attention:
            for path in _behind_attention(anatomy):
                copy.set_submodule(path, deepcopy(layers[source.neurons].get_submodule(path), shared.copy()))
        copies.append(copy)
    return anatomy.fit_to_place(model, copies)


def _behind_attention(anatomy: Anatomy) -> list[str]:
    """What comes after attention in a layer: its neurons, and the norms that the sums are given to."""
    norms = anatomy.norms[1:] if anatomy.pre_norm else anatomy.norms
    return [*anatomy.feed_forward, *norms]
