"""Models: upload, list, look at, download, delete."""

from functools import partial

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool

from api.dependencies import Cursor, FilePath, IdempotencyKey, KeyId, Limit, ModelId, Shared, contract_router
from api.idempotency import Repeatable
from api.models import service
from api.models.arriving import ArchiveSink
from api.models.schemas import Model, ModelPage
from api.multipart import receive_form
from api.names import MODEL_ID_PATTERN
from api.pages import after_cursor, page_of
from api.problems import Code, problems
from api.sinks import FileSink
from api.streaming import DOWNLOAD, send_stored
from api.uploads import NAME, form_body, staging, upload_problems
from db.repositories import models

router = contract_router("/v1/models", "models")


@router.post(
    "",
    status_code=201,
    response_model=Model,
    responses=upload_problems(Code.INVALID_MODEL),
    openapi_extra=form_body(
        file={
            "type": "string",
            "format": "binary",
            "description": "A .zip, .tar or .tar.gz of a checkpoint folder",
        },
        files={
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "Or the files of the folder: config.json, *.safetensors, the tokenizer's",
        },
        name=NAME,
    ),
)
async def create_model(
    request: Request, context: Shared, key_id: KeyId, idempotency_key: IdempotencyKey = None
) -> Response:
    """Send a fine-tuned checkpoint in Hugging Face form. It is inspected; what is wrong is told, all of it."""
    async with staging(context) as folder:
        max_bytes = context.settings.max_upload_bytes
        with service.archive_refused():
            form = await receive_form(
                request,
                folder,
                files={"file": partial(ArchiveSink, max_bytes=max_bytes), "files": FileSink},
                texts=("name",),
                max_bytes=max_bytes,
            )
        repeatable = Repeatable(key_id, "create_model", idempotency_key)
        return await context.run_heavy(service.create_model, context, form, folder, repeatable)


@router.get("", responses=problems(Code.INVALID_REQUEST))
def list_models(context: Shared, cursor: Cursor = None, limit: Limit = 50) -> ModelPage:
    """Models, newest first: those that were sent and those that jobs made."""
    after = after_cursor(cursor, MODEL_ID_PATTERN)
    with context.database.reading() as connection:
        page = models.page(connection, after=after, limit=limit)
    return ModelPage(**page_of(page, Model.model_validate))


@router.get("/{model_id}", responses=problems(Code.NOT_FOUND))
def get_model(model_id: ModelId, context: Shared) -> Model:
    """One model."""
    with context.database.reading() as connection:
        return Model.model_validate(service.existing(connection, model_id))


@router.delete("/{model_id}", status_code=204, responses=problems(Code.NOT_FOUND, Code.IN_USE))
def delete_model(model_id: ModelId, context: Shared) -> None:
    """Delete a model that no unfinished job needs."""
    service.delete_model(context, model_id)


@router.get("/{model_id}/files/{name:path}", response_class=Response, responses=DOWNLOAD)
async def download_model_file(
    model_id: ModelId, name: FilePath, request: Request, context: Shared
) -> Response:
    """One file of a model, of those that it names, also where that lies in a folder. Ranges and conditions work."""
    file = await run_in_threadpool(service.existing_file, context, model_id, name)
    return await send_stored(
        context.storage.path(f"models/{model_id}/{name}"),
        request,
        name=name.rpartition("/")[2],
        sha256=file["sha256"],
        media_type="application/octet-stream",
    )
