"""BERT-of-Theseus (Xu et al., EMNLP 2020): progressive module replacing.

The predecessor's layers are cut into modules, and each gets a successor of one layer. A module and its successor become
one element of the encoder's own list, which picks one of the two at each call: the model code is transformers'.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.context import Context, TaskData
from compression.methods.copies import Source, copies_of, sources_of
from compression.methods.fitting import fit_successors
from compression.methods.layer_choice import LayerChoice, chosen_layers, ends_of
from compression.methods.theseus.modules import ReplaceableModule, put_modules
from compression.methods.theseus.objective import TheseusObjective
from compression.methods.theseus.params import TheseusParams
from compression.methods.theseus.probe import best_initialization
from compression.methods.theseus.smaller import smaller_successors
from compression.training.loop import train
from compression.training.states import Teacher
from compression.training.teacher import teacher_logits


def run(model: PreTrainedModel, data: TaskData, params: TheseusParams, context: Context) -> PreTrainedModel:
    """Compress `model` in place to one layer per module, and return it."""
    anatomy = anatomy_of(model)
    teacher = teacher_logits(model, data, params, context)
    lessen = smaller_successors(model, data, params, context)

    def begin(predecessor: PreTrainedModel, choice: LayerChoice) -> TheseusObjective:
        def prepare(sources: Sequence[Source], successors: Sequence[nn.Module]) -> None:
            if lessen is not None:
                lessen(choice, sources, successors)
            if params.fitted:
                partition = params.partition(len(anatomy.layers_of(predecessor)))
                fit_successors(predecessor, successors, partition, data, context, "theseus")

        dtype = context.dtype_for(params.training)
        shown = teacher_at_borders(predecessor, params, dtype) if params.hidden_weight else None
        modules = wrap(predecessor, choice, params, dtype, prepare)
        return TheseusObjective(predecessor, modules, params, context, teacher, shown)

    if params.initialization == "probe":
        choice = best_initialization(lambda c: begin(deepcopy(model), c), data, params, context)
    else:
        choice = params.initialization
    objective = begin(model, choice)
    train(objective, data, params.training, context)
    anatomy.put_layers(model, [module.successor for module in objective.modules])
    if params.successor_intermediate_size is not None:
        setattr(model.config, anatomy.intermediate_size, params.successor_intermediate_size)
    model.requires_grad_(True)
    return model


def teacher_at_borders(model: PreTrainedModel, params: TheseusParams, dtype: torch.dtype) -> Teacher:
    """The predecessor as it shows its states behind each module; it must not be wrapped yet."""
    ends = ends_of(params.partition(len(anatomy_of(model).layers_of(model))))
    return Teacher(model, ends, (), dtype, as_read=True)


def wrap(
    model: PreTrainedModel,
    choice: LayerChoice,
    params: TheseusParams,
    dtype: torch.dtype,
    prepare: Callable[[Sequence[Source], Sequence[nn.Module]], None] = lambda *_: None,
) -> list[ReplaceableModule]:
    """Put replaceable modules into the encoder; freeze all but the successors (and the head where it is trained).

    `prepare` gets the copies of layers that are to be successors before they are, and what they are made of.
    """
    anatomy = anatomy_of(model)
    partition = params.partition(len(anatomy.layers_of(model)))
    model.requires_grad_(params.frozen_gradients)
    sources = sources_of(model, chosen_layers(choice, partition), partition, fitted=params.fitted)
    successors = copies_of(model, sources)
    prepare(sources, successors)
    for successor in successors:
        successor.requires_grad_()
    for head in anatomy.head_of(model):
        head.requires_grad_(params.head == "trained" or params.frozen_gradients)
    return put_modules(model, partition, successors, dtype)
