"""Takes in a dataset: read by strict rules, kept as one Parquet file of text columns per split, and summarised."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import compress
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from compression.data.problems import ProblemLog
from compression.data.profile import SplitProfile
from compression.data.readers import read_table
from compression.data.splitting import check_ratios, deal_rows
from compression.data.summary import DatasetSummary, Split, SplitName
from compression.data.writer import SplitWriter
from compression.errors import InputError, Problem

SUMMARY_FILE = "dataset.json"
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
FEW_ROWS = 100
TEXTS_AT_ONCE = 256


def ingest_dataset(
    files: Mapping[SplitName, Path], out: Path, split: Mapping[SplitName, float] | None, seed: int
) -> DatasetSummary:
    """Read the files of a dataset into the folder `out`: `{split}.parquet` and `dataset.json`.

    `split` deals the rows of a single file, given as `train`, out to splits in these shares, at random by `seed`.

    Raises:
        InputError: up to twenty problems, each with file and line; nothing is left in `out`.
    """
    _check_request(files, split)
    log = ProblemLog()
    out.mkdir(parents=True, exist_ok=True)
    try:
        profiles = (
            _ingest_splits(files, out, log) if split is None else _deal(files["train"], out, split, seed, log)
        )
        summary = _summarised(profiles)
        (out / SUMMARY_FILE).write_text(summary.model_dump_json(), "utf-8")
    except BaseException:
        for name in SPLITS:
            (out / f"{name}.parquet").unlink(missing_ok=True)
        raise
    return summary


def read_split(folder: Path, split: SplitName) -> pa.Table:
    """All rows of a split of an ingested dataset, as columns of text or of lists of text."""
    return pq.read_table(folder / f"{split}.parquet")


def read_texts(folder: Path, split: SplitName, columns: list[str]) -> Iterator[list[str]]:
    """The texts of some columns of a split, some hundreds at a time: they may be long."""
    with pq.ParquetFile(folder / f"{split}.parquet") as file:
        for batch in file.iter_batches(TEXTS_AT_ONCE, columns=columns, use_threads=False):
            yield [cast(str, text) for column in batch.columns for text in column.to_pylist()]


def read_preview(folder: Path, split: SplitName, rows: int) -> list[dict[str, str | list[str]]]:
    """The first rows of a split, without reading the others."""
    with pq.ParquetFile(folder / f"{split}.parquet") as file:
        batch = next(file.iter_batches(rows, use_threads=False))
        return batch.to_pylist()


def _check_request(files: Mapping[SplitName, Path], split: Mapping[SplitName, float] | None) -> None:
    if "train" not in files:
        message = "a file for the split train is needed: the rows to learn from"
        raise InputError(Problem("missing_train_file", message, "train"))
    if split is not None:
        if len(files) > 1:
            message = "shares are for a single file; with several, each file is a split of its own"
            raise InputError(Problem("invalid_split", message, "split"))
        check_ratios(split)


def _ingest_splits(
    files: Mapping[SplitName, Path], out: Path, log: ProblemLog
) -> dict[SplitName, SplitProfile]:
    profiles = {}
    for name in sorted(files, key=SPLITS.index):
        table = read_table(files[name], log)
        with SplitWriter(out / f"{name}.parquet", table) as writer:
            for batch in table.batches:
                writer.add(batch)
        profiles[name] = writer.profile
    log.raise_if_any()
    return profiles


def _deal(
    path: Path, out: Path, ratios: Mapping[SplitName, float], seed: int, log: ProblemLog
) -> dict[SplitName, SplitProfile]:
    rows = sum(len(batch[0]) for batch in read_table(path, log).batches)
    log.raise_if_any()
    dealt = deal_rows(rows, ratios, seed)
    table = read_table(path, log)
    with ExitStack() as stack:
        writers = {name: stack.enter_context(SplitWriter(out / f"{name}.parquet", table)) for name in ratios}
        for batch in table.batches:
            mine, dealt = dealt[: len(batch[0])], dealt[len(batch[0]) :]
            for position, writer in enumerate(writers.values()):
                chosen = (mine == position).tolist()
                writer.add([tuple(compress(values, chosen)) for values in batch])
    return {name: writer.profile for name, writer in writers.items()}


def _summarised(profiles: Mapping[SplitName, SplitProfile]) -> DatasetSummary:
    splits = {name: profile.summary() for name, profile in profiles.items()}
    names = {split: {column.name for column in summary.columns} for split, summary in splits.items()}
    comparable = [name for name in splits if name != "train" and names[name] == names["train"]]
    train = np.unique(profiles["train"].hashes)
    leaked: dict[SplitName, int] = {
        name: int(np.isin(profiles[name].hashes, train).sum()) for name in comparable
    }
    return DatasetSummary(splits=splits, leaked_rows=leaked, warnings=list(_warnings(splits, leaked)))


def _warnings(splits: Mapping[SplitName, Split], leaked: Mapping[SplitName, int]) -> Iterator[str]:
    for name, split in splits.items():
        if name != "train" and name not in leaked:
            yield f"{name} has other columns than train, so rows that stand in both were not looked for"
        elif leaked.get(name):
            share = leaked[name] / split.rows
            yield f"{leaked[name]} of {split.rows} rows of {name} ({share:.1%}) also stand in train"
        if split.duplicates:
            yield f"{split.duplicates} of {split.rows} rows of {name} repeat an earlier one"
        if split.rows < FEW_ROWS:
            yield f"{name} has only {split.rows} rows: what is measured on it is uncertain"
        for column in split.columns:
            if column.empty:
                yield f"column {column.name!r} is empty in {column.empty} of {split.rows} rows of {name}"
