"""A recurrent student (Tang et al. 2019), whose word pieces begin with what the teacher knows of them."""

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from compression.architectures import anatomy, anatomy_of
from compression.checkpoints.plankwright_model import BiLstmConfig, build
from compression.context import Context, TaskData
from compression.methods.distill.params import BiLstmStudent
from compression.training.loop import seed_step


@torch.no_grad()
def begin_bilstm(
    teacher: PreTrainedModel, data: TaskData, student: BiLstmStudent, context: Context
) -> PreTrainedModel:
    """A model that is random but for its table of word pieces, by the job's seed."""
    pieces = teacher.get_submodule(anatomy_of(teacher).word_embeddings)
    table = reduced(
        pieces(torch.arange(teacher.config.vocab_size, device=teacher.device)), student.embedding_size
    )
    config = BiLstmConfig(
        vocab_size=len(table),
        embedding_size=table.shape[1],
        hidden_size=student.hidden_size,
        num_hidden_layers=student.layers,
        dropout=student.dropout,
        max_position_embeddings=context.source.facts.max_length,
        pad_token_id=teacher.config.pad_token_id,
        sep_token_id=_separator(data, context),
        id2label=teacher.config.id2label,
        label2id=teacher.config.label2id,
        problem_type=teacher.config.problem_type,
    )
    recurrent = anatomy("bilstm", data.task.type)
    seed_step(context, 0)
    model: PreTrainedModel = build(recurrent.model_class, config).to(teacher.device)
    recurrent.word_embeddings_of(model).weight.copy_(table)
    return model


def reduced(table: torch.Tensor, width: int) -> torch.Tensor:
    """A table (V, H) about its mean, in the directions (V, width) that hold most of it: U S of its SVD.

    Scaled to a mean square of 1: an LSTM's gates are sensitive to inputs of this size.
    """
    centred = table.double() - table.double().mean(dim=0)
    _, directions = torch.linalg.eigh(centred.T @ centred)
    kept: torch.Tensor = centred @ directions.flip(1)[:, :width]
    return (kept / kept.square().mean().sqrt()).to(table.dtype)


def _separator(data: TaskData, context: Context) -> int | None:
    """The id of what stands behind the first text of a pair, where there are pairs to compare."""
    token = context.source.tokenizer.sep_token
    if data.task.type != "text-classification" or not data.task.reads_pairs or not isinstance(token, str):
        return None
    number: int | None = Tokenizer.from_str(context.tokenizer_json()).token_to_id(token)
    return number
