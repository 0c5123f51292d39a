"""How much each row and column of a weight matrix matters on training rows."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from compression.context import Context, TaskData
from compression.data.batches import collate, epoch_batches
from compression.evaluation.inputs import inputs_seen, of_pieces
from compression.methods.low_rank.params import LowRankParams
from compression.tasks.behaviour import behaviour_of
from compression.training.objectives import TaskObjective

BATCH = 32
LEAST = 1e-3
"""Of the mean weight: what the rows happen not to show must not vanish."""

Scales = tuple[torch.Tensor, torch.Tensor]


def scales(
    model: PreTrainedModel,
    matrices: dict[str, nn.Module],
    data: TaskData,
    params: LowRankParams,
    context: Context,
) -> dict[str, Scales]:
    """Weights of the rows (M,) and the columns (N,) of each matrix.

    `inputs`: a linear map's columns by the root mean square of what they are multiplied with, so that the error of the
    outputs is what the SVD makes small; the table's rows by the root of how often their pieces occur in all training
    rows. `gradients`: rows by the root of their summed squared gradients, the Fisher information of Hsu et al. 2022,
    equation 6.
    """
    ones = {name: (_ones(module, 0), _ones(module, 1)) for name, module in matrices.items()}
    if params.weighting == "none":
        return ones
    measure = _input_sizes if params.weighting == "inputs" else gradient_sizes
    squares = measure(model, matrices, data, params.rows, context)
    for name, module in matrices.items():
        size = squares[name].double()
        weights = size.clamp(min=LEAST * float(size.mean()) or 1.0).sqrt()
        by_rows = params.weighting == "gradients" or isinstance(module, nn.Embedding)
        rows, columns = ones[name]
        ones[name] = (weights, columns) if by_rows else (rows, weights)
    return ones


def _ones(module: nn.Module, dimension: int) -> torch.Tensor:
    assert isinstance(module, (nn.Linear, nn.Embedding))
    return torch.ones(module.weight.shape[dimension], device=module.weight.device)


def _batches(data: TaskData, rows: int, context: Context) -> list[np.ndarray]:
    return epoch_batches(data.train, BATCH, context.seed, 0)[: -(-rows // BATCH)]


@torch.no_grad()
def _input_sizes(
    model: PreTrainedModel,
    matrices: Mapping[str, nn.Module],
    data: TaskData,
    rows: int,
    context: Context,
) -> dict[str, torch.Tensor]:
    """Sums of squares of the inputs (N,) of linear maps at word pieces, occurrences (V,) of these."""
    squares: dict[str, torch.Tensor] = {}
    linear: dict[str, nn.Module] = {}
    for name, module in matrices.items():
        if isinstance(module, nn.Embedding):
            counts = np.bincount(data.train.pieces, minlength=module.num_embeddings)
            squares[name] = torch.from_numpy(counts).to(module.weight.device)
        else:
            squares[name], linear[name] = _ones(module, 1) * 0, module
    for chosen in _batches(data, rows, context):
        batch = collate(data.train, chosen, context.device)

        def add(name: str, states: torch.Tensor, mask: torch.Tensor | None = batch.attention_mask) -> None:
            squares[name] += of_pieces(states, mask).square().sum(dim=0)

        with inputs_seen(linear, add):
            behaviour_of(data.task).logits(model, batch)
        context.stop_if_requested()
    return squares


def gradient_sizes(
    model: PreTrainedModel,
    matrices: Mapping[str, nn.Module],
    data: TaskData,
    rows: int,
    context: Context,
) -> dict[str, torch.Tensor]:
    """Sums (M,) of the squared gradients of each row of the weights, over batches."""
    objective = TaskObjective(model)
    weights = [module.weight for module in matrices.values() if isinstance(module, (nn.Linear, nn.Embedding))]
    squares = {name: _ones(module, 0) * 0 for name, module in matrices.items()}
    for batch in _batches(data, rows, context):
        loss = objective.probe(collate(data.train, batch, context.device))
        for total, gradient in zip(squares.values(), torch.autograd.grad(loss, weights), strict=True):
            total += gradient.square().sum(dim=1)
        context.stop_if_requested()
    return squares
