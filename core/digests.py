"""Content hashes of files and of folders of them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict


class StoredFile(TypedDict):
    name: str
    size: int
    sha256: str


def describe_file(path: Path, name: str | None = None) -> StoredFile:
    """Size and content hash of a file, under its own name or another."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"name": name or path.name, "size": path.stat().st_size, "sha256": digest}


def digest_of(files: Iterable[StoredFile]) -> str:
    """One hash for a set of files: of the lines `sha256  name`, sorted by name."""
    ordered = sorted(files, key=lambda file: file["name"])
    return hashlib.sha256("".join(f"{f['sha256']}  {f['name']}\n" for f in ordered).encode()).hexdigest()
