"""Which feed-forward neurons matter, and layers without the others."""

import torch
from torch import nn
from transformers import PreTrainedModel

from compression.context import Context, TaskData
from compression.data.batches import collate, epoch_batches
from compression.training.objectives import TaskObjective

BATCH = 32
FeedForward = tuple[nn.Linear, nn.Linear]


def important_neurons(
    model: PreTrainedModel,
    parts: list[FeedForward],
    data: TaskData,
    rows: int,
    context: Context,
    number: int,
    count: int,
) -> list[list[int]]:
    """Indices of the `count` neurons of each layer with the largest first-order importance on training rows.

    I_j = E |sum of w * dL/dw over the weights into neuron j| + E |the same over those out of it| (Yang et al. 2022,
    section 3.2, after Michel et al. 2019, equation 4); the expectation is over batches.
    """
    objective = TaskObjective(model)
    importances = [torch.zeros(inner.out_features, device=inner.weight.device) for inner, _ in parts]
    for batch_rows in epoch_batches(data.train, BATCH, context.seed, number)[: -(-rows // BATCH)]:
        parameters = [parameter for part in parts for parameter in _parameters(part)]
        loss = objective.probe(collate(data.train, batch_rows, context.device))
        products = [
            parameter.detach() * gradient
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True)
        ]
        for index, importance in enumerate(importances):
            weights_in, bias_in, weights_out = products[3 * index : 3 * index + 3]
            importance += (weights_in.sum(dim=1) + bias_in).abs() + weights_out.sum(dim=0).abs()
        context.stop_if_requested()
    orders = [torch.argsort(importance, descending=True, stable=True) for importance in importances]
    return [sorted(order[:count].tolist()) for order in orders]


def keep_neurons(part: FeedForward, neurons: list[int]) -> None:
    """Remove all other neurons between the two linear maps."""
    index = torch.tensor(neurons, device=part[0].weight.device)
    weights_in, bias_in, weights_out = (p.detach() for p in _parameters(part))
    _put(part, weights_in[index], bias_in[index], weights_out[:, index].contiguous())


def _parameters(part: FeedForward) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights into the neurons (I, H), their biases (I,), weights out of them (H, I)."""
    inner, outer = part
    return inner.weight, inner.bias, outer.weight


def _put(
    part: FeedForward, weights_in: torch.Tensor, bias_in: torch.Tensor, weights_out: torch.Tensor
) -> None:
    inner, outer = part
    inner.weight, inner.bias, outer.weight = map(nn.Parameter, (weights_in, bias_in, weights_out))
    inner.out_features = outer.in_features = len(bias_in)
