"""BERT-of-Theseus (Xu et al., EMNLP 2020): progressive module replacing.

The predecessor's layers are cut into modules, and each gets a successor of one layer. A module and its successor become
one element of the encoder's own list, which picks one of the two at each call: the model code is transformers'.
"""

from copy import deepcopy
from itertools import accumulate, pairwise

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import Anatomy, anatomy_of
from compression.context import Context, TaskData
from compression.evaluation.predict import predict
from compression.methods.theseus.params import Schedule, TheseusParams
from compression.training.loop import train
from compression.training.objectives import TaskObjective


class ReplaceableModule(nn.Module):
    """A module of the predecessor and the layer that takes its place.

    Maps hidden states (B, L, H) to hidden states (B, L, H) by one of the two, in evaluation mode by the successor.
    """

    def __init__(self, predecessor: list[nn.Module], successor: nn.Module) -> None:
        super().__init__()
        self.predecessor = nn.ModuleList(predecessor)
        self.successor = successor
        self.replaced = False

    def forward(self, hidden_states: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        if self.replaced or not self.training:
            replaced: torch.Tensor = self.successor(hidden_states, *args, **kwargs)
            return replaced
        for layer in self.predecessor:
            hidden_states = layer(hidden_states, *args, **kwargs)
        return hidden_states


class TheseusObjective(TaskObjective):
    """The task's loss through a random mixture of predecessor and successor modules.

    z_i ~ Bernoulli(p), y_{i+1} = z_i * scc_i(y_i) + (1 - z_i) * prd_i(y_i) (paper, equations 3 to 5); one draw per
    module and batch, a function of the seed and the step.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        modules: list[ReplaceableModule],
        params: TheseusParams,
        context: Context,
    ) -> None:
        super().__init__(model, params.distillation)
        self.modules = modules
        self.schedule: Schedule = params.schedule
        self.seed = [context.seed, context.recipe_step]
        self.rate = 0.0

    def prepare(self, step: int, fraction: float) -> bool:
        self.rate = self.schedule.rate_at(fraction)
        if self.rate >= 1.0:
            self._release_predecessor()
        drawn = np.random.default_rng([*self.seed, step]).random(len(self.modules)) < self.rate
        for module, replaced in zip(self.modules, drawn, strict=True):
            module.replaced = bool(replaced)
        return bool(drawn.any()) or self._head_is_trained()

    def _head_is_trained(self) -> bool:
        return any(
            parameter.requires_grad
            for head in anatomy_of(self.model).head_of(self.model)
            for parameter in head.parameters()
        )

    def _release_predecessor(self) -> None:
        for module in self.modules:
            module.predecessor = nn.ModuleList()

    def observed(self) -> dict[str, float]:
        return {"replacing_rate": self.rate}


def run(model: PreTrainedModel, data: TaskData, params: TheseusParams, context: Context) -> PreTrainedModel:
    """Compress `model` in place to one layer per module, and return it."""
    anatomy = anatomy_of(model)
    teacher_logits = None
    if params.distillation is not None:
        logits = predict(model, data.train, context.stop_if_requested)
        teacher_logits = torch.from_numpy(logits)
    modules = wrap(model, anatomy, params, context.dtype)
    objective = TheseusObjective(model, modules, params, context)
    objective.teacher_logits = teacher_logits
    train(objective, data, params.training, context)
    anatomy.put_layers(model, [module.successor for module in modules])
    model.requires_grad_(True)
    return model


def wrap(
    model: PreTrainedModel, anatomy: Anatomy, params: TheseusParams, dtype: torch.dtype
) -> list[ReplaceableModule]:
    """Put replaceable modules into the encoder; freeze all but the successors (and the head where it is trained)."""
    layers = list(anatomy.layers_of(model))
    bounds = list(pairwise([0, *accumulate(params.partition(len(layers)))]))
    sources = {
        "first_layers": range(len(bounds)),
        "module_first": [first for first, _ in bounds],
        "module_last": [end - 1 for _, end in bounds],
    }[params.initialization]
    model.requires_grad_(False)
    shared = {id(model.config): model.config}  # one config for all: it tells each layer how to attend
    successors = [deepcopy(layers[source], shared.copy()).requires_grad_() for source in sources]
    for layer in layers:
        layer.to(dtype)
    for head in anatomy.head_of(model):
        head.requires_grad_(params.train_head)
    modules = [
        ReplaceableModule(layers[first:end], successor)
        for (first, end), successor in zip(bounds, successors, strict=True)
    ]
    parent, name = anatomy.layers.rsplit(".", 1)
    setattr(model.get_submodule(parent), name, nn.ModuleList(modules))
    return modules
