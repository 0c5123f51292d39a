"""Quantisation. The 8-bit file itself is made of the checkpoint, by `compression.export`, when the recipe is done."""

import torch
from transformers import PreTrainedModel

from compression.context import Context, TaskData
from compression.methods.quantize.params import QuantizeParams
from compression.methods.quantize.rounded import learn_exactly, learn_rounded
from compression.training.loop import train
from compression.training.objectives import TaskObjective
from compression.training.teacher import teacher_logits


def run(model: PreTrainedModel, data: TaskData, params: QuantizeParams, context: Context) -> PreTrainedModel:
    """The model to be stored: in bfloat16, or in its own type and trained to be rounded where that is asked for."""
    if params.scheme == "bfloat16":
        model.config.dtype = torch.bfloat16
        return model.bfloat16()
    if params.recovery is not None:
        teacher = teacher_logits(model, data, params.distillation, params.recovery, context)
        learn_rounded(model)
        train(TaskObjective(model, params.distillation, teacher), data, params.recovery, context)
        learn_exactly(model)
    return model
