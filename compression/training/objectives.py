"""The plain objective: the task's loss, with or without a pull towards the original's logits."""

from collections.abc import Collection, Iterator

import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.loading import is_pruned
from compression.data.batches import Batch
from compression.tasks.behaviour import behaviour_of
from compression.training.params import Distillation
from compression.training.precision import MixedPrecision
from compression.training.teacher import TeacherLogits


class TaskObjective:
    """Optimises every parameter that requires a gradient.

    `teacher_logits` gives the original's logits (K, C) for a batch of training rows, needed where there is a
    distillation term.
    """

    outside_share = 1.0
    settled = True

    def __init__(
        self,
        model: PreTrainedModel,
        distillation: Distillation | None = None,
        teacher_logits: TeacherLogits | None = None,
    ) -> None:
        self.model = model
        self.distillation = distillation
        self.teacher_logits = teacher_logits

    def trained(self) -> Iterator[nn.Parameter]:
        return (parameter for parameter in self.model.parameters() if parameter.requires_grad)

    def sparse(self) -> Collection[torch.Tensor]:
        """Those of a model that an earlier step has pruned: to train what is left must not fill it again."""
        return anatomy_of(self.model).weights_of(self.model) if is_pruned(self.model) else []

    def deliverable(self, done: int) -> bool:
        return True

    def after_step(self, weights: MixedPrecision) -> None:
        pass

    def prepare(self, step: int, fraction: float) -> bool:
        return True

    def loss(self, batch: Batch) -> torch.Tensor:
        task = behaviour_of(batch.task)
        logits = task.logits(self.model, batch)
        loss = task.loss(logits, batch)
        if self.distillation is None or self.teacher_logits is None:
            return loss
        teacher = self.teacher_logits(batch).to(logits.device)
        pull = task.pull(logits, teacher, batch, self.distillation.temperature)
        return (1 - self.distillation.weight) * loss + self.distillation.weight * pull

    def probe(self, batch: Batch) -> torch.Tensor:
        """The scalar whose gradients tell which weights matter."""
        task = behaviour_of(batch.task)
        return task.probe(task.logits(self.model, batch), batch)

    def observed(self) -> dict[str, float]:
        return {}
