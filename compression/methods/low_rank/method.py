"""Low-rank factorisation by weighted SVD (Hsu et al. 2022), with ranks from one budget for the whole model."""

from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.plankwright_model import exchange
from compression.context import Context, TaskData
from compression.methods.low_rank.factors import Factorised, factorise, put_factors, ranks_within
from compression.methods.low_rank.params import LowRankParams
from compression.methods.low_rank.weighting import scales
from compression.training.loop import train
from compression.training.objectives import TaskObjective
from compression.training.teacher import teacher_logits


def run(model: PreTrainedModel, data: TaskData, params: LowRankParams, context: Context) -> PreTrainedModel:
    """Factorise weights of `model` in place, train where recovery is asked for, and return it."""
    teacher = teacher_logits(model, data, params.distillation, params.recovery, context)
    is_tied = bool(model.all_tied_weights_keys)
    embeddings = not is_tied if params.embeddings is None else params.embeddings
    whole = anatomy_of(model).matrices_of(model, embeddings=embeddings)
    weights = scales(model, whole, data, params, context)
    factorised: dict[str, Factorised] = {}
    for path, module in whole.items():
        factorised[path] = factorise(module, *weights[path])
        context.stop_if_requested()
    ranks = context.decide("ranks", lambda: ranks_within(factorised, params.keep_share))
    exchange(model, ranks)
    for path, rank in ranks.items():
        put_factors(model.get_submodule(path), factorised[path], rank)
    context.note(_ranks_in_words(ranks, len(whole)))
    if params.recovery is not None:
        train(TaskObjective(model, params.distillation, teacher), data, params.recovery, context)
    return model


def _ranks_in_words(ranks: dict[str, int], matrices: int) -> str:
    if not ranks:
        return f"None of {matrices} weight matrices was factorised"
    return (
        f"{len(ranks)} of {matrices} weight matrices were factorised, to ranks from {min(ranks.values())} to "
        f"{max(ranks.values())}"
    )
