"""Two stages: the student builds the teacher's states, then gives its answers."""

from collections.abc import Iterator

import torch
from torch import nn
from transformers import PreTrainedModel

from compression.context import Context, TaskData
from compression.data.batches import Batch
from compression.losses import attention_loss, masked_mse
from compression.methods.tinybert.augmentation import Augmenter, augmenter_for
from compression.methods.tinybert.params import TinyBertParams
from compression.methods.tinybert.student import Cut
from compression.tasks.behaviour import behaviour_of
from compression.training.objectives import TaskObjective
from compression.training.states import States, Teacher


class TinyBertObjective(TaskObjective):
    """First the losses on embeddings, hidden states and attention scores, then that on logits (equations 7 to 11).

    A narrower student's states are multiplied by one learnt matrix (H', H) for all places, which begins as the choice
    of channels that the student was cut by.
    """

    def __init__(
        self, cut: Cut, teacher: PreTrainedModel, data: TaskData, params: TinyBertParams, context: Context
    ) -> None:
        super().__init__(cut.student)
        self.params = params
        self.settled = False
        layers = params.mapped(int(teacher.config.num_hidden_layers))
        self.hidden = {0: 0} if params.embedding_weight else {}
        if params.hidden_weight:
            self.hidden |= dict(enumerate(layers, start=1))
        self.attention = dict(enumerate(layers, start=1)) if params.attention_weight else {}
        self.projection: nn.Linear | None = None
        if len(cut.channels) < teacher.config.hidden_size:
            self.projection = nn.Linear(len(cut.channels), teacher.config.hidden_size, bias=False)
            chosen = torch.eye(teacher.config.hidden_size)[:, cut.channels.cpu()]
            self.projection.weight.data.copy_(chosen)
            self.projection.to(teacher.device)
        dtype = context.dtype_for(params.training)
        self.teacher = Teacher(teacher, self.hidden.values(), self.attention.values(), dtype)
        self.states = States(cut.student, self.hidden, self.attention)
        self.augmenter: Augmenter | None = None
        if params.augmentation:
            self.augmenter = augmenter_for(params.augmentation, teacher, data, context)

    def trained(self) -> Iterator[nn.Parameter]:
        yield from self.model.parameters()
        if self.projection is not None:
            yield from self.projection.parameters()

    def prepare(self, step: int, fraction: float) -> bool:
        self.settled = fraction >= self.params.prediction_from
        return True

    def loss(self, batch: Batch) -> torch.Tensor:
        if not self.model.training:
            return super().loss(batch)
        if self.augmenter is not None:
            batch = self.augmenter.exchange(batch)
        task = behaviour_of(batch.task)
        logits = task.logits(self.model, batch)
        self.teacher.look_at(batch)
        if self.settled:
            loss = task.pull(logits.float(), self.teacher.logits.float(), batch, self.params.temperature)
        else:
            loss = self._state_loss(self.teacher.states, batch.attention_mask)
        self.states.forget()
        self.teacher.forget()
        return loss

    def _state_loss(self, teacher: States, mask: torch.Tensor | None) -> torch.Tensor:
        params, student = self.params, self.states
        loss = torch.zeros((), device=self.model.device)
        for ours, theirs in self.hidden.items():
            states = student.hidden[ours].float()
            if self.projection is not None:
                states = self.projection(states)
            weight = params.hidden_weight if ours else params.embedding_weight
            loss = loss + weight * masked_mse(states, teacher.hidden[theirs], mask)
        for ours, theirs in self.attention.items():
            term = attention_loss(student.scores(ours), teacher.scores(theirs), mask)
            loss = loss + params.attention_weight * term
        return loss

    def release(self) -> None:
        self.states.release()

    def observed(self) -> dict[str, float]:
        return {"stage": 2.0 if self.settled else 1.0}
