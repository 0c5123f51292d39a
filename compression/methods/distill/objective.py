"""The loss of a student: the task's, the pull to the teacher's logits, and terms on what lies before them."""

from collections.abc import Iterator
from itertools import accumulate

import torch
from torch import nn
from transformers import PreTrainedModel

from compression.context import Context
from compression.data.batches import Batch
from compression.losses import attention_loss, cosine_loss, masked_mse, patient_loss
from compression.methods.distill.params import DistillParams
from compression.training.loop import seed_step
from compression.training.objectives import TaskObjective
from compression.training.states import States, Teacher
from compression.training.teacher import TeacherLogits


class DistillObjective(TaskObjective):
    """(1 - a) * task + a * T^2 * KL + the weighted terms of the params.

    `teacher` is the original. Where a term compares states, those of both are caught for the layers alone that it looks
    at, and the same pass gives the teacher's logits; else `teacher_logits` gives them for a batch of training rows.
    Hidden states of a student of another width H' are multiplied by a learnt matrix (H', H) before, one for all layers
    (Jiao et al. 2020, equation 8).
    """

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        teacher_logits: TeacherLogits | None,
        params: DistillParams,
        context: Context,
    ) -> None:
        super().__init__(student, params.distillation, teacher_logits)
        self.params = params
        self.ends, self.inner = compared_layers(params, int(teacher.config.num_hidden_layers))
        attention = self.ends if params.attention_weight else {}
        hidden = dict(self.ends) if params.hidden_weight else {}
        if params.cosine_weight:
            hidden |= dict([max(self.ends.items())])
        seen_in_student = {*hidden, *(self.inner if params.patient else {})}
        seen_in_teacher = {*hidden.values(), *(self.inner.values() if params.patient else ())}
        self.projection: nn.Linear | None = None
        if params.hidden_weight and student.config.hidden_size != teacher.config.hidden_size:
            seed_step(context, 0)
            width, wanted = int(student.config.hidden_size), int(teacher.config.hidden_size)
            self.projection = nn.Linear(width, wanted, bias=False).to(teacher.device)
        self.teacher: Teacher | None = None
        if seen_in_student or attention:
            dtype = context.dtype_for(params.training)
            shown = self.teacher = Teacher(teacher, seen_in_teacher, attention.values(), dtype)
            self.teacher_logits = lambda _: shown.logits
            self.states = States(student, seen_in_student, attention)

    def trained(self) -> Iterator[nn.Parameter]:
        yield from super().trained()
        if self.projection is not None:
            yield from self.projection.parameters()

    def loss(self, batch: Batch) -> torch.Tensor:
        if self.teacher is None:
            return super().loss(batch)
        self.teacher.look_at(batch)
        loss = super().loss(batch) + self._terms(self.states, self.teacher.states, batch)
        self.states.forget()
        self.teacher.forget()
        return loss

    def _terms(self, student: States, teacher: States, batch: Batch) -> torch.Tensor:
        params, mask = self.params, batch.attention_mask
        total = torch.zeros((), device=batch.input_ids.device)
        if params.cosine_weight:
            s, t = max(self.ends.items())
            total = total + params.cosine_weight * cosine_loss(student.hidden[s], teacher.hidden[t], mask)
        if params.patient:
            first = [
                torch.stack([states.hidden[layer][:, 0] for layer in layers], dim=1)
                for states, layers in ((student, self.inner), (teacher, self.inner.values()))
            ]
            total = total + params.patient.weight * patient_loss(*first)
        if params.hidden_weight:
            terms = [
                masked_mse(self._projected(student.hidden[s]), teacher.hidden[t], mask)
                for s, t in self.ends.items()
            ]
            total = total + params.hidden_weight * torch.stack(terms).mean()
        if params.attention_weight:
            terms = [attention_loss(student.scores(s), teacher.scores(t), mask) for s, t in self.ends.items()]
            total = total + params.attention_weight * torch.stack(terms).mean()
        return total

    def _projected(self, states: torch.Tensor) -> torch.Tensor:
        return states if self.projection is None else self.projection(states.float())

    def release(self) -> None:
        if self.teacher is not None:
            self.states.release()


def compared_layers(params: DistillParams, layers: int) -> tuple[dict[int, int], dict[int, int]]:
    """Student layers and the teacher's that they are held against, counted from 1: the ends of the parts, and the inner
    layers of the patient term, for 12 to 6 {2, 4, 6, 8, 10} (`skip`) or {7, 8, 9, 10, 11} (`last`)."""
    partition = params.partition(layers)
    count = len(partition)
    ends = dict(enumerate(accumulate(partition), start=1))
    if params.patient and params.patient.layers == "last":
        return ends, {layer: layers - count + layer for layer in range(1, count)}
    return ends, {layer: ends[layer] for layer in range(1, count)}
