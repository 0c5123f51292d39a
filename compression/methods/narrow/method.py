"""Pruning of neurons and heads by first-order importance (Michel et al. 2019, Yang et al. 2022): narrower layers."""

from copy import deepcopy
from functools import partial

from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.context import Context, TaskData
from compression.methods.fitting import fit_successors
from compression.methods.narrow.importance import best_heads, best_neurons, importance_of
from compression.methods.narrow.params import NarrowParams
from compression.methods.narrow.units import Layer
from compression.training.loop import train
from compression.training.objectives import TaskObjective
from compression.training.teacher import teacher_logits

Kept = dict[str, list[list[int]]]


def run(model: PreTrainedModel, data: TaskData, params: NarrowParams, context: Context) -> PreTrainedModel:
    """Narrow every layer of `model` in place, fitted to what it was where that is asked for, train it, return it."""
    anatomy = anatomy_of(model)
    teacher = teacher_logits(model, data, params, context)
    original = deepcopy(model) if params.fitted else None
    head_width = None
    if params.attention_heads is not None:
        head_width = int(model.config.hidden_size // model.config.num_attention_heads)
    layers = [Layer(layer, anatomy, head_width) for layer in anatomy.layers_of(model)]
    neurons = _falling(layers[0].neurons, params.kept(layers[0].neurons), params.rounds)
    heads = _falling(
        sum(layer.heads for layer in layers), (params.attention_heads or 0) * len(layers), params.rounds
    )
    for number, counts in enumerate(zip(neurons, heads, strict=True)):
        choose = partial(_chosen, model, layers, data, params, context, number, *counts)
        kept: Kept = context.decide(f"round {number}", choose)
        for index, layer in enumerate(layers):
            layer.keep_neurons(kept["neurons"][index])
            if layer.heads:
                layer.keep_heads(kept["heads"][index])
    setattr(model.config, anatomy.intermediate_size, layers[0].neurons)
    if original is not None:
        fit_successors(original, anatomy.layers_of(model), [1] * len(layers), data, context, "narrow")
        del original  # the training needs the memory
    if params.recovery is not None:
        train(TaskObjective(model, params.distillation, teacher), data, params.recovery, context)
    return model


def _falling(start: int, end: int, rounds: int) -> list[int]:
    """What is left after each round, of which all take as many away."""
    return [start - (start - end) * (number + 1) // rounds for number in range(rounds)]


def _chosen(
    model: PreTrainedModel,
    layers: list[Layer],
    data: TaskData,
    params: NarrowParams,
    context: Context,
    number: int,
    neurons: int,
    heads: int,
) -> Kept:
    """Indices, by layer, of the neurons and heads that stay after a round."""
    importance = importance_of(model, layers, data, params.rows, context, number)
    return {
        "neurons": best_neurons(importance.neurons, neurons),
        "heads": best_heads(importance.heads, heads) if params.attention_heads is not None else [],
    }
