"""Causal language modelling at work: each word piece is learnt, and measured, from those before it.

Perplexity is exp of the mean -log p of the word pieces, each given those before it in its block: rows are texts of
their own, long ones are cut into blocks that do not overlap, and the first piece of a block is given, not guessed.
"""

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerFast

from compression.data.encoding import Array, Encoded, offsets_of, pad_piece, tokenize
from compression.errors import InputError, Problem
from compression.tasks.pieces import PiecePrediction, sample
from compression.tasks.text_generation.resolution import TextGenerationTask

WHOLE = 10**9
"""More word pieces than a text can have."""


class TextGeneration(PiecePrediction[TextGenerationTask]):
    """A sequence for each block; its marked pieces are those before a piece that is guessed, which is their label."""

    def encode_to_learn(self, tokenizer: PreTrainedTokenizerFast, table: pa.Table) -> Encoded:
        return self._encode(tokenizer, table, WHOLE)

    def encode(self, tokenizer: PreTrainedTokenizerFast, table: pa.Table) -> Encoded:
        return self._encode(tokenizer, table, self.task.measured_pieces)

    def _encode(self, tokenizer: PreTrainedTokenizerFast, table: pa.Table, most: int) -> Encoded:
        """The rows, with at most so many outputs.

        Raises:
            InputError: nothing comes after anything.
        """
        pieces = tokenize(tokenizer, table.column("text").to_pylist(), WHOLE)
        blocks = [blocks_of(length, self.task.max_length) for length in np.diff(pieces.offsets)]
        offsets = offsets_of(np.concatenate(blocks))
        followed = np.ones(len(pieces.pieces), dtype=np.bool_)
        followed[offsets[1:] - 1] = False
        if not followed.any():
            message = f"column {self.task.columns.text!r} holds no text of two word pieces: none comes after another"
            raise InputError(Problem("no_text", message, "/task/columns/text"))
        places = sample(np.flatnonzero(followed), most)
        marked = np.zeros(len(followed), dtype=np.bool_)
        marked[places] = True
        return Encoded(
            task=self.task,
            table=table,
            pieces=pieces.pieces,
            offsets=offsets,
            segments=None,
            labels=pieces.pieces[places + 1].astype(np.int64),
            outputs=offsets_of(marked)[offsets],
            pad_piece=pad_piece(tokenizer),
            cut=np.zeros(table.num_rows, dtype=np.bool_),
            marked=marked,
            sequences=offsets_of([len(of_row) for of_row in blocks]),
        )


def blocks_of(length: int, most: int) -> Array:
    """The lengths of the blocks that so many word pieces are cut into."""
    whole, rest = divmod(int(length), most)
    return np.array([most] * whole + [rest] * (rest > 0), dtype=np.int64)


BEHAVIOUR = TextGeneration
