"""Forms with files, received straight to where they belong: in a thread, in bounded memory.

FastAPI's own forms hold small files in memory and copy large ones from a temporary file to their place.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.problems import ApiError, Code, ProblemItem
from api.sinks import Sink

BATCH_BYTES = 1 << 20
"""Handed to the writing thread at once; the next batch is collected meanwhile."""
SECONDS_PER_BATCH = 120
"""A body that comes more slowly than one batch in this time is given up."""
MAX_FILES = 64
MAX_TEXT_BYTES = 1 << 16
"""Of one field that is not a file, and of its name."""


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    field: str
    name: str
    """As the client calls it: shown in messages, never used as a path."""
    path: Path
    bytes: int
    sha256: str | None
    """None for an archive that was unpacked as it came: `path` is a folder then."""


@dataclass(slots=True)
class Form:
    texts: dict[str, str] = field(default_factory=dict)
    files: list[ReceivedFile] = field(default_factory=list)


async def receive_form(
    request: Request,
    folder: Path,
    *,
    files: Mapping[str, Callable[[Path], Sink]],
    texts: Collection[str],
    max_bytes: int,
) -> Form:
    """Write the files of a multipart/form-data body into `folder`.

    `files` says which fields hold files, and into what each of them goes; `texts` which hold text.

    Raises:
        ApiError: the body is not such a form, too large or too slow.
        starlette.requests.ClientDisconnect: the client went away.
    """
    writer = _FormWriter(_boundary(request), folder, files, texts)
    try:
        return await _receive(request, writer, max_bytes)
    except TimeoutError as error:
        raise ApiError(Code.TIMEOUT, "The request body came too slowly.") from error
    except FormParserError as error:
        raise ApiError(Code.MALFORMED_REQUEST, f"The body is not a multipart form: {error}.") from error
    finally:
        await run_in_threadpool(writer.close)


async def _receive(request: Request, writer: "_FormWriter", max_bytes: int) -> Form:
    writing: asyncio.Future[None] = asyncio.ensure_future(asyncio.sleep(0))
    batch: list[bytes] = []
    collected = received = 0
    clock = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(SECONDS_PER_BATCH) as patience:
            async for chunk in request.stream():
                batch.append(chunk)
                collected += len(chunk)
                received += len(chunk)
                if received > max_bytes:
                    raise ApiError(Code.TOO_LARGE, f"An upload may have {max_bytes} bytes.")
                if collected >= BATCH_BYTES:
                    await asyncio.shield(writing)
                    writing = asyncio.ensure_future(run_in_threadpool(writer.feed, batch))
                    batch, collected = [], 0
                    patience.reschedule(clock() + SECONDS_PER_BATCH)
        await writing
        return await run_in_threadpool(writer.finish, batch)
    finally:
        # Whatever happened: the caller is about to delete the folder under the thread.
        await asyncio.gather(writing, return_exceptions=True)


def _boundary(request: Request) -> bytes:
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    if media_type != b"multipart/form-data" or not options.get(b"boundary"):
        raise ApiError(Code.UNSUPPORTED_MEDIA_TYPE, "The body must be sent as multipart/form-data.")
    return options[b"boundary"]


class _FormWriter:
    """Takes the bytes of a form as they come. Used by one thread at a time."""

    def __init__(
        self,
        boundary: bytes,
        folder: Path,
        files: Mapping[str, Callable[[Path], Sink]],
        texts: Collection[str],
    ) -> None:
        self._form = Form()
        self._folder, self._file_fields, self._text_fields = folder, files, texts
        self._header = self._value = b""
        self._disposition = b""
        self._field = self._name = ""
        self._text: bytearray | None = None
        self._sink: Sink | None = None
        self._size = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._open_part,
                "on_part_data": self._part_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def feed(self, chunks: list[bytes]) -> None:
        self._parser.write(b"".join(chunks))

    def finish(self, chunks: list[bytes]) -> Form:
        self.feed(chunks)
        if not self._ended:
            raise ApiError(Code.MALFORMED_REQUEST, "The multipart form ends before its last boundary.")
        return self._form

    def close(self) -> None:
        if self._sink is not None:
            self._sink.abort()

    def _begin_part(self) -> None:
        self._disposition = self._header = self._value = b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _open_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if self._field in self._file_fields and b"filename" in options:
            if len(self._form.files) == MAX_FILES:
                raise ApiError(Code.INVALID_REQUEST, f"A form may have {MAX_FILES} files.")
            self._name = options[b"filename"].decode("utf-8", "replace")
            self._size = 0
            self._sink = self._file_fields[self._field](self._folder / f"{len(self._form.files)}.part")
        elif self._field in self._text_fields and self._field not in self._form.texts:
            self._text = bytearray()
        else:
            raise _unexpected(self._field[:100], self._file_fields, self._text_fields)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._sink is not None:
            self._size += end - start
            self._sink.write(memoryview(data)[start:end])
        elif self._text is not None:
            self._text += data[start:end]
            if len(self._text) > MAX_TEXT_BYTES:
                raise ApiError(Code.INVALID_REQUEST, f"The field {self._field!r} is too long.")

    def _end_part(self) -> None:
        if self._sink is not None:
            sink, self._sink = self._sink, None
            received = ReceivedFile(self._field, self._name, sink.path, self._size, sink.finish())
            self._form.files.append(received)
        elif self._text is not None:
            try:
                self._form.texts[self._field] = self._text.decode()
            except UnicodeDecodeError as error:
                raise ApiError(Code.INVALID_REQUEST, f"The field {self._field!r} is not UTF-8.") from error
            self._text = None

    def _end(self) -> None:
        self._ended = True


def _unexpected(name: str, files: Collection[str], texts: Collection[str]) -> ApiError:
    allowed = ", ".join([*(f"{n} (a file)" for n in files), *texts])
    message = f"The form has an unexpected or repeated field {name!r}; there may be: {allowed}."
    item = ProblemItem(pointer=f"/{name}", code="unexpected_field", message=message)
    return ApiError(Code.INVALID_REQUEST, message, [item])
