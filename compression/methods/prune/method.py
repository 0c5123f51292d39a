"""Gradual magnitude pruning (Zhu and Gupta 2018): the smallest weights become zero, and stay zero, during training."""

from collections.abc import Collection

import torch
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.loading import PRUNED, put_form
from compression.context import Context, TaskData
from compression.methods.prune.params import PruneParams
from compression.training.loop import train
from compression.training.objectives import TaskObjective
from compression.training.precision import MixedPrecision
from compression.training.teacher import TeacherLogits, teacher_logits

UPDATES = 100
"""Times that weights are removed in a training."""


class PruneObjective(TaskObjective):
    """The task's loss while weights are removed.

    What is zero stays zero, so that there is no state beside the weights, and an interruption changes nothing.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        matrices: list[torch.Tensor],
        params: PruneParams,
        steps: int,
        teacher: TeacherLogits | None,
    ) -> None:
        super().__init__(model, params.distillation, teacher)
        self.matrices, self.params, self.steps = matrices, params, steps
        self.step, self.sparsity = 0, 0.0

    def sparse(self) -> Collection[torch.Tensor]:
        return self.matrices

    def prepare(self, step: int, fraction: float) -> bool:
        self.step = step
        return True

    def after_step(self, weights: MixedPrecision) -> None:
        full = self.params.full_step(self.steps)
        self.sparsity = self.params.sparsity_after(self.step, self.steps)
        if self.step == full or (self.step < full and self.step % max(1, full // UPDATES) == 0):
            for matrix in self.matrices:
                remove_smallest(self.used_part(matrix, weights.exact(matrix)), self.sparsity)
            weights.settle_zeros()

    def used_part(self, matrix: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
        """What of a matrix the share of zeros is counted in."""
        return exact

    def deliverable(self, done: int) -> bool:
        return done > self.params.full_step(self.steps)

    def observed(self) -> dict[str, float]:
        return {"sparsity": self.sparsity}


def run(model: PreTrainedModel, data: TaskData, params: PruneParams, context: Context) -> PreTrainedModel:
    """Prune weights of `model` in place during a training, and return it."""
    teacher = teacher_logits(model, data, params, context)
    steps = params.training.steps(len(data.train))
    objective = PruneObjective(model, anatomy_of(model).weights_of(model), params, steps, teacher)
    train(objective, data, params.training, context)
    put_form(model, **{"packed" if params.storage == "packed" else PRUNED: True})
    return model


def remove_smallest(weights: torch.Tensor, share: float) -> None:
    """Set this share of the elements, those nearest to zero, to zero in place."""
    count = int(share * weights.numel())
    if count:
        sizes = weights.abs()
        weights.masked_fill_(sizes <= sizes.flatten().kthvalue(count).values, 0)
