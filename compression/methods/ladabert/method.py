"""LadaBERT (Mao et al. 2020): factorisation, pruning of the factors and distillation, in one step of a recipe."""

from transformers import PreTrainedModel

from compression.context import Context, TaskData
from compression.methods.ladabert.params import LadaBertParams
from compression.methods.low_rank import method as low_rank
from compression.methods.prune.method import prune
from compression.training.teacher import teacher_logits


def run(model: PreTrainedModel, data: TaskData, params: LadaBertParams, context: Context) -> PreTrainedModel:
    """Factorise `model` in place, prune its factors while it learns from what it was, and return it."""
    teacher = teacher_logits(model, data, params.distillation, params.pruning.training, context)
    model = low_rank.run(model, data, params.factorisation, context)
    return prune(model, data, params.pruning, teacher, context)
