"""Vocabulary trimming (Abdaoui et al. 2020): fewer rows in the embedding table, for the word pieces that texts need."""

import json
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.word_pieces import Vocabulary
from compression.context import Context, TaskData
from compression.data.ingest import read_texts
from compression.errors import InputError, Problem
from compression.methods.trim_vocabulary.params import TrimVocabularyParams

Counts = npt.NDArray[np.int64]
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
    rows = table.num_embeddings
    required = vocabulary.required(
        model.config.pad_token_id, all_before_padding=anatomy.positions_after_padding
    )
    params.check(rows, len(vocabulary), len(required))
    uses = {"training rows": np.bincount(data.train.pieces, minlength=rows)}
    if params.corpus is not None:
        uses["corpus"] = _uses_in_corpus(params, rows, context)
    # As shares of either: a large corpus does not outweigh the rows that the model has learnt from.
    shares = np.sum([counts / counts.sum() for counts in uses.values()], axis=0)
    kept = vocabulary.choose(required, shares, params.kept(rows))
    _tell_of_lost_pieces(uses, kept, context)
    context.changed_tokenizer = json.dumps(vocabulary.trimmed(kept), ensure_ascii=False)
    _keep_rows(model, table, kept)
    return model


def _uses_in_corpus(params: TrimVocabularyParams, rows: int, context: Context) -> Counts:
    """How often the texts of the corpus use each word piece (V,).

    Raises:
        InputError: they use none.
    """
    assert params.corpus is not None
    folder, columns = context.datasets[params.corpus], params.corpus_columns or []
    tokenizer = Tokenizer.from_str(context.tokenizer_json())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    uses = np.zeros(rows, dtype=np.int64)
    for texts in read_texts(folder, "train", columns):
        context.stop_if_requested()
        encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        pieces = np.fromiter(chain.from_iterable(row.ids for row in encoded), dtype=np.int64)
        uses += np.bincount(pieces, minlength=rows)
    if not uses.any():
        message = f"the corpus {params.corpus} holds no word piece in {', '.join(columns)}"
        raise InputError(Problem("no_text", message, "/corpus"))
    return uses


def _tell_of_lost_pieces(uses: dict[str, Counts], kept: list[int], context: Context) -> None:
    for whose, counts in uses.items():
        if lost := int(counts.sum() - counts[kept].sum()):
            pieces = (counts > 0).sum() - (counts[kept] > 0).sum()
            message = (
                f"{pieces} word pieces of the {whose}, {lost / counts.sum():.2%} of the text, do not fit into the "
                "trimmed vocabulary and are spelled in smaller pieces: keep a larger share"
            )
            context.warn("vocabulary_short", message)


def _keep_rows(model: PreTrainedModel, table: nn.Embedding, kept: list[int]) -> None:
    table.weight = nn.Parameter(table.weight.detach()[torch.tensor(kept, device=table.weight.device)])
    table.num_embeddings = model.config.vocab_size = len(kept)
    numbers = {old: new for new, old in enumerate(kept)}
    if table.padding_idx is not None:
        table.padding_idx = numbers[table.padding_idx]
    for key in TOKENS:
        if isinstance(old := getattr(model.config, key, None), int):
            setattr(model.config, key, numbers.get(old))
