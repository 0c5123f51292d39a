"""Reads the headers of a tar stream: bounded in memory and effort, and without any notion of writing to a disk."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 512
MAX_EXTENSION_BYTES = 64 * 1024
MAX_EXTENSIONS = 4
"""Headers that only describe the next member (long name, PAX), in a row."""


class TarError(Exception):
    """The stream is not a tar, or ends before its end mark."""


@dataclass(frozen=True, slots=True)
class TarMember:
    """One member; while it is the current one, the stream stands at its first byte."""

    name: str
    type: bytes
    mode: int
    size: int
    sparse: bool

    @property
    def is_file(self) -> bool:
        return self.type in (b"0", b"\0") and not self.name.endswith("/")

    @property
    def is_directory(self) -> bool:
        return self.type == b"5" or (self.type in (b"0", b"\0") and self.name.endswith("/"))


def is_tar_header(block: bytes) -> bool:
    """Whether a block of 512 bytes carries the checksum of a tar header."""
    if len(block) != BLOCK or not any(block):
        return False
    try:
        return _number(block[148:156]) == sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
    except TarError:
        return False


def tar_members(stream: BinaryIO) -> Iterator[TarMember]:
    """The members in order. The stream may be read, up to a member's size, before the next one is asked for.

    Raises:
        TarError: damaged or truncated.
    """
    global_fields: dict[str, str] = {}
    fields: dict[str, str] = {}
    extensions = 0
    while any(block := _read(stream, BLOCK)):
        if not is_tar_header(block):
            raise TarError("a header is damaged")
        kind, size = block[156:157], _number(block[124:136])
        if kind in b"xgLK":
            extensions += 1
            if extensions > MAX_EXTENSIONS or size > MAX_EXTENSION_BYTES:
                raise TarError(f"extension headers of {size} bytes, {extensions} in a row")
            content = _read(stream, _padded(size))[:size]
            if kind == b"g":
                global_fields |= _pax_fields(content)
            else:
                fields |= _pax_fields(content) if kind == b"x" else _gnu_fields(kind, content)
            continue
        member = _member(block, kind, size, global_fields | fields)
        end = stream.tell() + _padded(member.size)
        yield member
        stream.seek(end)
        fields, extensions = {}, 0


def _member(block: bytes, kind: bytes, size: int, fields: dict[str, str]) -> TarMember:
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
        name = f"{prefix}/{name}"
    sparse = kind == b"S" or any(key.startswith("GNU.sparse") for key in fields)
    if kind not in (b"0", b"\0"):
        size = 0  # whatever the header says, nothing follows it
    elif "size" in fields:
        size = _decimal(fields["size"])
    return TarMember(fields.get("path", name), kind, _number(block[100:108]), size, sparse)


def _pax_fields(content: bytes) -> dict[str, str]:
    """The records `length key=value\\n`, where the length counts the whole record."""
    fields: dict[str, str] = {}
    while content:
        length_text, _, _ = content[:20].partition(b" ")
        length = _decimal(length_text.decode("ascii", "replace"))
        record = content[len(length_text) + 1 : length]
        key, equals, value = record.partition(b"=")
        if length > len(content) or not equals or not value.endswith(b"\n"):
            raise TarError("a PAX header is damaged")
        fields[_decoded(key)] = _decoded(value[:-1])
        content = content[length:]
    return fields


def _gnu_fields(kind: bytes, content: bytes) -> dict[str, str]:
    return {"path" if kind == b"L" else "linkpath": _text(content)}


def _read(stream: BinaryIO, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise TarError("it ends before its end mark: the file was cut")
    return content


def _number(field: bytes) -> int:
    """Octal text, or binary with the first bit set for sizes beyond 8 GiB; never negative."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    text = field.split(b"\0", 1)[0].strip()
    if not text.isdigit() or b"8" in text or b"9" in text:
        if text == b"":
            return 0
        raise TarError("a header holds no number where one belongs")
    return int(text, 8)


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise TarError("a PAX header holds no number where one belongs")
    return int(text)


def _text(field: bytes) -> str:
    return _decoded(field.split(b"\0", 1)[0])


def _decoded(text: bytes) -> str:
    # Names that are not UTF-8 keep a backslash, which no name may hold.
    return text.decode("utf-8", "backslashreplace")


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
