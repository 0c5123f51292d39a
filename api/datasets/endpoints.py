"""Datasets: upload, list, look at, delete."""

from typing import Annotated

from fastapi import Query, Request, Response

from api.datasets import service
from api.datasets.schemas import Dataset, DatasetPage, Preview
from api.dependencies import Cursor, DatasetId, IdempotencyKey, KeyId, Limit, Shared, contract_router
from api.idempotency import Repeatable
from api.multipart import receive_form
from api.names import DATASET_ID_PATTERN
from api.pages import after_cursor, page_of
from api.problems import Code, problems
from api.sinks import FileSink
from api.uploads import BINARY, NAME, form_body, staging, upload_problems
from compression.data.summary import SplitName
from db.repositories import datasets

router = contract_router("/v1/datasets", "datasets")


@router.post(
    "",
    status_code=201,
    response_model=Dataset,
    responses=upload_problems(Code.INVALID_DATASET),
    openapi_extra=form_body(
        train=BINARY
        | {
            "description": "The rows to learn from: .csv, .tsv, .jsonl, .txt (a text each line), .parquet, .conll, "
            ".conllu or SQuAD's .json"
        },
        validation=BINARY
        | {
            "description": "Rows that training is watched by; results are measured on them, unless a job says `test`"
        },
        test=BINARY | {"description": "Rows that training never sees"},
        file=BINARY | {"description": "Or one file, whose rows are dealt out to splits at random"},
        split={
            "type": "string",
            "description": "Shares of the rows of `file`, as JSON",
            "examples": ['{"train": 0.9, "validation": 0.1}'],
        },
        seed={
            "type": "integer",
            "minimum": 0,
            "default": service.DEFAULT_SEED,
            "description": "Deals out the rows of `file`: the same seed, the same splits",
        },
        name=NAME,
    ),
)
async def create_dataset(
    request: Request, context: Shared, key_id: KeyId, idempotency_key: IdempotencyKey = None
) -> Response:
    """Send rows as files by split, or one file to be split. Bad rows are told by line number and reason."""
    async with staging(context) as folder:
        form = await receive_form(
            request,
            folder,
            files=dict.fromkeys((*service.SPLITS, "file"), FileSink),
            texts=("split", "seed", "name"),
            max_bytes=context.settings.max_upload_bytes,
        )
        repeatable = Repeatable(key_id, "create_dataset", idempotency_key)
        return await context.run_heavy(service.create_dataset, context, form, folder, repeatable)


@router.get("", responses=problems(Code.INVALID_REQUEST))
def list_datasets(context: Shared, cursor: Cursor = None, limit: Limit = 50) -> DatasetPage:
    """Datasets, newest first."""
    after = after_cursor(cursor, DATASET_ID_PATTERN)
    with context.database.reading() as connection:
        page = datasets.page(connection, after=after, limit=limit)
    return DatasetPage(**page_of(page, Dataset.model_validate))


@router.get("/{dataset_id}", responses=problems(Code.NOT_FOUND))
def get_dataset(dataset_id: DatasetId, context: Shared) -> Dataset:
    """One dataset."""
    with context.database.reading() as connection:
        return Dataset.model_validate(service.existing(connection, dataset_id))


@router.get("/{dataset_id}/preview", responses=problems(Code.NOT_FOUND))
def preview_dataset(
    dataset_id: DatasetId,
    context: Shared,
    split: SplitName = "train",
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
) -> Preview:
    """The first rows of a split, as they were read."""
    return service.preview(context, dataset_id, split, limit)


@router.delete("/{dataset_id}", status_code=204, responses=problems(Code.NOT_FOUND, Code.IN_USE))
def delete_dataset(dataset_id: DatasetId, context: Shared) -> None:
    """Delete a dataset that no unfinished job needs."""
    service.delete_dataset(context, dataset_id)
