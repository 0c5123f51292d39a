"""Masked language modelling at work: trained as BERT was, measured by pseudo-perplexity.

Pseudo-perplexity (Salazar et al. 2020, equations 1 and 4) is exp of the mean -log p of the word pieces of all rows,
each guessed from its row with that piece alone behind the mask. Where there are more pieces than shall be measured, a
random sample of them stands for all.
"""

from dataclasses import replace

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerFast

from compression.data.encoding import Array, Encoded, Pieces, offsets_of, pad_piece, tokenize
from compression.data.masking import Masking
from compression.errors import InputError, Problem
from compression.tasks.fill_mask.resolution import FillMaskTask
from compression.tasks.pieces import PiecePrediction, sample


class FillMask(PiecePrediction[FillMaskTask]):
    """Rows to learn from are one sequence each; rows to measure by have one for each piece that is guessed."""

    def encode_to_learn(self, tokenizer: PreTrainedTokenizerFast, table: pa.Table) -> Encoded:
        pieces, may_be = self._pieces(tokenizer, table)
        return Encoded(
            task=self.task,
            table=table,
            pieces=pieces.pieces,
            offsets=pieces.offsets,
            segments=None,
            labels=pieces.pieces[may_be].astype(np.int64),
            outputs=offsets_of(may_be)[pieces.offsets],
            pad_piece=pad_piece(tokenizer),
            marked=may_be,
            cut=pieces.cut,
        )

    def encode(self, tokenizer: PreTrainedTokenizerFast, table: pa.Table) -> Encoded:
        pieces, may_be = self._pieces(tokenizer, table)
        places = sample(np.flatnonzero(may_be), self.task.measured_pieces)
        rows = np.searchsorted(pieces.offsets, places, side="right") - 1
        starts, lengths = pieces.offsets[rows], np.diff(pieces.offsets)[rows]
        offsets = offsets_of(lengths)
        inside = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        guessed = offsets[:-1] + places - starts
        seen, marked = pieces.pieces[inside], np.zeros(len(inside), dtype=np.bool_)
        seen[guessed], marked[guessed] = mask_piece(tokenizer), True
        return Encoded(
            task=self.task,
            table=table,
            pieces=seen,
            offsets=offsets,
            segments=None,
            labels=pieces.pieces[places].astype(np.int64),
            outputs=np.arange(len(places) + 1),
            pad_piece=pad_piece(tokenizer),
            marked=marked,
            sequences=offsets_of(np.bincount(rows, minlength=table.num_rows)),
            cut=pieces.cut,
        )

    def equipped(self, data: Encoded, tokenizer: PreTrainedTokenizerFast) -> Encoded:
        data = super().equipped(data, tokenizer)
        if data.sequences is not None:
            return data
        hidden = self.task.hidden
        ordinary = np.setdiff1d(np.arange(len(tokenizer), dtype=np.int32), tokenizer.all_special_ids)
        masking = Masking(hidden.share, hidden.masked, hidden.exchanged, mask_piece(tokenizer), ordinary)
        return replace(data, masking=masking)

    def _pieces(self, tokenizer: PreTrainedTokenizerFast, table: pa.Table) -> tuple[Pieces, Array]:
        """The rows' word pieces, and which of them may be hidden (P,).

        Raises:
            InputError: there is none.
        """
        pieces = tokenize(tokenizer, table.column("text").to_pylist(), self.task.max_length)
        may_be = ~np.isin(pieces.pieces, tokenizer.all_special_ids)
        if not may_be.any():
            message = f"column {self.task.columns.text!r} holds no word that the tokenizer knows"
            raise InputError(Problem("no_text", message, "/task/columns/text"))
        return pieces, may_be


def mask_piece(tokenizer: PreTrainedTokenizerFast) -> int:
    """The id of what stands for a hidden piece.

    Raises:
        InputError: there is none.
    """
    if isinstance(tokenizer.mask_token_id, int):
        return tokenizer.mask_token_id
    message = "the tokenizer has no mask: name its mask_token"
    raise InputError(Problem("no_mask_token", message, "tokenizer_config.json#/mask_token"))


BEHAVIOUR = FillMask
