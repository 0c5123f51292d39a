"""Models: from what is uploaded to a checkpoint that is known to be sound."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from fastapi import Response
from sqlalchemy import Connection

from api.context import Context
from api.errors import refusal, refused_as
from api.idempotency import Repeatable, created
from api.models.schemas import Model
from api.multipart import Form, ReceivedFile
from api.problems import Code, ProblemItem
from api.uploads import chosen_name, invalid_field, keep, place_file
from compression.checkpoints.inspection import checkpoint_files, inspect_checkpoint
from compression.checkpoints.sentence import POOLING
from core.archive import ArchiveError, unpack
from core.digests import StoredFile, describe_file, digest_of
from core.ids import new_id
from db.errors import NotFound
from db.models import Model as ModelRow
from db.models.base import Json
from db.repositories import models
from db.repositories.models import NewModel


def create_model(context: Context, form: Form, folder: Path, repeatable: Repeatable) -> Response:
    """Inspect what was received into `folder`, and keep what is a sound checkpoint."""
    checkpoint = folder / "checkpoint"
    _arrange(form, checkpoint, context.settings.max_upload_bytes)
    name = chosen_name(form, "model")
    with ThreadPoolExecutor(1) as beside:
        describing = beside.submit(_describe, checkpoint, form)
        with refused_as(Code.INVALID_MODEL):
            facts = inspect_checkpoint(checkpoint)
        files = describing.result()
    model = NewModel(
        id=new_id("mdl"),
        name=name,
        sha256=digest_of(files),
        bytes=sum(file["size"] for file in files),
        files=[dict(file) for file in files],
        facts=facts.model_dump(mode="json"),
    )

    def create(connection: Connection) -> Response:
        models.add(connection, model)
        return created(f"/v1/models/{model.id}", Model.model_validate(existing(connection, model.id)))

    content = f"{model.name}\n{model.sha256}"
    return keep(context, f"models/{model.id}", checkpoint, files, repeatable, content, create)


def existing(connection: Connection, id: str) -> ModelRow:
    """Raises NotFound."""
    model = models.find(connection, id)
    if model is None:
        raise NotFound("model", id)
    return model


def existing_file(context: Context, id: str, name: str) -> Json:
    """Name, size and digest of a file. Raises NotFound."""
    with context.database.reading() as connection:
        files = existing(connection, id).files
    file = next((file for file in files if file["name"] == name), None)
    if file is None:
        raise NotFound(f"file {name} in model", id)
    return file


def delete_model(context: Context, id: str) -> None:
    """Delete row and files. Raises NotFound, or InUse while a job that has not ended needs it."""
    with context.database.transaction() as connection:
        models.remove(connection, id)
    context.storage.delete(f"models/{id}")


def _describe(checkpoint: Path, form: Form) -> list[StoredFile]:
    """What will be kept. Files that came as such were hashed as they came."""
    known = {
        file.name: StoredFile(name=file.name, size=file.bytes, sha256=file.sha256)
        for file in form.files
        if file.field == "files" and file.sha256 is not None
    }
    names = checkpoint_files(checkpoint)
    return [known[name] if name in known else describe_file(checkpoint / name, name) for name in names]


def _arrange(form: Form, checkpoint: Path, max_bytes: int) -> None:
    """Make the folder of the checkpoint of what was sent: one archive or the files."""
    archives = [file for file in form.files if file.field == "file"]
    files = [file for file in form.files if file.field == "files"]
    if len(archives) == 1 and not files:
        _place_archive(archives[0], checkpoint, max_bytes)
    elif files and not archives:
        for file in files:
            place_file(file, checkpoint, nested=POOLING)
    else:
        message = "send one archive of a checkpoint folder as `file`, or the files of it as `files`"
        raise invalid_field("file", "one_archive_or_files", message)


def _place_archive(archive: ReceivedFile, checkpoint: Path, max_bytes: int) -> None:
    if archive.path.is_dir():
        archive.path.rename(checkpoint)  # it was unpacked as it came
    else:
        with archive_refused():
            unpack(archive.path, checkpoint, max_bytes=max_bytes)
        archive.path.unlink()


@contextmanager
def archive_refused() -> Iterator[None]:
    """Answer an archive at fault with a problem that names its entry."""
    try:
        yield
    except ArchiveError as error:
        item = ProblemItem(pointer=error.entry or "/file", code=error.code, message=error.message)
        raise refusal(Code.INVALID_MODEL, [item]) from error
