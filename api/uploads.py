"""What uploads of models and of datasets have in common: files in a form, on their way to the storage."""

import re
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from fastapi import Response
from fastapi.concurrency import contextmanager_in_threadpool
from pydantic import ValidationError
from sqlalchemy import Connection

from api.context import Context
from api.errors import refusal
from api.idempotency import Repeatable, once
from api.multipart import Form, ReceivedFile
from api.names import name_adapter
from api.problems import ApiError, Code, ProblemItem, problems
from core.digests import StoredFile

PLAIN_NAME = re.compile(r"(?!\.{1,2}$)[^/\\\x00-\x1f\x7f]{1,255}")
SUFFIX = re.compile(r"\.(zip|tar|tar\.gz|tgz|csv|tsv|jsonl|parquet)$", re.IGNORECASE)


BINARY = {"type": "string", "format": "binary"}
NAME = name_adapter.json_schema() | {"examples": ["harbour office"]}


def form_body(**fields: dict[str, Any]) -> dict[str, Any]:
    """The body of an upload in OpenAPI; FastAPI does not see it, since it is read as it comes."""
    schema = {"type": "object", "properties": fields, "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def upload_problems(invalid: Code) -> dict[int | str, dict[str, Any]]:
    """The problems of an upload whose content is at fault with `invalid`."""
    return problems(
        Code.MALFORMED_REQUEST,
        Code.TIMEOUT,
        Code.TOO_LARGE,
        Code.UNSUPPORTED_MEDIA_TYPE,
        invalid,
        Code.INVALID_REQUEST,
        Code.IDEMPOTENCY_KEY_REUSED,
        Code.STORAGE_FULL,
    )


def staging(context: Context) -> AbstractAsyncContextManager[Path]:
    """A folder for one upload, gone at the end whatever happens."""
    return contextmanager_in_threadpool(context.storage.staging())


def chosen_name(form: Form, default: str) -> str:
    """The field `name`, or else that of the one file that was sent, or `default`."""
    name = form.texts.get("name")
    if name is None:
        name = SUFFIX.sub("", form.files[0].name) if len(form.files) == 1 else default
    try:
        return name_adapter.validate_python(name)
    except ValidationError as error:
        raise invalid_field("name", "invalid_name", error.errors()[0]["msg"]) from error


def invalid_field(field: str, code: str, message: str) -> ApiError:
    """The problem of one field of a form."""
    return refusal(Code.INVALID_REQUEST, [ProblemItem(pointer=f"/{field}", code=code, message=message)])


def place_file(file: ReceivedFile, folder: Path, nested: str = "") -> Path:
    """Move a received file into a folder, under the name that the client gave it; only `nested` may have folders.

    Raises:
        ApiError: that is no plain file name, or it is there twice.
    """
    if not PLAIN_NAME.fullmatch(file.name) and file.name != nested:
        message = f"{file.name[:255]!r} is no plain file name: send it without folders"
        raise invalid_field(file.field, "invalid_file_name", message)
    target = folder / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise invalid_field(file.field, "duplicate_file", f"the file {file.name} is there twice")
    return file.path.rename(target)


def keep(
    context: Context,
    prefix: str,
    folder: Path,
    files: Collection[StoredFile],
    repeatable: Repeatable,
    content: str,
    create: Callable[[Connection], Response],
) -> Response:
    """Store files and then their row, or neither. `content` is what a repeated request must be equal in."""
    try:
        for file in files:
            context.storage.put(f"{prefix}/{file['name']}", folder / file["name"])
        with context.database.transaction() as connection:
            answer = once(connection, repeatable, content, lambda: create(connection))
    except BaseException:
        context.storage.delete(prefix)
        raise
    if answer.repeated:
        context.storage.delete(prefix)
    return answer.response
