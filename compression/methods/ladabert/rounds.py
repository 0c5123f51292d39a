"""Ranks that come down round by round while the factors are pruned."""

import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.plankwright_model import LowRankEmbedding, LowRankLinear
from compression.methods.ladabert.params import LadaBertParams
from compression.methods.low_rank.factors import balanced
from compression.methods.low_rank.method import Factors
from compression.methods.prune.method import PruneObjective, remove_smallest
from compression.methods.prune.params import PruneParams
from compression.training.precision import MixedPrecision
from compression.training.teacher import TeacherLogits


class RoundsObjective(PruneObjective):
    """Pruning in a training in which each round begins with a new SVD of the factors, cut to the round's rank.

    The factors keep their first round's size; what is cut off is zero, and stays zero. The optimizer begins anew with
    each round: what it knows is about columns that the SVD has turned. Which round it is follows from the step: an
    interruption changes nothing.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        factors: Factors,
        params: LadaBertParams,
        pruning: PruneParams,
        rows: int,
        teacher: TeacherLogits | None,
    ) -> None:
        steps = params.training.steps(rows)
        super().__init__(model, anatomy_of(model).weights_of(model), pruning, steps, teacher)
        self.factors, self.rounds = factors, params
        full = pruning.full_step(steps)
        self.ends = [full * number // params.rounds for number in range(1, params.rounds)]
        """The step after which each round but the last is over."""
        self.round = 1
        self.places = {
            part.weight: path
            for path in factors.ranks
            for part in model.get_submodule(path).modules()
            if isinstance(part, (nn.Linear, nn.Embedding))
        }

    def prepare(self, step: int, fraction: float) -> bool:
        self.round = 1 + sum(end < step for end in self.ends)
        return super().prepare(step, fraction)

    def after_step(self, weights: MixedPrecision) -> None:
        super().after_step(weights)
        if self.step not in self.ends:
            return
        self.round = 1 + sum(end <= self.step for end in self.ends)
        for path in self.factors.ranks:
            self._begin_round(path, weights)
        weights.forget()
        weights.refresh()

    @torch.no_grad()
    def _begin_round(self, path: str, weights: MixedPrecision) -> None:
        module = self.model.get_submodule(path)
        assert isinstance(module, (LowRankLinear, LowRankEmbedding))
        down, up = (weights.exact(part.weight) for part in (module.down, module.up))
        # W = L R: of a linear map by its two matrices, of a table by its own and the transpose of the other.
        is_table = isinstance(module, LowRankEmbedding)
        left, right = (down, up.T) if is_table else (up, down)
        new_left, new_right = balanced(left, right, *self.factors.scales[path])
        rank = self._rank(path)
        new_left[:, rank:] = 0
        new_right[rank:] = 0
        left.copy_(new_left)
        right.copy_(new_right)
        for part, exact in ((module.down, down), (module.up, up)):
            remove_smallest(self.used_part(part.weight, exact), self.sparsity)

    def _rank(self, path: str) -> int:
        return self.rounds.rank(self.factors.ranks[path], self.factors.full_rank(path), self.round)

    def used_part(self, matrix: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
        """What the round's rank leaves of a factor."""
        if matrix not in self.places:
            return exact
        path = self.places[matrix]
        module = self.model.get_submodule(path)
        is_wide = isinstance(module, LowRankLinear) and matrix is module.down.weight
        return exact[: self._rank(path)] if is_wide else exact[:, : self._rank(path)]


def cut(module: nn.Module, rank: int) -> None:
    """Leave of factors what the last round has used."""
    assert isinstance(module, (LowRankLinear, LowRankEmbedding))
    module.rank = module.up.in_features = rank
    module.up.weight = nn.Parameter(module.up.weight.detach()[:, :rank].contiguous())
    if isinstance(module, LowRankEmbedding):
        module.down.embedding_dim = rank
        module.down.weight = nn.Parameter(module.down.weight.detach()[:, :rank].contiguous())
    else:
        module.down.out_features = rank
        module.down.weight = nn.Parameter(module.down.weight.detach()[:rank].contiguous())
