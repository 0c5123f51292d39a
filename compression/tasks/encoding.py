"""The splits of a dataset, encoded for a task: once per (tokenizer, rows, task), kept in a cache by content."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from safetensors.numpy import load_file, save_file

from compression.cache import cached, made_by
from compression.checkpoints.loading import Source
from compression.data.encoding import Array, Encoded, pad_piece
from compression.data.ingest import read_split
from compression.data.summary import SplitName
from compression.errors import InputError, Problem
from compression.tasks.behaviour import behaviour_of
from compression.tasks.resolution import Task

EXTRA = "extra."


def encode_split(source: Source, dataset: Path, split: SplitName, task: Task, cache: Path | None) -> Encoded:
    """Encode one split, or read it from the cache folder when the same content has been encoded before.

    Raises:
        InputError: the rows are nothing that the model can read.
    """
    encoded = _encoded(source, dataset, split, task, cache)
    types = source.facts.token_types
    if types and encoded.segments is not None and encoded.segments.max() >= types:
        message = (
            f"the tokenizer gives the second text of a pair a token type of its own, and the model knows {types}: "
            "leave token_type_ids out of model_input_names"
        )
        raise InputError(Problem("unknown_token_type", message, "tokenizer_config.json#/model_input_names"))
    return behaviour_of(task).equipped(encoded, source.tokenizer)


def _encoded(source: Source, dataset: Path, split: SplitName, task: Task, cache: Path | None) -> Encoded:
    behaviour, table = behaviour_of(task), _rows(dataset, split, task)
    encode = behaviour.encode_to_learn if split == "train" else behaviour.encode
    if cache is None:
        return encode(source.tokenizer, table)
    return cached(
        cache,
        f"encoded-{_content_key(source, dataset / f'{split}.parquet', task, encode)}",
        make=lambda: encode(source.tokenizer, table),
        read=lambda entry: _read(entry, task, table, pad_piece(source.tokenizer)),
        write=_write,
    )


def _rows(dataset: Path, split: SplitName, task: Task) -> pa.Table:
    """The columns that the task gives a role to, by the name of the role; rows without labels lack some."""
    table = read_split(dataset, split)
    there = {role: name for role, name in task.roles.items() if name in table.column_names}
    return pa.table({role: table.column(name) for role, name in there.items()})


def _write(encoded: Encoded, entry: Path) -> None:
    arrays: dict[str, Array | None] = {
        "pieces": encoded.pieces,
        "offsets": encoded.offsets,
        "segments": encoded.segments,
        "labels": encoded.labels,
        "outputs": encoded.outputs,
        "marked": encoded.marked,
        "sequences": encoded.sequences,
        "cut": encoded.cut,
        **{EXTRA + name: array for name, array in encoded.extra.items()},
    }
    save_file({name: array for name, array in arrays.items() if array is not None}, entry)


def _read(entry: Path, task: Task, table: pa.Table, padding: int) -> Encoded:
    arrays: dict[str, Any] = load_file(entry)
    extra = {name.removeprefix(EXTRA): arrays.pop(name) for name in list(arrays) if name.startswith(EXTRA)}
    arrays.setdefault("segments", None)
    cut = arrays.pop("cut")
    return Encoded(task=task, table=table, pad_piece=padding, cut=cut, extra=extra, **arrays)


def _content_key(source: Source, rows: Path, task: Task, encode: Callable[..., Encoded]) -> str:
    digest = hashlib.sha256(f"{made_by()} {encode.__name__} {task.model_dump_json()}".encode())
    digest.update((source.changed_tokenizer or "").encode())
    tokenizer_files = sorted(
        f for f in source.folder.iterdir() if f.suffix in (".json", ".txt") and f.name != "config.json"
    )
    for file in [*tokenizer_files, rows]:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
