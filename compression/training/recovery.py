"""What a training that repairs a changed model needs of the model before the change."""

import torch
from transformers import PreTrainedModel

from compression.context import Context, TaskData
from compression.evaluation.predict import predict
from compression.training.params import Distillation


def teacher_logits(
    model: PreTrainedModel, data: TaskData, distillation: Distillation | None, context: Context
) -> torch.Tensor | None:
    """Logits (N, C) of the training rows, where there is a distillation term that needs them."""
    if distillation is None:
        return None
    return torch.from_numpy(predict(model, data.train, context.stop_if_requested))
