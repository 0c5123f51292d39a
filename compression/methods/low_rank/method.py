"""Low-rank factorisation by weighted SVD (Hsu et al. 2022), with ranks from one budget for the whole model."""

from dataclasses import dataclass

from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.plankwright_model import exchange
from compression.context import Context, TaskData
from compression.methods.low_rank.factors import Factorised, factorise, put_factors, ranks_within
from compression.methods.low_rank.params import LowRankParams
from compression.methods.low_rank.weighting import Scales, scales
from compression.training.loop import train
from compression.training.objectives import TaskObjective
from compression.training.teacher import teacher_logits


def run(model: PreTrainedModel, data: TaskData, params: LowRankParams, context: Context) -> PreTrainedModel:
    """Factorise weights of `model` in place, train where recovery is asked for, and return it."""
    teacher = teacher_logits(model, data, params, context)
    factors = find_factors(model, data, params, context)
    exchange(model, factors.ranks)
    for path, rank in factors.ranks.items():
        put_factors(model.get_submodule(path), factors.matrices[path], rank)
    context.note(factors.in_words())
    if params.recovery is not None:
        train(TaskObjective(model, params.distillation, teacher), data, params.recovery, context)
    return model


@dataclass(frozen=True, slots=True)
class Factors:
    """All matrices of a model that may be factorised, by path, and the ranks of those that are worth it."""

    matrices: dict[str, Factorised]
    scales: dict[str, Scales]
    ranks: dict[str, int]

    def full_rank(self, path: str) -> int:
        return len(self.matrices[path].energy)

    @property
    def saved(self) -> int:
        """Weights that factorisation takes away."""
        return sum(
            self.matrices[path].parameters - rank * self.matrices[path].parameters_per_rank
            for path, rank in self.ranks.items()
        )

    def in_words(self) -> str:
        if not self.ranks:
            return f"None of {len(self.matrices)} weight matrices was factorised"
        lowest, highest = min(self.ranks.values()), max(self.ranks.values())
        return (
            f"{len(self.ranks)} of {len(self.matrices)} weight matrices were factorised, to ranks from {lowest} to "
            f"{highest}"
        )


def find_factors(model: PreTrainedModel, data: TaskData, params: LowRankParams, context: Context) -> Factors:
    """Weighted SVD of every matrix, with ranks from one budget."""
    is_tied = bool(model.all_tied_weights_keys)
    embeddings = not is_tied if params.embeddings is None else params.embeddings
    whole = anatomy_of(model).matrices_of(model, embeddings=embeddings)
    weights = scales(model, whole, data, params, context)
    factorised: dict[str, Factorised] = {}
    for path, module in whole.items():
        factorised[path] = factorise(module, *weights[path])
        context.stop_if_requested()
    ranks = context.decide("ranks", lambda: ranks_within(factorised, params.keep_share))
    return Factors(factorised, weights, ranks)
