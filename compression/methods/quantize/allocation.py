"""How many bits each matrix of a model gets: by what its rounding costs, within an average for the layers."""

from math import floor

from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.few_bits import rounded_as_stored
from compression.checkpoints.loading import is_packed
from compression.context import Context, TaskData
from compression.export.int8 import LEAST_ROWS
from compression.methods.low_rank.weighting import gradient_sizes
from compression.methods.quantize.params import FEWEST, MOST, QuantizeParams

Costs = dict[str, dict[int, float]]
"""By name of a matrix, what each number of bits costs it."""


def bits_of_matrices(
    model: PreTrainedModel, data: TaskData, params: QuantizeParams, context: Context
) -> dict[str, int]:
    """Bits by name of each matrix of the layers, and of each one outside that has rows enough to be worth it."""
    inside = {f"{path}.weight" for path in anatomy_of(model).matrices_of(model, embeddings=False)}
    matrices = {
        name: module
        for path, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Embedding))
        and (name := f"{path}.weight") not in model.all_tied_weights_keys
    }
    layers = {name: module for name, module in matrices.items() if name in inside}
    outside = [n for n, module in matrices.items() if n not in inside and len(module.weight) >= LEAST_ROWS]
    if params.allocation == "uniform" or params.bits in (FEWEST, MOST):
        bits = dict.fromkeys(layers, int(params.bits))
    else:
        sizes = {name: module.weight.numel() for name, module in layers.items()}
        bits = allocated(costs_of(model, layers, data, params, context), sizes, params.bits)
    return bits | dict.fromkeys(outside, params.embedding_bits)


def allocated(costs: Costs, sizes: dict[str, int], average: float) -> dict[str, int]:
    """The bits of each matrix, no more than `average` over all weights.

    One bit after another goes where it saves most for each weight: of what falls by less and less with each bit, that
    is the least sum of costs, but for the rest of the budget, which goes to what is small enough for it.
    """
    bits = dict.fromkeys(costs, FEWEST)
    total = sum(sizes.values())
    left = floor(average * total + 1e-3) - FEWEST * total  # the product may end just below a whole number
    while raised := [name for name in costs if bits[name] < MOST and sizes[name] <= left]:
        saved = {
            name: (costs[name][bits[name]] - costs[name][bits[name] + 1]) / sizes[name] for name in raised
        }
        best = max(raised, key=saved.__getitem__)
        bits[best] += 1
        left -= sizes[best]
    return bits


def costs_of(
    model: PreTrainedModel,
    matrices: dict[str, nn.Linear | nn.Embedding],
    data: TaskData,
    params: QuantizeParams,
    context: Context,
) -> Costs:
    """mean(tr H) |Q(W) - W|^2 of each matrix and number of bits (HAWQ-V2: Dong et al. 2020, equation 2.11).

    The loss grows by half of d^T H d when the weights move by d: where rounding errors d have no direction of their
    own, by half of their square times the mean eigenvalue of the Hessian H. Its trace is taken as that of the Fisher
    information, the mean of squared gradients, which is the Hessian's expectation where the model is right about its
    data. It is never negative, and much less noisy than products with H and random signs. Q(W) is what will be stored:
    zeros of a packed model are exact.
    """
    squares = gradient_sizes(model, matrices, data, params.sensitivity_rows, context)
    transposed, packed = anatomy_of(model).stored_transposed(model), is_packed(model)
    costs: Costs = {}
    for name, module in matrices.items():
        weight = module.weight.detach()
        weight = weight.T if name in transposed else weight
        curvature = float(squares[name].sum()) / weight.numel()
        costs[name] = {}
        for bits in range(FEWEST, MOST + 1):
            stored = rounded_as_stored(weight, bits, params.group_size, packed=packed)
            costs[name][bits] = curvature * float((stored - weight).square().sum())
    return costs
