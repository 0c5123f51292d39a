"""The plain objective: the task's loss, with or without a pull towards the original's logits."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from compression.data.batches import Batch
from compression.tasks.behaviour import behaviour_of
from compression.training.params import Distillation
from compression.training.precision import MixedPrecision


class TaskObjective:
    """Optimises every parameter that requires a gradient.

    `teacher_logits` (K, C) are the original's for the training rows, as `predict` gives them, needed where there is a
    distillation term.
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

    def deliverable(self, done: int) -> bool:
        return True

    def after_step(self, weights: MixedPrecision) -> None:
        pass

    def prepare(self, step: int, fraction: float) -> bool:
        return True

    def loss(self, batch: Batch) -> torch.Tensor:
        return self.loss_of(self.model(**batch.inputs), batch)

    def loss_of(self, output: Any, batch: Batch) -> torch.Tensor:
        """The loss of what the model gave for a batch."""
        task = behaviour_of(batch.task)
        logits = task.outputs(output, batch)
        loss = task.loss(logits, batch)
        if self.distillation is None or self.teacher_logits is None:
            return loss
        teacher = self.teacher_logits[torch.from_numpy(batch.outputs)].to(logits.device)
        pull = task.pull(logits, teacher, batch, self.distillation.temperature)
        return (1 - self.distillation.weight) * loss + self.distillation.weight * pull

    def observed(self) -> dict[str, float]:
        return {}
