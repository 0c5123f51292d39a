"""Quantisation. What is rounded is made of the model when the recipe is done: the 8-bit file by `compression.export`,
codes of few bits by `compression.checkpoints`."""

from collections import Counter

import torch
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.loading import put_form
from compression.context import Context, TaskData
from compression.export.calibration import CallRanges, find_ranges
from compression.methods.quantize.allocation import bits_of_matrices
from compression.methods.quantize.params import QuantizeParams
from compression.methods.quantize.rounded import learn_exactly, learn_in_groups, learn_rounded
from compression.training.loop import train
from compression.training.objectives import TaskObjective
from compression.training.teacher import teacher_logits


def run(model: PreTrainedModel, data: TaskData, params: QuantizeParams, context: Context) -> PreTrainedModel:
    """The model to be stored: in bfloat16, or in its own type and trained to be rounded where that is asked for."""
    if params.scheme == "bfloat16":
        model.config.dtype = torch.bfloat16
        return model.bfloat16()
    bits: dict[str, int] = {}
    if params.scheme == "group-wise":
        bits = context.decide("bits", lambda: bits_of_matrices(model, data, params, context))
        put_form(model, bits=bits, group_size=params.group_size)
        context.note(_in_words(bits, model))
    if params.trains is not None:
        teacher = teacher_logits(model, data, params, context)
        if bits:
            learn_in_groups(model, bits, params.group_size)
        else:
            learn_rounded(model, _ranges(model, data, params, context))
        train(TaskObjective(model, params.distillation, teacher), data, params.trains, context)
        learn_exactly(model)
    return model


def _ranges(model: PreTrainedModel, data: TaskData, params: QuantizeParams, context: Context) -> CallRanges:
    """Those that the file will have too; none where it follows each batch."""
    if params.scheme != "int8-static":
        return {}
    count, stop = params.calibration_rows, context.stop_if_requested
    return context.decide("ranges", lambda: find_ranges(model, data.train, count, context.seed, stop))


def _in_words(bits: dict[str, int], model: PreTrainedModel) -> str:
    inside = {f"{path}.weight" for path in anatomy_of(model).matrices_of(model, embeddings=False)}
    sizes = {name: model.get_parameter(name).numel() for name in bits}
    matrices = Counter(number for name, number in bits.items() if name in inside)
    average = sum(bits[name] * sizes[name] for name in inside) / sum(sizes[name] for name in inside)
    shares = ", ".join(f"{count} of {number}" for number, count in sorted(matrices.items()))
    return (
        f"The {matrices.total()} matrices of the layers are stored in {average:.2f} bits a weight ({shares}), "
        f"{len(bits) - matrices.total()} others in {max(bits.values())}, with a scale of 16 bits for each group. "
        "They are float32 when they are loaded: the file is smaller, but no less memory and time is needed to run it"
    )
