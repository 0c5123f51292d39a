"""Requests that survive a restart of the server, and answers that say what went wrong."""

import io
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx2

from plankwright.errors import PlankwrightError, Problem, ServerUnreachable

ATTEMPTS = 5
FIRST_PAUSE = 0.25
"""Seconds before the second attempt; doubled before each further one."""
LONGEST_PAUSE = 10.0
TIMEOUT = httpx2.Timeout(120.0, connect=5.0)
PASSING = (429, 502, 503, 504)
"""States of a server that pass."""

Progress = Callable[[int, int], None]
"""Called with the bytes that are through and those there are."""


@dataclass(frozen=True, slots=True)
class Upload:
    """Files to send as a form, read from disk as they are sent."""

    files: Sequence[tuple[str, Path]]
    """Form field and file."""
    fields: Mapping[str, str]
    progress: Progress
    folder: Path | None = None
    """What the names of the files are told from; without it they are sent without folders."""

    @contextmanager
    def opened(self) -> Iterator[list[tuple[str, tuple[str, IO[bytes]]]]]:
        total = sum(path.stat().st_size for _, path in self.files)
        sent = 0

        def count(size: int) -> None:
            nonlocal sent
            sent += size
            self.progress(min(sent, total), total)

        with ExitStack() as stack:
            yield [
                (field, (self._name(path), stack.enter_context(_Counted(path, count))))
                for field, path in self.files
            ]

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix() if self.folder else path.name


class _Counted(io.FileIO):
    def __init__(self, path: Path, count: Callable[[int], None]) -> None:
        super().__init__(path)
        self._count = count

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self._count(len(data))
        return data


class Transport:
    """One server, one key, one pool of connections."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx2.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT
        )

    def close(self) -> None:
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        upload: Upload | None = None,
    ) -> httpx2.Response:
        """Send a request, again if need be: a POST carries a key by which the server knows a repetition.

        Raises:
            PlankwrightError: the server refused.
            ServerUnreachable: it did not answer, several times in a row.
        """
        sent = dict(headers or {})
        if method == "POST":
            sent.setdefault("Idempotency-Key", str(uuid.uuid4()))
        pauses = Pauses(self.url)
        while True:
            try:
                with ExitStack() as stack:
                    files = stack.enter_context(upload.opened()) if upload else None
                    response = self._http.request(
                        method,
                        path,
                        params=params,
                        json=json,
                        headers=sent,
                        files=files,
                        data=dict(upload.fields) if upload else None,
                    )
            except httpx2.TransportError as error:
                pauses.after(error)
                continue
            if response.status_code not in PASSING:
                return _checked(response)
            pauses.after_refusal(response)

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str]) -> Iterator[httpx2.Response]:
        """The answer to a GET whose body is read as it comes. Not repeated: who reads knows where to go on.

        Raises:
            PlankwrightError: the server refused.
            httpx2.TransportError: the connection broke, at the latest while reading.
        """
        with self._http.stream("GET", path, headers=headers) as response:
            if response.is_error:
                response.read()
            yield _checked(response)

    @contextmanager
    def events(self, path: str, headers: Mapping[str, str]) -> Iterator[Iterator[httpx2.ServerSentEvent]]:
        """Server-sent events, under the terms of `stream`."""
        with self.stream(path, {"Accept": "text/event-stream", **headers}) as response:
            yield iter(httpx2.EventSource(response))


class Pauses:
    """Waits between attempts, longer each time, and gives up in the end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def after(self, error: httpx2.TransportError) -> None:
        """Raises ServerUnreachable after the last attempt."""
        self._failures += 1
        if self._failures == ATTEMPTS:
            reason = str(error) or type(error).__name__
            raise ServerUnreachable(f"{self._url} cannot be reached: {reason}") from error
        time.sleep(self._pause())

    def after_refusal(self, response: httpx2.Response) -> None:
        """Raises PlankwrightError after the last attempt."""
        self._failures += 1
        if self._failures == ATTEMPTS:
            _checked(response)
        asked = response.headers.get("Retry-After", "")
        time.sleep(min(float(asked), LONGEST_PAUSE) if asked.isdigit() else self._pause())

    def _pause(self) -> float:
        return min(FIRST_PAUSE * 2.0 ** (self._failures - 1), LONGEST_PAUSE)


def _checked(response: httpx2.Response) -> httpx2.Response:
    if not response.is_error:
        return response
    try:
        body = response.json()
        problems = [Problem(e["pointer"], e["code"], e["message"]) for e in body.get("errors", [])]
        raise PlankwrightError(
            body["code"],
            body["detail"],
            status=response.status_code,
            problems=problems,
            request_id=body.get("request_id"),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"{response.request.url} answered {response.status_code}: is this a Plankwright server?"
        raise PlankwrightError("unexpected_answer", message, status=response.status_code) from None
