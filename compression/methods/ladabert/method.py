"""LadaBERT (Mao et al. 2020): factorisation, pruning of the factors and distillation, in one step of a recipe."""

from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.loading import put_form
from compression.checkpoints.plankwright_model import exchange
from compression.context import Context, TaskData
from compression.methods.ladabert.params import LadaBertParams
from compression.methods.ladabert.rounds import RoundsObjective, cut
from compression.methods.low_rank.factors import put_factors
from compression.methods.low_rank.method import find_factors
from compression.training.loop import train
from compression.training.teacher import teacher_logits


def run(model: PreTrainedModel, data: TaskData, params: LadaBertParams, context: Context) -> PreTrainedModel:
    """Factorise `model` in place, prune its factors while it learns from what it was, and return it."""
    teacher = teacher_logits(model, data, params, context)
    weights, before = sizes(model)
    factors = find_factors(model, data, params.factorisation, context)
    ranks = {path: params.rank(rank, factors.full_rank(path), 1) for path, rank in factors.ranks.items()}
    exchange(model, ranks)
    for path, rank in ranks.items():
        put_factors(model.get_submodule(path), factors.matrices[path], rank)
    pruning = params.pruning(before, weights - factors.saved)
    context.note(factors.in_words())
    context.note(
        f"Of what that leaves {pruning.sparsity:.1%} become zero, so that one weight of {params.ratio:g} stays"
    )
    objective = RoundsObjective(model, factors, params, pruning, len(data.train), teacher)
    train(objective, data, params.training, context)
    for path, rank in factors.ranks.items():
        cut(model.get_submodule(path), rank)
    put_form(model, packed=True)
    return model


def sizes(model: PreTrainedModel) -> tuple[int, int]:
    """Weights of the matrices that the ratio counts, and how many of them are not zero."""
    weights = anatomy_of(model).weights_of(model)
    return sum(weight.numel() for weight in weights), sum(int(weight.count_nonzero()) for weight in weights)
