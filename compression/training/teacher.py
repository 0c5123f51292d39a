"""What a training that imitates the model before a change needs of that model."""

import numpy as np
import torch
from transformers import PreTrainedModel

from compression.context import Context, TaskData
from compression.data.batches import epoch_batches
from compression.evaluation.predict import predict
from compression.training.params import Distillation, Training


def logits_to_learn(
    model: PreTrainedModel, data: TaskData, training: Training, context: Context
) -> torch.Tensor:
    """Logits (K, C) of the training rows; NaN for rows that a training of less than an epoch never comes to."""
    by_length = training.batching == "by_length"
    batches = epoch_batches(data.train, training.batch_size, context.seed, epoch=0, by_length=by_length)
    visited = batches[: training.steps(len(data.train))]
    sequences = np.concatenate(visited) if len(visited) < len(batches) else None
    return torch.from_numpy(predict(model, data.train, context.stop_if_requested, sequences))


def teacher_logits(
    model: PreTrainedModel,
    data: TaskData,
    distillation: Distillation | None,
    training: Training | None,
    context: Context,
) -> torch.Tensor | None:
    """The same where there is a training with a distillation term that needs them."""
    if distillation is None or training is None:
        return None
    return logits_to_learn(model, data, training, context)
