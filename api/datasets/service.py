"""Datasets: from files of rows to splits that are known to be readable."""

from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from fastapi import Response
from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy import Connection

from api.context import Context
from api.datasets.schemas import Dataset, Preview
from api.errors import refused_as
from api.idempotency import Repeatable, created
from api.multipart import Form
from api.problems import Code
from api.uploads import chosen_name, invalid_field, keep, place_file
from compression.data.ingest import SUMMARY_FILE, ingest_dataset, read_preview
from compression.data.summary import SplitName
from core.digests import describe_file, digest_of
from core.ids import new_id
from db.errors import NotFound
from db.models import Dataset as DatasetRow
from db.repositories import datasets
from db.repositories.datasets import NewDataset

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
DEFAULT_SEED = 42
RATIOS = TypeAdapter(dict[SplitName, float])
SEED = TypeAdapter(Annotated[int, Field(ge=0, lt=2**32)])


def create_dataset(context: Context, form: Form, folder: Path, repeatable: Repeatable) -> Response:
    """Read what was received into `folder`, strictly, and keep what could be read to the end."""
    given = _arrange(form, folder)
    ratios = _parsed(RATIOS, form, "split") if "split" in form.texts else None
    seed = _parsed(SEED, form, "seed") if "seed" in form.texts else DEFAULT_SEED
    name = chosen_name(form, "dataset")
    out = folder / "ingested"
    try:
        with refused_as(Code.INVALID_DATASET):
            summary = ingest_dataset(given, out, ratios, seed)
    finally:
        # Arrow keeps what it frees, and this process lives long.
        pa.default_memory_pool().release_unused()
    files = [
        describe_file(out / name)
        for name in (SUMMARY_FILE, *(f"{split}.parquet" for split in summary.splits))
    ]
    dataset = NewDataset(
        id=new_id("ds"),
        name=name,
        sha256=digest_of(files),
        bytes=sum(file["size"] for file in files),
        summary=summary.model_dump(mode="json"),
    )

    def create(connection: Connection) -> Response:
        datasets.add(connection, dataset)
        return created(f"/v1/datasets/{dataset.id}", Dataset.model_validate(existing(connection, dataset.id)))

    content = f"{dataset.name}\n{dataset.sha256}"
    return keep(context, f"datasets/{dataset.id}", out, files, repeatable, content, create)


def existing(connection: Connection, id: str) -> DatasetRow:
    """Raises NotFound."""
    dataset = datasets.find(connection, id)
    if dataset is None:
        raise NotFound("dataset", id)
    return dataset


def preview(context: Context, id: str, split: SplitName, limit: int) -> Preview:
    """The first rows of a split. Raises NotFound."""
    with context.database.reading() as connection:
        splits = existing(connection, id).summary["splits"]
    if split not in splits:
        raise NotFound(f"split {split!r} in dataset", id)
    rows = read_preview(context.storage.path(f"datasets/{id}"), split, limit)
    return Preview(split=split, rows=rows)


def delete_dataset(context: Context, id: str) -> None:
    """Delete row and files. Raises NotFound, or InUse while a job that has not ended needs it."""
    with context.database.transaction() as connection:
        datasets.remove(connection, id)
    context.storage.delete(f"datasets/{id}")


def _arrange(form: Form, folder: Path) -> dict[SplitName, Path]:
    """The files by split, each under the name that the client gave it, which tells its format."""
    fields = [file.field for file in form.files]
    for field in fields:
        if fields.count(field) > 1:
            raise invalid_field(field, "duplicate_file", f"there is more than one file `{field}`")
    placed = {file.field: place_file(file, folder / file.field) for file in form.files}
    if "file" not in placed:
        if "split" in form.texts:
            raise invalid_field("split", "invalid_split", "ratios are for one `file`, not for files by split")
        return {split: placed[split] for split in SPLITS if split in placed}
    if len(placed) > 1:
        raise invalid_field("file", "one_file_or_splits", "send one `file`, or files by split, not both")
    if "split" not in form.texts:
        message = 'how shall the rows be dealt out? For example {"train": 0.9, "validation": 0.1}'
        raise invalid_field("split", "missing_field", message)
    return {"train": placed["file"]}


def _parsed(adapter: TypeAdapter[Any], form: Form, field: str) -> Any:
    try:
        return adapter.validate_json(form.texts[field])
    except ValidationError as error:
        first = error.errors()[0]
        where = "/".join([field, *map(str, first["loc"])])
        raise invalid_field(where, f"invalid_{field}", first["msg"]) from error
