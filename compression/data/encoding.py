"""Rows as word pieces: what a model reads, and what is learnt and measured at which of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Encoding
from transformers import PreTrainedTokenizerFast

from compression.data.masking import Masking
from compression.tasks.resolution import Task

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int32]
ENCODE_CHUNK = 10_000
UNLABELLED = -100
"""Class id where there is no label; labels that are no class ids are NaN there."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The sequences of one split: one for each row, where the task does not cut rows into several.

    `pieces` (P,) holds the word pieces of all sequences one after another, sequence i from `offsets[i]` to
    `offsets[i + 1]`; `segments` (P,) their token types, or nothing where all are zero. A model has outputs for each
    sequence (`marked` is nothing), or at each marked piece, `marked` (P,). All outputs of a split, one after another,
    make an array (K, C): sequence i has those from `outputs[i]` to `outputs[i + 1]`, and `labels` (K, ...) is what
    they should be.
    """

    task: Task
    table: pa.Table
    """The rows themselves: a column for each role that the task gives to one."""
    pieces: IntArray
    offsets: npt.NDArray[np.int64]
    segments: IntArray | None
    labels: Array
    outputs: npt.NDArray[np.int64]
    pad_piece: int
    cut: npt.NDArray[np.bool_]
    """Which rows (N,) are longer than what is read of them."""
    marked: npt.NDArray[np.bool_] | None = None
    sequences: npt.NDArray[np.int64] | None = None
    """Row i has the sequences from `sequences[i]` to `sequences[i + 1]` (N + 1,); nothing where it is sequence i."""
    extra: dict[str, Array] = field(default_factory=dict)
    """What else the task wants to remember of its rows."""
    masking: Masking | None = None
    """How marked pieces are hidden in batches; a batch has the outputs of those alone that are."""
    vocabulary: Sequence[str] = ()
    """The word pieces by id, for a task that names them."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Word pieces per sequence (N,)."""
        return np.diff(self.offsets)

    @property
    def unlabelled(self) -> Array:
        """Which of the labels are missing."""
        missing: Array = np.isnan(self.labels) if self.labels.dtype.kind == "f" else self.labels == UNLABELLED
        return missing

    def values_or(self, role: str, default: Any) -> list[Any]:
        """The values of a role in row order, or the default for every row where there is no such column."""
        if role in self.table.column_names:
            return self.table.column(role).to_pylist()
        return [default] * self.table.num_rows

    def of_row(self, logits: Array, row: int) -> Array:
        """The logits (k, C) of one row."""
        part: Array = logits[self.by_row[row] : self.by_row[row + 1]]
        return part

    def sums(self, values: Array) -> Array:
        """Sums of the values (K,) of each row (N,)."""
        return np.diff(np.concatenate([[0], np.cumsum(values, dtype=np.float64)])[self.by_row])

    @property
    def by_row(self) -> npt.NDArray[np.int64]:
        """Where the outputs of each row begin and end (N + 1,)."""
        return self.outputs if self.sequences is None else self.outputs[self.sequences]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Word pieces as in `Encoded`, and what was noted of each (P, ...)."""

    pieces: IntArray
    offsets: npt.NDArray[np.int64]
    segments: IntArray | None
    cut: npt.NDArray[np.bool_]
    """Which of the sequences (N,) are cut."""
    notes: Array


def tokenize(
    tokenizer: PreTrainedTokenizerFast,
    inputs: Sequence[Any],
    max_length: int,
    note: Callable[[Encoding], Array] | None = None,
    *,
    segments: bool = False,
    pretokenized: bool = False,
) -> Pieces:
    """Texts, pairs of texts or lists of words as sequences of at most `max_length` word pieces.

    `note` tells of each sequence what is to be remembered of its pieces (L, ...).
    """
    # The Rust tokenizer itself: transformers' wrapper builds Python lists of masks that nobody needs here.
    rust = tokenizer.backend_tokenizer
    rust.no_padding()
    rust.enable_truncation(max_length, strategy="longest_first")
    # The fast way forgets which word, and which characters, a piece comes from.
    encode = rust.encode_batch_fast if note is None else rust.encode_batch
    pieces, types, notes, cut = list[IntArray](), list[IntArray](), list[Array](), list[bool]()
    for start in range(0, len(inputs), ENCODE_CHUNK):
        for row in encode(inputs[start : start + ENCODE_CHUNK], is_pretokenized=pretokenized):
            # A model that puts nothing around a text gives none for an empty one: it reads one of padding.
            pieces.append(np.array(row.ids or [pad_piece(tokenizer)], dtype=np.int32))
            # What is cut off is copied when it is asked for.
            cut.append(len(row.ids) == max_length and bool(row.overflowing))
            if segments:
                types.append(np.array(row.type_ids or [0], dtype=np.int32))
            if note is not None:
                notes.append(note(row))
    with_segments = segments and "token_type_ids" in tokenizer.model_input_names
    return Pieces(
        pieces=np.concatenate(pieces),
        offsets=offsets_of([len(row) for row in pieces]),
        segments=np.concatenate(types) if with_segments else None,
        cut=np.array(cut, dtype=np.bool_),
        notes=np.concatenate(notes) if notes else np.empty(0),
    )


def offsets_of(sizes: Sequence[int] | npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Where parts of these sizes begin and end: (N + 1,)."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def pad_piece(tokenizer: PreTrainedTokenizerFast) -> int:
    return tokenizer.pad_token_id if isinstance(tokenizer.pad_token_id, int) else 0
