"""Object storage in a local folder: files are written once, whole or not at all."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

_SEGMENT = re.compile(r"(?!\.)[^/\\\x00-\x1f]{1,255}")


def log_key(job_id: str) -> str:
    """Where all attempts of a job log: workers write it, and the API reads it meanwhile."""
    return f"jobs/{job_id}/logs.txt"


class Storage:
    """Keys are relative paths (`models/mdl_…/config.json`); a prefix names a folder of them."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._staging = self._root / ".staging"
        self._staging.mkdir(parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        """Where the file of a key (or the folder of a prefix) lies, whether it exists or not.

        Raises:
            ValueError: the key leaves the storage or has a hidden, empty or unprintable segment.
        """
        segments = key.split("/")
        if not all(_SEGMENT.fullmatch(segment) for segment in segments):
            raise ValueError(f"not a storage key: {key!r}")
        return self._root.joinpath(*segments)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A new folder on the storage's disk, for what is not yet known to be good; removed at the end."""
        folder = Path(tempfile.mkdtemp(dir=self._staging))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def put(self, key: str, source: Path) -> None:
        """Store a file: by hard link where source and storage share a disk, else as a copy. Replaces what is there."""
        target = self.path(key)
        self._make_folder(target.parent)
        with self.staging() as folder:
            partial = folder / "file"
            _link_or_copy(source, partial)
            _sync(partial)
            partial.replace(target)
        _sync(target.parent)

    def put_folder(self, prefix: str, source: Path) -> None:
        """Store every file below a folder under `prefix`."""
        for path in sorted(source.rglob("*")):
            if path.is_file() and not path.is_symlink():
                self.put(f"{prefix}/{path.relative_to(source).as_posix()}", path)

    @contextmanager
    def append(self, key: str) -> Iterator[BinaryIO]:
        """A file that may be read while it grows: a log. Unbuffered."""
        path = self.path(key)
        self._make_folder(path.parent)
        with path.open("ab", buffering=0) as stream:
            yield cast(BinaryIO, stream)

    def fetch(self, prefix: str, folder: Path) -> None:
        """Bring the files of a prefix into a new folder.

        Raises:
            FileNotFoundError: nothing is stored there.
        """
        shutil.copytree(self.path(prefix), folder, copy_function=_link_or_copy)

    def delete(self, key: str) -> None:
        """Remove a file or everything below a prefix; nothing is fine too."""
        path = self.path(key)
        if path.is_dir():
            # Renamed first, so that a crash half way leaves no half of a model behind under its name.
            with self.staging() as folder:
                path.rename(folder / "deleted")
        else:
            path.unlink(missing_ok=True)

    def older_than(self, prefix: str, seconds: float) -> list[str]:
        """Names below a prefix that have not been written to for so long."""
        folder, then = self.path(prefix), time.time() - seconds
        return [path.name for path in folder.glob("*") if path.stat().st_mtime < then]

    def _make_folder(self, folder: Path) -> None:
        """Make a folder so that it survives a power cut: each new name is flushed in its parent."""
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            _sync(folder.parent)


def _link_or_copy(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
