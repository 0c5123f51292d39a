"""Writes a split as Parquet while its rows stream by."""

from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from compression.data.profile import SplitProfile
from compression.data.table import BATCH_CHARACTERS, BATCH_ROWS, Batch, Table


class SplitWriter:
    """Writes the rows of one split as Parquet, all columns text or lists of it, and profiles them on the way."""

    def __init__(self, path: Path, table: Table) -> None:
        self.profile = SplitProfile(table.columns, table.lists)
        types = {
            name: pa.list_(pa.string()) if name in table.lists else pa.string() for name in table.columns
        }
        self._schema = pa.schema(list(types.items()))
        self._file = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._file.close()

    def add(self, batch: Batch) -> None:
        self.profile.add(batch)
        columns = [pa.array(values, type) for values, type in zip(batch, self._schema.types, strict=True)]
        self._waiting.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        rows = sum(waiting.num_rows for waiting in self._waiting)
        if rows >= BATCH_ROWS or sum(waiting.nbytes for waiting in self._waiting) >= BATCH_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._file.write_table(pa.Table.from_batches(self._waiting, self._schema))
            self._waiting = []
