"""How much the neurons and heads of each layer matter, to first order, for the loss of a task."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from compression.context import Context, TaskData
from compression.data.batches import collate, epoch_batches
from compression.methods.narrow.units import Layer
from compression.training.objectives import TaskObjective

BATCH = 32


@dataclass(frozen=True, slots=True)
class Importance:
    """Of each layer the importance of its neurons (I,) and of its heads (A,)."""

    neurons: list[torch.Tensor]
    heads: list[torch.Tensor]


def importance_of(
    model: PreTrainedModel, layers: list[Layer], data: TaskData, rows: int, context: Context, number: int
) -> Importance:
    """First-order importance on so many training rows, which `number` chooses.

    Of a neuron E |sum of w * dL/dw over the weights into it| + E |the same over those out of it| (Yang et al. 2022,
    section 3.2). Of a head E |dL/dm| for a mask m = 1 of what it puts out (Michel et al. 2019, equation 2): that is the
    sum of w * dL/dw over the weights that read it. Expectations are over batches.
    """
    objective = TaskObjective(model)
    found = Importance(
        [torch.zeros(layer.neurons, device=context.device) for layer in layers],
        [torch.zeros(layer.heads, device=context.device) for layer in layers],
    )
    for batch_rows in epoch_batches(data.train, BATCH, context.seed, number)[: -(-rows // BATCH)]:
        parameters = [parameter for layer in layers for parameter in layer.parameters]
        loss = objective.probe(collate(data.train, batch_rows, context.device))
        products = [
            parameter.detach() * gradient
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True)
        ]
        for index, layer in enumerate(layers):
            weights_in, bias_in, weights_out, *attended = products[: len(layer.parameters)]
            del products[: len(layer.parameters)]
            found.neurons[index] += (weights_in.sum(dim=1) + bias_in).abs() + weights_out.sum(dim=0).abs()
            for weights in attended:
                found.heads[index] += weights.sum(dim=0).view(layer.heads, -1).sum(dim=1).abs()
        context.stop_if_requested()
    return found


def best_neurons(importances: list[torch.Tensor], count: int) -> list[list[int]]:
    """Indices of the `count` most important neurons of each layer."""
    orders = [torch.argsort(importance, descending=True, stable=True) for importance in importances]
    return [sorted(order[:count].tolist()) for order in orders]


def best_heads(importances: list[torch.Tensor], count: int) -> list[list[int]]:
    """Indices, by layer, of the `count` most important heads of all, and of the best of each layer in any case.

    Importances are compared as shares of their layer's Euclidean norm (Michel et al. 2019, section 3.3).
    """
    shares = [importance / importance.norm().clamp(min=1e-30) for importance in importances]
    kept = [{int(share.argmax())} for share in shares]
    ranked = sorted(
        (
            (-float(value), layer, head)
            for layer, share in enumerate(shares)
            for head, value in enumerate(share)
        )
    )
    for _, layer, head in ranked:
        if sum(map(len, kept)) >= count:
            break
        kept[layer].add(head)
    return [sorted(heads) for heads in kept]
