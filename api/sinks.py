"""Where the bytes of an uploaded file go as they come."""

import hashlib
from pathlib import Path
from typing import Protocol


class Sink(Protocol):
    """Written to by one thread at a time, and ended by `finish` or `abort`. What it makes lies at `path`."""

    path: Path

    def write(self, part: memoryview) -> None: ...

    def finish(self) -> str | None:
        """The SHA-256 of all that was written, if it is known."""
        ...

    def abort(self) -> None: ...


class FileSink:
    """A file, hashed on its way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("xb")
        self._hash = hashlib.sha256()

    def write(self, part: memoryview) -> None:
        self._file.write(part)
        self._hash.update(part)

    def finish(self) -> str | None:
        self._file.close()
        return self._hash.hexdigest()

    def abort(self) -> None:
        self._file.close()
