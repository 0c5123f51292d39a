"""Unpacks what a user sends: by rule, entry by entry, with bounds on bytes, files and effort.

The extractors of the standard library have been broken again and again (CVE-2025-4517, CVE-2025-8194,
CVE-2026-11940), so none is used: what is written are regular files only, under names that were checked.
"""

import errno
import gzip
import io
import re
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from core.tar import BLOCK, TarError, is_tar_header, tar_members

CHUNK = 1 << 20
MAX_NAME_BYTES = 255
LOCAL_HEADER = struct.Struct("<4s22xHH")
ENCRYPTED = 0x1 | 0x40 | 0x2000
DAMAGE = (
    TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError,
)  # fmt: skip


class ArchiveError(Exception):
    """An archive that is refused: a stable code, why, and the entry at fault (empty where it is the whole)."""

    def __init__(self, code: str, message: str, entry: str = "") -> None:
        self.code = code
        self.message = message
        self.entry = entry
        super().__init__(f"{entry}: {message}" if entry else message)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A regular file (`open` gives its content) or a directory."""

    name: str
    size: int
    is_directory: bool
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, into: Path, *, max_bytes: int, max_files: int = 64, max_ratio: int = 100) -> None:
    """Unpack a .zip, .tar or .tar.gz into a new folder, without its one top-level folder if it has one.

    Raises:
        ArchiveError: it is refused, and the folder is not there.
        FileExistsError: the folder is there already.
    """
    with _BoundedFile(archive) as file:
        ledger = _Ledger(max_bytes, max_files, max_ratio, archive.stat().st_size)
        _unpack_entries(_entries(file, max_ratio), into, ledger)


def unpack_tar(stream: BinaryIO, into: Path, *, max_bytes: int, max_files: int = 64) -> None:
    """The same for an uncompressed tar as it arrives: `stream` is read, and sought forwards, only."""
    _unpack_entries(_tar_entries(stream), into, _Ledger(max_bytes, max_files, 1, max_bytes))


def _unpack_entries(entries: Iterator[_Entry], into: Path, ledger: "_Ledger") -> None:
    into.mkdir(parents=True)
    try:
        for entry in entries:
            path = ledger.admit(entry)
            if not entry.is_directory and not _is_clutter(path):
                _write(entry, into / path)
        if not any(into.iterdir()):
            raise ArchiveError("archive_empty", "the archive holds no files")
        _drop_top_folder(into)
    except DAMAGE as error:
        shutil.rmtree(into)
        raise ArchiveError(
            "archive_damaged", f"the archive is damaged or cut: {error}", ledger.last
        ) from error
    except BaseException:
        shutil.rmtree(into)
        raise


class _Ledger:
    """What has been admitted so far, and with it the rules that concern more than one entry."""

    def __init__(self, max_bytes: int, max_files: int, max_ratio: int, archive_bytes: int) -> None:
        self.last = ""
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._max_unpacked = max_ratio * archive_bytes
        self._bytes = 0
        self._counts: Counter[bool] = Counter()
        self._claims: dict[str, tuple[PurePosixPath, bool]] = {}
        """Path and whether it is a directory, by the path without case."""

    def admit(self, entry: _Entry) -> PurePosixPath:
        self.last = _shown(entry.name)
        path = _checked_path(entry)
        self._counts[entry.is_directory] += 1
        if self._counts[entry.is_directory] > self._max_files:
            message = f"the archive holds more than {self._max_files} files or folders"
            raise ArchiveError("archive_too_many_files", message, self.last)
        self._bytes += entry.size
        if self._bytes > self._max_bytes:
            message = f"the archive unpacks to more than {self._max_bytes} bytes, the limit"
            raise ArchiveError("archive_too_large", message, self.last)
        if self._bytes > self._max_unpacked:
            raise _bomb(self.last)
        for parent in path.parents[:-1]:
            self._claim(parent, is_directory=True)
        self._claim(path, entry.is_directory)
        return path

    def _claim(self, path: PurePosixPath, is_directory: bool) -> None:
        claim = (path, is_directory)
        earlier = self._claims.setdefault(str(path).casefold(), claim)
        if earlier is not claim and (earlier != claim or not is_directory):
            message = f"it is there twice, or differs only in case from another: {earlier[0]}"
            raise ArchiveError("archive_duplicate_name", message, self.last)


class _BoundedFile(io.FileIO):
    """A file that is never read in larger pieces than CHUNK, whatever sizes its own headers claim."""

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(CHUNK + 1 if size is None or not 0 <= size <= CHUNK else size)
        if len(content) > CHUNK:
            raise ArchiveError("archive_too_many_files", "the archive has a directory of more than 1 MiB")
        return content


def _entries(file: _BoundedFile, max_ratio: int) -> Iterator[_Entry]:
    start = file.read(BLOCK)
    file.seek(0)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        yield from _zip_entries(file, max_ratio)
    elif is_tar_header(start):
        yield from _tar_entries(file)
    elif start.startswith(b"\x1f\x8b"):
        yield from _gzip_entries(file)
    else:
        raise ArchiveError("not_an_archive", "the file is no .zip, .tar or .tar.gz archive")


def _gzip_entries(file: _BoundedFile) -> Iterator[_Entry]:
    with gzip.GzipFile(fileobj=file) as stream:
        if not is_tar_header(stream.read(BLOCK)):
            raise ArchiveError(
                "not_an_archive", "the file is compressed by gzip, but what it holds is no tar archive"
            )
        stream.seek(0)
        yield from _tar_entries(cast(BinaryIO, stream))


def _tar_entries(stream: BinaryIO) -> Iterator[_Entry]:
    for member in tar_members(stream):
        if not (member.is_file or member.is_directory) or member.sparse:
            raise _not_regular(member.name)
        _check_mode(member.name, member.mode, member.is_directory)
        yield _Entry(member.name, member.size, member.is_directory, lambda: stream)
    # Reading to the very end makes gzip compare its checksum.
    if len(stream.read(CHUNK)) == CHUNK:
        raise TarError("data follows the end mark")


def _zip_entries(file: _BoundedFile, max_ratio: int) -> Iterator[_Entry]:
    with _opened_zip(file) as archive:
        _check_overlaps(file, archive)
        for info in archive.infolist():
            # Not `filename`, which ends where a NUL is.
            name = info.orig_filename
            is_directory = name.endswith("/")
            if info.flag_bits & ENCRYPTED:
                raise ArchiveError("archive_encrypted", "it is encrypted", _shown(name))
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                message = "it is compressed in a way that is not supported: use deflate or store"
                raise ArchiveError("archive_unsupported_compression", message, _shown(name))
            if info.file_size > max_ratio * info.compress_size:
                raise _bomb(_shown(name))
            _check_mode(name, info.external_attr >> 16, is_directory)
            yield _Entry(name, info.file_size, is_directory, partial(archive.open, info))


def _opened_zip(file: _BoundedFile) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise zipfile.BadZipFile("an offset is negative") from error


def _check_overlaps(file: _BoundedFile, archive: zipfile.ZipFile) -> None:
    """Entries that share bytes make a small file unpack to a huge one."""
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise ArchiveError(
                "archive_overlapping_entries", "it overlaps another entry", _shown(info.filename)
            )
        file.seek(info.header_offset)
        _, name_bytes, extra_bytes = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
        end = info.header_offset + LOCAL_HEADER.size + name_bytes + extra_bytes + info.compress_size
    if end > archive.start_dir:
        raise ArchiveError("archive_overlapping_entries", "an entry overlaps the directory of the archive")


def _check_mode(name: str, mode: int, is_directory: bool) -> None:
    """Refuse what the Unix mode of an entry says about links, devices and privileges; zero says nothing."""
    if stat.S_IFMT(mode) not in (0, stat.S_IFDIR if is_directory else stat.S_IFREG):
        raise _not_regular(name)
    if not is_directory and mode & (stat.S_ISUID | stat.S_ISGID):
        raise ArchiveError(
            "archive_not_regular", "it is a file with a set-user or set-group bit", _shown(name)
        )


def _checked_path(entry: _Entry) -> PurePosixPath:
    name = entry.name
    path = PurePosixPath(name)
    if (
        path.is_absolute()
        or ".." in path.parts
        or re.match(r"[A-Za-z]:", name)
        or "\\" in name
        or any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
    ):
        message = (
            "its name is absolute, leads out of the folder, or holds a backslash, drive or control character"
        )
        raise ArchiveError("archive_unsafe_name", message, _shown(name))
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ArchiveError(
            "archive_bad_name", f"its name is longer than {MAX_NAME_BYTES} bytes", _shown(name)
        )
    if not unicodedata.is_normalized("NFC", name):
        raise ArchiveError("archive_bad_name", "its name is not in Unicode normal form C", _shown(name))
    if not path.parts and not entry.is_directory:
        raise ArchiveError("archive_bad_name", "it is a file without a name", _shown(name))
    return path


def _is_clutter(path: PurePosixPath) -> bool:
    """What macOS adds to archives without being asked."""
    return path.parts[0] == "__MACOSX" or path.name.startswith("._") or path.name == ".DS_Store"


def _write(entry: _Entry, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    left = entry.size
    content = entry.open()
    with target.open("xb") as file:
        while left:
            chunk = content.read(min(left, CHUNK))
            if not chunk:
                raise EOFError("an entry ends early")
            file.write(chunk)
            left -= len(chunk)


def _drop_top_folder(folder: Path) -> None:
    """Turn `folder/model/...` into `folder/...` where `model` is all there is: people archive folders."""
    children = list(folder.iterdir())
    if len(children) == 1 and children[0].is_dir():
        # By way of a name outside, since the top folder may hold an entry with its own name.
        outside = folder.with_name(f"{folder.name}.top")
        children[0].rename(outside)
        folder.rmdir()
        outside.rename(folder)


def _bomb(entry: str) -> ArchiveError:
    return ArchiveError("archive_bomb", "it unpacks to far more than any real model or text would", entry)


def _not_regular(name: str) -> ArchiveError:
    message = "it is a link, a device or another special file: only regular files are accepted"
    return ArchiveError("archive_not_regular", message, _shown(name))


def _shown(name: str) -> str:
    """A name as it may be put in a message: on one line, and not endless."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name[:200])
    return text if len(text) <= 120 else f"{text[:117]}..."
