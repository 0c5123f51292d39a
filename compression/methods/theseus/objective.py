"""The loss through a random mixture of predecessor and successor modules."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.context import Context
from compression.data.batches import Batch
from compression.losses import masked_mse
from compression.methods.theseus.modules import ReplaceableModule
from compression.methods.theseus.params import TheseusParams
from compression.training.objectives import TaskObjective
from compression.training.states import States, Teacher
from compression.training.teacher import TeacherLogits

HEAD_SHARE = 0.2
"""Learning rate of a head that joins at the end, as a share of the successors'."""


class TheseusObjective(TaskObjective):
    """The task's loss where z_i ~ Bernoulli(p), y_{i+1} = z_i * scc_i(y_i) + (1 - z_i) * prd_i(y_i).

    Paper, equations 3 to 5; one draw per module and batch (or row), a function of the seed and the step.
    `teacher_logits` are the predecessor's, needed where there is a distillation term; `teacher` shows its states behind
    each module, where they are compared, and then its logits, too.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        modules: list[ReplaceableModule],
        params: TheseusParams,
        context: Context,
        teacher_logits: TeacherLogits | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__(model, params.distillation, teacher_logits)
        self.modules = modules
        self.teacher = teacher
        if teacher is not None:
            self.teacher_logits = lambda _: teacher.logits
            listeners = len(anatomy_of(model).layers_of(model)) - len(modules)
            behind = range(listeners + 1, listeners + len(modules) + 1)
            self.states = States(model, behind, (), as_read=True)
        self.params = params
        self.seed = [context.seed, context.recipe_step]
        self.rates = [0.0] * len(modules)
        self.row_draws: torch.Tensor | None = None
        for module in modules:
            module.compares = params.border_weight > 0
        self.settled = False
        if params.head == "at_end":
            self.outside_share = 0.0

    def trained(self) -> Iterator[nn.Parameter]:
        for module in self.modules:
            yield from module.successor.parameters()
        if self.params.head != "frozen":
            yield from self._head()

    def prepare(self, step: int, fraction: float) -> bool:
        self.rates = self.params.schedule.rates_at(fraction, len(self.modules))
        if min(self.rates) >= 1.0:
            self._be_whole()
        draw = np.random.default_rng([*self.seed, step])
        if self.params.gates == "example":
            rows = self.params.training.batch_size
            drawn = draw.random((rows, len(self.modules))) < self.rates
            self.row_draws = torch.from_numpy(drawn)
        else:
            drawn = draw.random(len(self.modules)) < self.rates
            for module, replaced in zip(self.modules, drawn, strict=True):
                module.replaced = bool(replaced)
        return bool(drawn.any()) or self.params.frozen_gradients or self.params.head == "trained"

    def _be_whole(self) -> None:
        """From now on there is the successor alone: the predecessor's memory is free, the head may join."""
        self.settled = True
        for module in self.modules:
            module.predecessor = nn.ModuleList()
        if self.params.head == "at_end":
            self.outside_share = HEAD_SHARE
            for parameter in self._head():
                parameter.requires_grad_(True)

    def _head(self) -> Iterator[nn.Parameter]:
        for head in anatomy_of(self.model).head_of(self.model):
            yield from head.parameters()

    def loss(self, batch: Batch) -> torch.Tensor:
        if self.row_draws is not None:
            drawn = self.row_draws[: len(batch.rows)].to(batch.input_ids.device)
            for module, replaced in zip(self.modules, drawn.unbind(dim=1), strict=True):
                module.replaced = replaced
        if self.teacher is not None:
            self.teacher.look_at(batch)
        loss = super().loss(batch)
        if self.params.border_weight:
            loss = loss + self.params.border_weight * self._border_loss(batch)
        if self.teacher is not None:
            loss = loss + self.params.hidden_weight * self._hidden_loss(self.teacher, batch)
        return loss

    def _hidden_loss(self, teacher: Teacher, batch: Batch) -> torch.Tensor:
        """Mean over the modules of the MSE of the states behind them and those of the predecessor by itself."""
        pairs = zip(self.states.in_order(), teacher.states.in_order(), strict=True)
        terms = [masked_mse(found, wanted, batch.attention_mask) for found, wanted in pairs]
        self.states.forget()
        teacher.forget()
        return torch.stack(terms).mean()

    def _border_loss(self, batch: Batch) -> torch.Tensor:
        """Mean over the replaced modules of MSE(scc_i(y_i), prd_i(y_i)); 0 where none is replaced."""
        terms = []
        for module in self.modules:
            if module.border is not None:
                successor, predecessor, rows = module.border
                mask = batch.attention_mask
                terms.append(
                    masked_mse(successor, predecessor, mask if mask is None or rows is None else mask[rows])
                )
                module.border = None
        return torch.stack(terms).mean() if terms else torch.zeros((), device=batch.input_ids.device)

    def observed(self) -> dict[str, float]:
        return {"replacing_rate": float(np.mean(self.rates))}
