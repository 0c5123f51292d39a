"""LadaBERT (Mao et al. 2020): factorisation, pruning of the factors and distillation, in one step of a recipe."""

from transformers import PreTrainedModel

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
    teacher = teacher_logits(model, data, params.distillation, params.training, context)
    factors = find_factors(model, data, params.factorisation, context)
    ranks = {path: params.rank(rank, factors.full_rank(path), 1) for path, rank in factors.ranks.items()}
    exchange(model, ranks)
    for path, rank in ranks.items():
        put_factors(model.get_submodule(path), factors.matrices[path], rank)
    context.note(factors.in_words())
    train(RoundsObjective(model, factors, params, len(data.train), teacher), data, params.training, context)
    for path, rank in factors.ranks.items():
        cut(model.get_submodule(path), rank)
    put_form(model, packed=True)
    return model
