"""The plain objective: the task's loss, with or without a pull towards the original's logits."""

from collections.abc import Iterator

import torch
from torch import nn
from transformers import PreTrainedModel

from compression.data.batches import Batch
from compression.losses import soft_target_loss
from compression.tasks.text_classification import task_loss
from compression.training.params import Distillation


class TaskObjective:
    """Optimises every parameter that requires a gradient.

    `teacher_logits` (N, C) are the original's for the training rows, needed where there is a distillation term.
    """

    outside_share = 1.0
    settled = True

    def __init__(
        self,
        model: PreTrainedModel,
        distillation: Distillation | None = None,
        teacher_logits: torch.Tensor | None = None,
    ) -> None:
        self.model = model
        self.distillation = distillation
        self.teacher_logits = teacher_logits

    def trained(self) -> Iterator[nn.Parameter]:
        return (parameter for parameter in self.model.parameters() if parameter.requires_grad)

    def prepare(self, step: int, fraction: float) -> bool:
        return True

    def loss(self, batch: Batch) -> torch.Tensor:
        logits = self.model(**batch.inputs).logits
        loss = task_loss(logits, batch.labels)
        if self.distillation is None or self.teacher_logits is None:
            return loss
        teacher = self.teacher_logits[torch.from_numpy(batch.rows)].to(logits.device)
        pull = soft_target_loss(logits, teacher, self.distillation.temperature)
        return (1 - self.distillation.weight) * loss + self.distillation.weight * pull

    def observed(self) -> dict[str, float]:
        return {}
