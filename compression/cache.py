"""What is made once per content and kept between runs: files in one folder, safe to delete at any time."""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError

EDITION = 3
"""To be raised when this code makes anything else of the same content: what it made before is not read any more."""
LIMIT_BYTES = 8 << 30
DAMAGED = (EOFError, KeyError, ValueError, SafetensorError)
"""What reading raises where a machine went down before a file was on the disk."""
T = TypeVar("T")


def cached(
    folder: Path | None,
    name: str,
    make: Callable[[], T],
    read: Callable[[Path], T],
    write: Callable[[T, Path], None],
) -> T:
    """What `make` makes, or what it made before under this name, which tells the content.

    A folder that cannot be read or written costs time, never the run.
    """
    if folder is None:
        return make()
    entry = folder / name
    with suppress(OSError, *DAMAGED):
        known = read(entry)
        with suppress(OSError):
            os.utime(entry)  # it was used now
        return known
    made = make()
    partial = entry.with_name(f"{name}.{os.getpid()}")
    try:
        write(made, partial)
        partial.replace(entry)
        forget_oldest(folder, LIMIT_BYTES)
    except (OSError, SafetensorError):
        partial.unlink(missing_ok=True)
    return made


@cache
def made_by() -> str:
    """The code that makes it, for the names: another version may make something else."""
    libraries = ("torch", "transformers", "tokenizers")
    return " ".join([str(EDITION), *(f"{name} {version(name)}" for name in libraries)])


def forget_oldest(folder: Path, limit: int) -> None:
    """Delete what was used longest ago until the rest has at most `limit` bytes."""
    found = [(file, file.stat()) for file in folder.iterdir()]
    total = 0
    for file, stat in sorted(found, key=lambda one: one[1].st_mtime, reverse=True):
        total += stat.st_size
        if total > limit:
            file.unlink(missing_ok=True)
