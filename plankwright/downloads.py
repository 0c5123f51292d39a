"""Artifacts to disk: a broken download goes on where it broke, and only a whole and true file gets its name."""

import hashlib
import shutil
import tarfile
from pathlib import Path
from typing import BinaryIO

import httpx2

from plankwright.errors import DamagedDownload, PlankwrightError
from plankwright.resources import Artifact
from plankwright.transport import Pauses, Progress, Transport

POOLING = "1_Pooling/config.json"
"""The one file of a checkpoint that is in a folder: how an encoder of sentences makes one vector of a text."""
CHUNK = 1 << 20


def download(transport: Transport, path: str, artifact: Artifact, folder: Path, progress: Progress) -> Path:
    """Fetch one artifact into `folder`, unless it is there already. What is under way is called `NAME.part`.

    Raises:
        DamagedDownload: the content does not have the announced hash.
        PlankwrightError: the server refused, or cannot be reached.
    """
    target = folder / _inside(artifact.name)
    if target.is_file() and target.stat().st_size == artifact.size and _sha256(target) == artifact.sha256:
        progress(artifact.size, artifact.size)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    pauses = Pauses(transport.url)
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _receive(transport, path, artifact, part, progress)
            break
        except httpx2.TransportError as error:
            if part.exists() and part.stat().st_size > before:
                pauses.reset()  # a bad line gets there in the end
            pauses.after(error)
    if _sha256(part) != artifact.sha256:
        part.unlink()
        raise DamagedDownload(f"{artifact.name} arrived damaged; what came was thrown away, try again")
    part.replace(target)
    return target


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack `model.tar` into `folder` and return the folder of the model in it.

    Raises:
        PlankwrightError: it holds something else than the files of one folder.
    """
    with tarfile.open(archive) as tar:
        for entry in tar:
            parent, _, name = entry.name.partition("/")
            if not entry.isreg() or parent != "model":
                raise PlankwrightError(
                    "unexpected_archive", f"{archive} holds {entry.name!r}, which is no file of a model"
                )
            target = folder / "model" / _inside(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            source = tar.extractfile(entry)
            assert source is not None, "a regular file has content"
            with source, target.open("wb") as file:
                shutil.copyfileobj(source, file, CHUNK)
    return folder / "model"


def _receive(transport: Transport, path: str, artifact: Artifact, part: Path, progress: Progress) -> None:
    """Append to `part` what it lacks; start anew where the server cannot go on from there."""
    with part.open("ab") as file:
        have = file.tell()
        if have >= artifact.size:
            have = 0
        headers = {"Range": f"bytes={have}-", "If-Range": f'"{artifact.sha256}"'} if have else {}
        with transport.stream(path, headers) as response:
            if response.status_code != httpx2.codes.PARTIAL_CONTENT:
                have = 0
            file.truncate(have)
            _write(response, file, have, artifact.size, progress)


def _write(response: httpx2.Response, file: BinaryIO, have: int, size: int, progress: Progress) -> None:
    progress(have, size)
    for chunk in response.iter_raw():  # as they come: what is collected is lost in a cut
        file.write(chunk)
        have += len(chunk)
        progress(have, size)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _inside(name: str) -> str:
    """The name of a file below a folder."""
    return name if name == POOLING else _plain(name)


def _plain(name: str) -> str:
    """The name, if it is one and not a path to somewhere else."""
    if name != Path(name).name or name.startswith(".") or "\\" in name or not name:
        raise PlankwrightError(
            "unexpected_name", f"the server sent the file name {name!r}, which is not a plain one"
        )
    return name
