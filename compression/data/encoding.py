"""Rows as word pieces: encoded once per (tokenizer, rows, length), kept in a cache by content."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedTokenizerFast

from compression.checkpoints.loading import Source
from compression.data.ingest import read_split
from compression.data.summary import SplitName
from compression.tasks.resolution import Task

IntArray = npt.NDArray[np.int32]
Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32]
ENCODE_CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Encoded:
    """The rows of one split.

    `pieces` holds the word pieces of all rows one after another, row i from `offsets[i]` to `offsets[i + 1]`;
    `segments` the token types of the same pieces, or nothing where all are zero; `labels` (N,) class ids or scores.
    """

    pieces: IntArray
    offsets: npt.NDArray[np.int64]
    segments: IntArray | None
    labels: Labels
    pad_piece: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Word pieces per row (N,)."""
        return np.diff(self.offsets)


def read_columns(
    dataset: Path, split: SplitName, task: Task
) -> tuple[list[str], list[str] | None, list[str]]:
    """Texts, second texts and label values of a split, in row order."""
    table = read_split(dataset, split)
    columns = task.columns

    def values(name: str) -> list[str]:
        return cast(list[str], table.column(name).to_pylist())

    pairs = values(columns.text_pair) if columns.text_pair else None
    return values(columns.text), pairs, values(columns.label)


def encode_split(source: Source, dataset: Path, split: SplitName, task: Task, cache: Path | None) -> Encoded:
    """Encode one split, or read it from the cache folder when the same content has been encoded before."""
    entry = (
        cache / f"encoded-{_content_key(source.folder, dataset / f'{split}.parquet', task)}"
        if cache
        else None
    )
    if entry is not None and entry.exists():
        return _read(entry, _pad_piece(source.tokenizer))
    texts, pairs, values = read_columns(dataset, split, task)
    labels = (
        np.array([float(value) for value in values], dtype=np.float32)
        if task.problem_type == "regression"
        else np.array([task.labels[value] for value in values], dtype=np.int64)
    )
    encoded = encode_rows(source.tokenizer, texts, pairs, labels, task.max_length)
    if entry is not None:
        _write(encoded, entry)
    return encoded


def encode_rows(
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    labels: Labels,
    max_length: int,
) -> Encoded:
    """Encode texts (N), or pairs of texts, cut to `max_length` word pieces each."""
    # The Rust tokenizer itself: transformers' wrapper builds Python lists of masks that nobody needs here.
    rust = tokenizer.backend_tokenizer
    rust.no_padding()
    rust.enable_truncation(max_length, strategy="longest_first")
    inputs = texts if pairs is None else list(zip(texts, pairs, strict=True))
    pieces, segments, lengths = [], [], []
    for start in range(0, len(inputs), ENCODE_CHUNK):
        for row in rust.encode_batch_fast(inputs[start : start + ENCODE_CHUNK]):
            pieces.append(np.array(row.ids, dtype=np.int32))
            segments.append(np.array(row.type_ids, dtype=np.int32))
            lengths.append(len(row.ids))
    with_segments = pairs is not None and "token_type_ids" in tokenizer.model_input_names
    return Encoded(
        pieces=np.concatenate(pieces),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        segments=np.concatenate(segments) if with_segments else None,
        labels=labels,
        pad_piece=_pad_piece(tokenizer),
    )


def _pad_piece(tokenizer: PreTrainedTokenizerFast) -> int:
    return tokenizer.pad_token_id if isinstance(tokenizer.pad_token_id, int) else 0


def _write(encoded: Encoded, entry: Path) -> None:
    arrays: dict[str, npt.NDArray[Any]] = {
        "pieces": encoded.pieces,
        "offsets": encoded.offsets,
        "labels": encoded.labels,
    }
    if encoded.segments is not None:
        arrays["segments"] = encoded.segments
    partial = entry.with_name(f"{entry.name}.{os.getpid()}")
    save_file(arrays, partial)
    partial.replace(entry)


def _read(entry: Path, pad_piece: int) -> Encoded:
    arrays = load_file(entry)
    return Encoded(segments=arrays.pop("segments", None), pad_piece=pad_piece, **arrays)


def _content_key(model: Path, rows: Path, task: Task) -> str:
    digest = hashlib.sha256(task.model_dump_json().encode())
    tokenizer_files = sorted(
        f for f in model.iterdir() if f.suffix in (".json", ".txt") and f.name != "config.json"
    )
    for file in [*tokenizer_files, rows]:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
