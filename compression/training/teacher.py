"""What a training that imitates the model before a change needs of that model."""

from collections.abc import Callable

import numpy as np
import torch
from transformers import PreTrainedModel

from compression.context import Context, TaskData
from compression.data.batches import Batch, epoch_batches
from compression.evaluation.known import known_or_predicted
from compression.training.params import Distillation, Training
from compression.training.states import Teacher

TeacherLogits = Callable[[Batch], torch.Tensor]
"""The logits (K, C) of the model to imitate for a batch of training rows."""


def logits_to_learn(
    model: PreTrainedModel, data: TaskData, training: Training, context: Context
) -> TeacherLogits:
    """The model's logits for the training rows that the training comes to, computed once.

    Over the word pieces of a whole vocabulary they would not fit, and where pieces are hidden, each step hides others:
    there they are computed batch by batch, by a copy of the model as it is now.
    """
    if data.task.PREDICTS_PIECES:
        return Teacher(model, (), (), context.dtype_for(training), answers=True).logits_for
    by_length = training.batching == "by_length"
    batches = epoch_batches(data.train, training.batch_size, context.seed, epoch=0, by_length=by_length)
    visited = batches[: training.steps(len(data.train))]
    sequences = np.concatenate(visited) if len(visited) < len(batches) else None
    logits = torch.from_numpy(known_or_predicted(model, data.train, context, sequences))
    return lambda batch: logits[torch.from_numpy(batch.outputs)]


def teacher_logits(
    model: PreTrainedModel,
    data: TaskData,
    distillation: Distillation | None,
    training: Training | None,
    context: Context,
) -> TeacherLogits | None:
    """The same where there is a training with a distillation term that needs them."""
    if distillation is None or training is None:
        return None
    return logits_to_learn(model, data, training, context)
