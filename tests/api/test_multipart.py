"""The form reader against bodies cut into pieces anywhere."""

import asyncio
import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from fastapi import Request
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect
from starlette.types import Message

from api import multipart
from api.multipart import Form, receive_form
from api.problems import ApiError, Code
from api.sinks import FileSink

BOUNDARY = b"----boundary"


def body_of(parts: Sequence[tuple[str, str | None, bytes]]) -> bytes:
    """A form of `(field, file name or None, content)`."""
    body = b""
    for field, name, content in parts:
        disposition = f'form-data; name="{field}"' + (f'; filename="{name}"' if name is not None else "")
        body += b"--%s\r\nContent-Disposition: %s\r\n\r\n%s\r\n" % (BOUNDARY, disposition.encode(), content)
    return body + b"--%s--\r\n" % BOUNDARY


def receive(
    chunks: Sequence[bytes], folder: Path, *, max_bytes: int = 1 << 20, cut: bool = False, pause: float = 0
) -> Form:
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.disconnect"} if cut else {"type": "http.request", "body": b""})
    waiting = iter(messages)

    async def next_message() -> Message:
        await asyncio.sleep(pause)
        return next(waiting)

    headers = [(b"content-type", b"multipart/form-data; boundary=" + BOUNDARY)]
    request = Request({"type": "http", "method": "POST", "headers": headers}, next_message)
    form = receive_form(
        request, folder, files={"file": FileSink, "files": FileSink}, texts=("name",), max_bytes=max_bytes
    )
    return asyncio.run(form)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=60) | st.just(b"\r\n--" + BOUNDARY[:-1]) | st.just(b"\r\n" * 5), max_size=4),
    st.lists(st.integers(0, 400), max_size=20),
    st.integers(1, 50),
)
def test_files_arrive_whole_however_the_body_is_cut(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], cuts: list[int], batch: int
) -> None:
    contents = [content for content in contents if b"\r\n--" + BOUNDARY not in content]
    body = body_of(
        [("name", None, b"x"), *(("files", f"{i}.bin", content) for i, content in enumerate(contents))]
    )
    ends = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[start:end] for start, end in pairwise(ends)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multipart, "BATCH_BYTES", batch)
        form = receive(chunks, tmp_path_factory.mktemp("form"))
    assert form.texts == {"name": "x"}
    assert [file.path.read_bytes() for file in form.files] == contents
    assert [file.name for file in form.files] == [f"{i}.bin" for i in range(len(contents))]
    assert [file.sha256 for file in form.files] == [hashlib.sha256(c).hexdigest() for c in contents]


WHOLE = body_of([("file", "a.bin", b"content")])
BAD: dict[str, tuple[bytes, Code]] = {
    "no form": (b"hello world, this is no form", Code.MALFORMED_REQUEST),
    "no end": (WHOLE[:-8], Code.MALFORMED_REQUEST),
    "empty": (b"", Code.MALFORMED_REQUEST),
    "endless preamble": (b"\r\n" * 1000, Code.MALFORMED_REQUEST),
    "many headers": (
        WHOLE.replace(b"\r\n\r\n", b"\r\n" + b"X: y\r\n" * 100 + b"\r\n"),
        Code.MALFORMED_REQUEST,
    ),
    "long header": (
        WHOLE.replace(b"\r\n\r\n", b"\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"),
        Code.MALFORMED_REQUEST,
    ),
    "no name": (WHOLE.replace(b'name="file"; ', b""), Code.INVALID_REQUEST),
    "text as file": (body_of([("file", None, b"x")]), Code.INVALID_REQUEST),
    "text twice": (body_of([("name", None, b"x")] * 2), Code.INVALID_REQUEST),
    "long text": (body_of([("name", None, b"x" * 100_000)]), Code.INVALID_REQUEST),
    "text in another encoding": (body_of([("name", None, b"\xff")]), Code.INVALID_REQUEST),
    "many files": (body_of([("files", "a", b"")] * 65), Code.INVALID_REQUEST),
    "large": (body_of([("file", "a", bytes(2 << 20))]), Code.TOO_LARGE),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_forms_are_refused(tmp_path: Path, case: str) -> None:
    body, code = BAD[case]
    with pytest.raises(ApiError) as refused:
        receive([body[i : i + 1000] for i in range(0, len(body), 1000)], tmp_path)
    assert refused.value.code is code


def test_a_client_that_goes_away_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(ClientDisconnect):
        receive([WHOLE[:-20]], tmp_path, cut=True)


def test_a_body_that_comes_too_slowly_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "SECONDS_PER_BATCH", 0.1)
    with pytest.raises(ApiError) as refused:
        receive([WHOLE[i : i + 1] for i in range(len(WHOLE))], tmp_path, pause=0.02)
    assert refused.value.code is Code.TIMEOUT
