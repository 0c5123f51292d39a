"""Parquet from users: simple types only, decoded a few rows at a time, and never to more than the file can mean."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from compression.data.problems import ProblemLog
from compression.data.table import BATCH_CHARACTERS, MAX_FIELD, MAX_ROWS, Batch, Table, check_columns

MAX_ROW_GROUP_BYTES = 512_000_000
MAX_METADATA_STRING = 1_000_000
MAX_METADATA_ITEMS = 100_000
DECODE_ROWS = 8192
MAX_RATIO = 200
SMALL = 64_000_000
"""Decoded bytes that are fine whatever their ratio to the file's."""

Values: TypeAlias = "pa.Array[Any]"


def read_parquet(path: Path, log: ProblemLog) -> Table:
    """Open a Parquet file; its rows are read as the batches are asked for.

    Raises:
        InputError: it is damaged or too large, or has columns that hold other things than text and single numbers.
    """
    before = len(log)
    try:
        schema = _open(path, []).schema_arrow
        check_columns(schema.names, path.name, log)
        readers = [_reader_of(field, path.name, log) for field in schema]
        log.raise_if_any(beyond=before)
        # As dictionaries, repeated values stay one value, however many rows repeat them.
        texts = [field.name for field, reader in zip(schema, readers, strict=True) if reader is _texts]
        file = _open(path, texts)
        _check_sizes(file.metadata, path.name, log)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        log.stop("damaged_parquet", f"the file is damaged, or is no Parquet file: {error}", path.name)
    return Table(schema.names, _batches(file, readers, path, log))


def _open(path: Path, texts: list[str]) -> pq.ParquetFile:
    return pq.ParquetFile(
        path,
        read_dictionary=texts,
        thrift_string_size_limit=MAX_METADATA_STRING,
        thrift_container_size_limit=MAX_METADATA_ITEMS,
    )


def _check_sizes(metadata: pq.FileMetaData, file: str, log: ProblemLog) -> None:
    if metadata.num_rows == 0:
        log.stop("no_rows", "the file has no rows", file)
    if metadata.num_rows > MAX_ROWS:
        log.stop("too_many_rows", f"no more than {MAX_ROWS} rows are read", file)
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).total_byte_size
        if size > MAX_ROW_GROUP_BYTES:
            message = f"row group {group} has {size} bytes; write row groups of at most {MAX_ROW_GROUP_BYTES}"
            log.stop("row_group_too_large", message, file)


def _batches(
    file: pq.ParquetFile, readers: list[Callable[[Values], list[str]]], path: Path, log: ProblemLog
) -> Iterator[Batch]:
    allowed = max(MAX_RATIO * path.stat().st_size, SMALL)
    row = 0
    try:
        for batch in file.iter_batches(DECODE_ROWS, use_threads=False):
            place = f"{path.name}: rows {row} to {row + batch.num_rows - 1}"
            size = sum(_decoded_bytes(column, place, log) for column in batch.columns)
            allowed -= size
            if allowed < 0:
                log.stop("parquet_bomb", "the file unpacks to far more than real text would", place)
            for part in _parts(batch, size):
                yield [
                    tuple(_checked(read(column), place, log))
                    for read, column in zip(readers, part.columns, strict=True)
                ]
            row += batch.num_rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        log.stop("damaged_parquet", f"the file is damaged: {error}", f"{path.name}: row {row} or later")


def _parts(batch: pa.RecordBatch, size: int) -> Iterator[pa.RecordBatch]:
    step = max(1, batch.num_rows * BATCH_CHARACTERS // max(size, BATCH_CHARACTERS))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)


def _decoded_bytes(column: Values, place: str, log: ProblemLog) -> int:
    if not isinstance(column, pa.DictionaryArray):
        return len(column) * 8
    lengths = pc.binary_length(cast(pa.StringArray, column.dictionary))
    if (pc.max(lengths).as_py() or 0) > 4 * MAX_FIELD:
        log.stop("field_too_long", f"a value is longer than {MAX_FIELD} characters", place)
    return pc.sum(lengths.take(column.indices)).as_py() or 0


def _checked(values: list[str], place: str, log: ProblemLog) -> list[str]:
    for value in set(values):
        if "\0" in value:
            log.stop("nul_character", "a value holds a NUL character", place)
        if len(value) > MAX_FIELD:
            log.stop("field_too_long", f"a value is longer than {MAX_FIELD} characters", place)
    return values


def _reader_of(field: "pa.Field[Any]", file: str, log: ProblemLog) -> Callable[[Values], list[str]]:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _texts
    if kind is field.type:
        if pa.types.is_boolean(kind) or pa.types.is_null(kind):
            return _truths
        if pa.types.is_integer(kind):
            return _integers
        if pa.types.is_floating(kind):
            return _numbers
    message = f"column {field.name!r} is of type {kind}; text, numbers and truth values are read: send lists as .jsonl"
    log.add("unsupported_column_type", message, file)
    return _texts


def _texts(column: Values) -> list[str]:
    return [
        value or "" for value in cast("pa.DictionaryArray[Any, Any]", column).dictionary_decode().to_pylist()
    ]


def _truths(column: Values) -> list[str]:
    return ["" if value is None else "true" if value else "false" for value in column.to_pylist()]


def _integers(column: Values) -> list[str]:
    return ["" if value is None else str(value) for value in column.to_pylist()]


def _numbers(column: Values) -> list[str]:
    # By way of Arrow's text, since it knows the shortest digits of single precision as well.
    texts = pc.cast(column, pa.string()).to_pylist()
    return ["" if text is None else repr(float(text)) for text in texts]
