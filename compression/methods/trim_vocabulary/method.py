"""Vocabulary trimming (Abdaoui et al. 2020): fewer rows in the embedding table, for the word pieces that texts need."""

import json

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.context import Context, TaskData
from compression.errors import InputError, Problem
from compression.methods.trim_vocabulary.params import TrimVocabularyParams
from compression.methods.trim_vocabulary.vocabulary import Vocabulary

TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
"""Word pieces that a config names."""


def run(
    model: PreTrainedModel, data: TaskData, params: TrimVocabularyParams, context: Context
) -> PreTrainedModel:
    """Keep rows of the embedding table of `model` in place, and leave the tokenizer that belongs to them in `context`.

    Raises:
        InputError: what must stay is more than was asked for.
    """
    anatomy = anatomy_of(model)
    table = anatomy.word_embeddings_of(model)
    vocabulary = Vocabulary(json.loads(context.tokenizer_json()))
    rows, size = table.num_embeddings, params.kept(table.num_embeddings)
    required = vocabulary.required()
    required |= vocabulary.tokens_with(model.config.pad_token_id)
    if anatomy.positions_after_padding:
        required |= vocabulary.tokens_up_to(model.config.pad_token_id)
    if not len(required) <= size <= len(vocabulary):
        message = (
            f"of {rows} entries {len(required)} special tokens and single characters must stay, and {len(vocabulary)} "
            f"can: use a share from {len(required) / rows:.3f} to {len(vocabulary) / rows:.3f}"
        )
        raise InputError(Problem("vocabulary_size", message, f"/steps/{context.recipe_step}/keep_share"))
    uses = np.bincount(data.train.pieces, minlength=rows)
    kept = vocabulary.choose(required, uses, size)
    context.changed_tokenizer = json.dumps(vocabulary.trimmed(kept), ensure_ascii=False)
    if lost := int(uses.sum() - uses[kept].sum()):
        message = (
            f"{(uses > 0).sum() - (uses[kept] > 0).sum()} word pieces of the training rows, {lost / uses.sum():.2%} of "
            "their text, do not fit into the trimmed vocabulary and are spelled in smaller pieces: keep a larger share"
        )
        context.warn("vocabulary_short", message)
    _keep_rows(model, table, kept)
    return model


def _keep_rows(model: PreTrainedModel, table: nn.Embedding, kept: list[int]) -> None:
    table.weight = nn.Parameter(table.weight.detach()[torch.tensor(kept, device=table.weight.device)])
    table.num_embeddings = model.config.vocab_size = len(kept)
    numbers = {old: new for new, old in enumerate(kept)}
    if table.padding_idx is not None:
        table.padding_idx = numbers[table.padding_idx]
    for key in TOKENS:
        if isinstance(old := getattr(model.config, key, None), int):
            setattr(model.config, key, numbers.get(old))
