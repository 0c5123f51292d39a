"""Scratch space: a folder per worker, and in it one per attempt, which is always removed."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK = "lock"


class Workspace:
    """The folder of one worker, which it holds locked while it lives."""

    def __init__(self, root: Path, worker: str) -> None:
        self.folder = root.absolute() / worker
        self.folder.mkdir(parents=True)
        with (root / _LOCK).open("w") as entrance:  # one at a time: a new folder is not locked yet
            fcntl.flock(entrance, fcntl.LOCK_EX)
            self._lock = (self.folder / _LOCK).open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            _remove_unlocked(root)

    @contextmanager
    def attempt(self, job_id: str, attempt: int) -> Iterator[Path]:
        folder = self.folder / f"{job_id}-{attempt}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


def _remove_unlocked(root: Path) -> None:
    """Remove what dead workers could not: the kernel drops the lock of a process that ends in any way."""
    for lock in root.glob(f"*/{_LOCK}"):
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(lock.parent, ignore_errors=True)
