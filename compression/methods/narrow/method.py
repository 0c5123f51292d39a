"""Feed-forward pruning by first-order importance (Michel et al. 2019, Yang et al. 2022): plain, narrower layers."""

from functools import partial

from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.context import Context, TaskData
from compression.methods.narrow.neurons import important_neurons, keep_neurons
from compression.methods.narrow.params import NarrowParams
from compression.training.loop import train
from compression.training.objectives import TaskObjective
from compression.training.teacher import teacher_logits


def run(model: PreTrainedModel, data: TaskData, params: NarrowParams, context: Context) -> PreTrainedModel:
    """Narrow the feed-forward part of every layer of `model` in place, train where recovery is asked for, return it."""
    anatomy = anatomy_of(model)
    teacher = teacher_logits(model, data, params.distillation, params.recovery, context)
    parts = [anatomy.feed_forward_of(layer) for layer in anatomy.layers_of(model)]
    width = parts[0][0].out_features
    for number in range(params.rounds):
        target = width - (width - params.kept(width)) * (number + 1) // params.rounds
        choose = partial(important_neurons, model, parts, data, params.rows, context, number, target)
        kept = context.decide(f"neurons of round {number}", choose)
        for part, neurons in zip(parts, kept, strict=True):
            keep_neurons(part, neurons)
    setattr(model.config, anatomy.intermediate_size, params.kept(width))
    if params.recovery is not None:
        train(TaskObjective(model, params.distillation, teacher), data, params.recovery, context)
    return model
