"""Answers that are sent in pieces: files, whole or a range of one."""

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from starlette.datastructures import Headers

from api.conditional import is_unchanged
from api.problems import ApiError, Code, problems

CHUNK_BYTES = 1 << 20
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


DOWNLOAD: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        "headers": {
            "ETag": {"description": "The SHA-256 of the content", "schema": {"type": "string"}},
            "Repr-Digest": {"description": "The same, by RFC 9530", "schema": {"type": "string"}},
        },
    },
    206: {"description": "The range that was asked for"},
    304: {"description": "The client has it"},
    **problems(Code.NOT_FOUND, Code.RANGE_NOT_SATISFIABLE),
}
"""Of a route that sends a stored file."""


async def send_stored(path: Path, request: Request, *, name: str, sha256: str, media_type: str) -> Response:
    """A file that never changes, to be saved under `name`."""
    digest = b64encode(bytes.fromhex(sha256)).decode()
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Repr-Digest": f"sha-256=:{digest}:",
        "Cache-Control": "private, no-cache",
    }
    return await send_file(path, request, media_type=media_type, headers=headers, etag=f'"{sha256}"')


async def send_file(
    path: Path, request: Request, *, media_type: str, headers: Mapping[str, str], etag: str | None = None
) -> Response:
    """The file, the range that is asked for, or 304 where the client has it.

    Several ranges at once are answered by the whole file, which RFC 9110 allows.

    Raises:
        ApiError: the range lies outside the file.
    """
    all_headers = {"Accept-Ranges": "bytes", **headers} | ({"ETag": etag} if etag else {})
    if etag and is_unchanged(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=all_headers)
    size = (await run_in_threadpool(path.stat)).st_size
    wanted = _wanted_range(request.headers, etag, size)
    start, end = wanted or (0, size)
    all_headers["Content-Length"] = str(end - start)
    if wanted:
        all_headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    status = 206 if wanted else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=all_headers, media_type=media_type)
    return StreamingResponse(_read(path, start, end), status, all_headers, media_type)


def _wanted_range(headers: Headers, etag: str | None, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of the one range that is asked for; None for all of it."""
    asked = RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    condition = headers.get("if-range")
    if asked is None or asked[0] == "bytes=-" or (condition is not None and condition != etag):
        return None
    first, last = asked.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None  # not a range: to be ignored
    if start >= end:
        raise ApiError(
            Code.RANGE_NOT_SATISFIABLE,
            f"The file has {size} bytes.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, end


async def _read(path: Path, start: int, end: int) -> AsyncIterator[bytes]:
    with await run_in_threadpool(path.open, "rb") as file:
        await run_in_threadpool(file.seek, start)
        while start < end:
            chunk = await run_in_threadpool(file.read, min(CHUNK_BYTES, end - start))
            if not chunk:
                raise EOFError("the file is shorter than it was")
            start += len(chunk)
            yield chunk
