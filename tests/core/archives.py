"""Builders of archives, good and hostile."""

import io
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable

NOISE = random.Random(0).randbytes(1000)
"""Content that no compression makes smaller."""


def tar_of(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for info, content in members:
            info.size = info.size or len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, *, type: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = type, link, mode
    return info


def tar_named(name: str) -> bytes:
    return tar_of((member(name), NOISE))


def zip_of(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content, compress_type=method)
    return buffer.getvalue()


def zip_named(name: str) -> bytes:
    return zip_of((name, NOISE))


def zip_with_mode(name: str, mode: int) -> bytes:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return zip_of((info, b"../../outside"))


def with_size_field(tar: bytes, field: bytes) -> bytes:
    """The tar with another size in its first header, and the checksum mended."""
    header = tar[:124] + field + tar[136:148] + b" " * 8 + tar[156:512]
    return header[:148] + b"%06o\0 " % sum(header) + header[156:] + tar[512:]


def with_zip_directory(zip_bytes: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The zip with its central directory changed, and the end record mended."""
    size, offset = struct.unpack("<II", zip_bytes[-10:-2])
    directory = change(zip_bytes[offset : offset + size])
    end = zip_bytes[-22:-10] + struct.pack("<II", len(directory), offset) + zip_bytes[-2:]
    return zip_bytes[:offset] + directory + end


def overlapping_zip() -> bytes:
    """Two entries that share the bytes of one, as in the bombs of David Fifield."""
    one = zip_of(("a", NOISE))
    return with_zip_directory(one, lambda directory: directory + directory.replace(b"a", b"b"))


def pax_tar(records: dict[str, str], name: str = "a") -> bytes:
    info = member(name)
    info.pax_headers = records
    return tar_of((info, NOISE))


def huge_pax_header() -> bytes:
    header = member("pax", type=tarfile.XHDTYPE)
    return with_size_field(tar_of((header, b"")), b"77777777777\0")
