"""Sharing (Lan et al. 2020): a fine-tuned BERT becomes an ALBERT, and learns to be one from what it was."""

from transformers import PreTrainedModel

from compression.context import Context, TaskData
from compression.methods.share.albert import albert_of, put_groups, shared_layers
from compression.methods.share.embeddings import shortened, whole
from compression.methods.share.params import ShareParams
from compression.methods.share.replacing import SharingObjective
from compression.training.loop import train
from compression.training.objectives import TaskObjective
from compression.training.teacher import teacher_logits


def run(model: PreTrainedModel, data: TaskData, params: ShareParams, context: Context) -> PreTrainedModel:
    """An ALBERT with weights of `model`, trained where recovery is asked for."""
    teacher = teacher_logits(model, data, params, context)
    size = params.embedding_size
    vectors = whole(model) if size is None else shortened(model, data.train, size)
    albert = albert_of(model, data.task.type, vectors)
    sizes = params.group_sizes(model.config.num_hidden_layers)
    groups = shared_layers(albert, sizes, params.start)
    if params.recovery is not None and params.replacing is not None:
        each = [group for group, size in zip(groups, sizes, strict=True) for _ in range(size)]
        train(SharingObjective(albert, each, params, context, teacher), data, params.recovery, context)
    put_groups(albert, groups)
    if params.recovery is not None and params.replacing is None:
        train(TaskObjective(albert, params.distillation, teacher), data, params.recovery, context)
    return albert
