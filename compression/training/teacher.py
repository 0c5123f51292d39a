"""What a training that imitates the model before a change needs of that model."""

from collections.abc import Callable
from typing import Protocol

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


class Imitating(Protocol):
    """Settings of a step that may imitate the model that it got."""

    @property
    def trains(self) -> Training | None: ...
    @property
    def distillation(self) -> Distillation | None: ...
    @property
    def shown_each_batch(self) -> bool: ...


def teacher_logits(
    model: PreTrainedModel, data: TaskData, params: Imitating, context: Context
) -> TeacherLogits | None:
    """The model's logits for the training rows that the training comes to, computed once; None where none are needed.

    Where the model is shown every batch for other reasons, they come of the same pass, and none are needed here. Over
    the word pieces of a whole vocabulary they would not fit, and where pieces are hidden, each step hides others: there
    they are computed batch by batch, by a copy of the model as it is now.
    """
    training = params.trains
    if training is None or params.distillation is None or params.shown_each_batch:
        return None
    if data.task.PREDICTS_PIECES:
        return Teacher(model, (), (), context.dtype_for(training)).logits_for
    by_length = training.batching == "by_length"
    batches = epoch_batches(data.train, training.batch_size, context.seed, epoch=0, by_length=by_length)
    visited = batches[: training.steps(len(data.train))]
    sequences = np.concatenate(visited) if len(visited) < len(batches) else None
    logits = torch.from_numpy(known_or_predicted(model, data.train, context, sequences))
    return lambda batch: logits[torch.from_numpy(batch.outputs)]
