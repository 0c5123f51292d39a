"""Truncated SVD of weight matrices, and the ranks that a budget of parameters is spent on."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from compression.checkpoints.plankwright_model import LowRankEmbedding, LowRankLinear


@dataclass(frozen=True, slots=True)
class Factorised:
    """diag(1/rows) U S V^T diag(1/columns), the factors of a weight (M, N), singular values descending."""

    left: torch.Tensor
    """diag(1/rows) U S^1/2 (M, K)."""
    right: torch.Tensor
    """S^1/2 V^T diag(1/columns) (K, N)."""
    energy: torch.Tensor
    """Share of each component (K,) in the squared norm of the weighted matrix."""
    bias: torch.Tensor | None

    @property
    def parameters(self) -> int:
        return len(self.left) * self.right.shape[1]

    @property
    def parameters_per_rank(self) -> int:
        return len(self.left) + self.right.shape[1]


def factorise(module: nn.Module, rows: torch.Tensor, columns: torch.Tensor) -> Factorised:
    """SVD of diag(rows) W diag(columns), in float64: truncated, it is the best approximation in the weighted norm."""
    assert isinstance(module, (nn.Linear, nn.Embedding))
    rows, columns = rows.double(), columns.double()
    weight = module.weight.detach().double() * rows[:, None] * columns
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    root = values.sqrt()
    bias = getattr(module, "bias", None)
    return Factorised(
        left=(left * root / rows[:, None]).float(),
        right=(root[:, None] * right / columns).float(),
        energy=values**2 / (values**2).sum().clamp(min=torch.finfo(torch.float64).tiny),
        bias=None if bias is None else bias.detach(),
    )


def ranks_within(matrices: dict[str, Factorised], keep_share: float) -> dict[str, int]:
    """Ranks of those that are worth factorising, so that all together keep this share of their parameters.

    Greedy: the next parameters go to the component with the most energy for each of them, a matrix counting by its
    size. A matrix whose factors would have no fewer parameters than itself stays whole.
    """
    names = list(matrices)
    left = int(keep_share * sum(matrix.parameters for matrix in matrices.values()))
    gains = [
        matrix.energy.cpu().numpy() * matrix.parameters / matrix.parameters_per_rank
        for matrix in matrices.values()
    ]
    owners = np.concatenate([np.full(len(gain), i) for i, gain in enumerate(gains)])
    order = np.argsort(-np.concatenate(gains), kind="stable")
    ranks = dict.fromkeys(names, 1)
    left -= sum(matrix.parameters_per_rank for matrix in matrices.values())
    given = dict.fromkeys(names, 0)
    whole: set[str] = set()
    for owner in owners[order]:
        name = names[owner]
        matrix = matrices[name]
        given[name] += 1
        if given[name] == 1 or name in whole:
            continue  # the first component is paid for
        cost = matrix.parameters_per_rank
        if (ranks[name] + 1) * cost >= matrix.parameters:
            cost = matrix.parameters - ranks[name] * cost
        if cost > left:
            continue
        left -= cost
        ranks[name] += 1
        if ranks[name] * matrix.parameters_per_rank >= matrix.parameters:
            whole.add(name)
    return {name: rank for name, rank in ranks.items() if name not in whole}


def put_factors(module: nn.Module, factors: Factorised, rank: int) -> None:
    """Fill a factorised module."""
    left, right = factors.left[:, :rank].contiguous(), factors.right[:rank].contiguous()
    if isinstance(module, LowRankEmbedding):
        module.down.weight, module.up.weight = nn.Parameter(left), nn.Parameter(right.T.contiguous())
        return
    assert isinstance(module, LowRankLinear)
    module.down.weight, module.up.weight = nn.Parameter(right), nn.Parameter(left)
    if factors.bias is not None:
        module.up.bias = nn.Parameter(factors.bias)


def balanced(
    left: torch.Tensor, right: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors (M, K) and (K, N) of the same product as an SVD in the weighted norm has them, descending."""
    basis, upper = torch.linalg.qr(left.double() * rows.double()[:, None])
    other, lower = torch.linalg.qr((right.double() * columns.double()).T)
    inner_left, values, inner_right = torch.linalg.svd(upper @ lower.T)
    root = values.sqrt()
    left = basis @ inner_left * root / rows[:, None]
    right = root[:, None] * (inner_right @ other.T) / columns
    return left.float(), right.float()
